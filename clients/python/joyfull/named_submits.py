"""Submits with a name: one invocation and one charge over any number of crashes."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from joyfull import models, wire
from joyfull.context import Context
from joyfull.errors import ConfigurationError, JoyfullError, OutcomeUnknown
from joyfull.exchange import Operation, do
from joyfull.journal import Entry, Journal, fingerprint
from joyfull.paging import page
from joyfull.resource import one, request_of
from joyfull.retrying import call
from joyfull.submitting import submit
from joyfull.wire import Json

if TYPE_CHECKING:
    from joyfull.job import AnyJob

#: The pair of an invocation's metadata that holds the key of a submit with a name.
CLIENT_KEY = "client_key"


def submit_named(context: Context, tool: str, body: dict[str, object], name: str, wait: float) -> Operation[AnyJob]:
    """Submit once under this name, over any number of crashes and calls.

    Raises NameReused; OutcomeUnknown when an old submit could not be looked for.
    """
    journal = context.journal
    if journal is None:
        raise ConfigurationError("submit(name=...) needs a journal: Client(journal=Path(...))")
    marked, new_key = fingerprint(tool, wire.encode(body)), context.new_key()
    entry = yield from do(lambda: journal.begin(name, new_key, marked, context.today()))
    if entry.invocation is None and not entry.key_lives(context.today()):
        entry = yield from _found_or_renewed(context, journal, entry)
    if entry.invocation is not None:
        request = request_of(context, "invocations_show", {"invocation_id": entry.invocation})
        return context.job((yield from one(context, models.Invocation.of, request)), True)
    metadata = body.get("metadata") or {}
    named = {**body, "metadata": {**(metadata if isinstance(metadata, dict) else {}), CLIENT_KEY: entry.key}}
    job = yield from submit(context, tool, named, key=entry.key, wait=wait)
    yield from do(lambda: journal.accepted(entry, job.id))
    return job


def _found_or_renewed(context: Context, journal: Journal, entry: Entry) -> Operation[Entry]:
    """After its key's life: the invocation that it became, or a new key if it became none."""
    try:
        found = yield from _find(context, entry)
    except JoyfullError as error:
        raise OutcomeUnknown(
            f"{entry.name!r} was first submitted at {entry.first_try.isoformat()}, longer ago than its key lives, and "
            f"could not be looked for: {error}"
        ) from error
    if found is None:
        return (yield from do(lambda: journal.renewed(entry, context.new_key(), context.today())))
    yield from do(lambda: journal.accepted(entry, found.id))
    return Entry(entry.name, entry.key, entry.first_try, found.id)


def _find(context: Context, entry: Entry) -> Operation[models.ListedInvocation | None]:
    query: dict[str, Json] = {
        "metadata": {CLIENT_KEY: entry.key},
        "from_": entry.first_try - timedelta(hours=1),
        "to": entry.first_try + timedelta(hours=25),
        "payloads": False,
        "limit": 1,
    }
    response = yield from call(context, request_of(context, "invocations_index", query=query))
    return next(iter(page(response, models.ListedInvocation.of).items), None)

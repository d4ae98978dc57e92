"""Submitting several invocations in one request; each item gets the result of a submit of its own."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

from flask import g

from common import errors, invocations
from common.invocations import Invocation
from common.kit import db, redis
from common.kit.paging import MAX_PAYLOAD_BYTES
from web.api.submit_schemas import BatchItem, BatchItemSchema
from web.http import auth, large_reads, problems, submissions, validation
from web.http.responses import Shown


def submit_all(items: list[object]) -> Iterator[Shown]:
    """Yield the result of each item.

    If a server becomes unreachable, the remaining items are not tried, since each would wait for a timeout; the results
    of accepted items are still returned.
    """
    unreachable = False
    for raw in items:
        if unreachable:
            yield _refused(errors.DependencyUnavailable())
            continue
        try:
            yield _item(raw)
        except (db.Unreachable, redis.RedisUnreachable) as error:
            unreachable = True
            yield _refused(problems.unreachable(error))


def _item(raw: object) -> Shown:
    """Submit one item; the result of a submit of its own."""
    try:
        body: BatchItem = validation.loaded(BatchItemSchema(), raw)
        submitted = submissions.submit(body["tool"], body, body.get("idempotency_key"))
        invocation = submitted.invocation or _replayed(submitted.id)
    except errors.PlatformError as error:
        return _refused(error)
    return {"status": 200 if invocation.ended else 202, "invocation": invocations.represent(invocation)}


def _replayed(invocation_id: UUID) -> Invocation:
    """The invocation of a repeated item. As on a page, input and output are omitted beyond a total size."""
    large_reads.begin()
    owner, so_far = auth.caller().user_id, g.get("replayed_bytes")
    if so_far is None:
        invocation = invocations.get(invocation_id, owner)
    else:
        invocation = invocations.get_within(invocation_id, owner, MAX_PAYLOAD_BYTES - so_far)
    g.replayed_bytes = (so_far or 0) + (invocation.payload_bytes if invocation.payloads else 0)
    return invocation


def _refused(error: errors.PlatformError) -> Shown:
    problem = problems.as_dict(error)
    return {"status": problem["status"], "problem": problem}

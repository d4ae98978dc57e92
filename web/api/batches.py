"""Submitting many invocations in one request: each item is answered as a submit of its own would be."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from flask import g

from common import errors, invocations
from common.invocations import Invocation
from common.kit import db, redis
from common.kit.paging import MAX_PAYLOAD_BYTES
from web.api import submissions
from web.api.invocation_schemas import BatchItemSchema
from web.http import auth, problems, turns


def submit_all(items: list[Any]) -> Iterator[dict[str, Any]]:
    """What became of each. With a server away, those that were accepted are told of all the same; the others are not
    tried any more: each would wait for it in vain.
    """
    away = False
    for raw in items:
        if away:
            yield _refused(errors.DependencyUnavailable())
            continue
        try:
            yield _item(raw)
        except (db.Unreachable, redis.Unreachable) as error:
            away = True
            yield _refused(problems.unreachable(error))


def _item(raw: Any) -> dict[str, Any]:
    """One item of a batch: exactly what a submit of its own would have answered."""
    try:
        body = problems.loaded(BatchItemSchema(), raw)
        submitted = submissions.submit_order(body["tool"], submissions.order_of(body, body.get("idempotency_key")))
        invocation = submitted.invocation or _replayed(submitted.id)
    except errors.PlatformError as error:
        return _refused(error)
    return {"status": 200 if invocation.ended else 202, "invocation": invocations.wire(invocation)}


def _replayed(invocation_id: UUID) -> Invocation:
    """A repeat within a batch. As on a page, input and output are shown up to a limit; beyond it they are left out."""
    turns.begin()
    owner, so_far = auth.caller().user_id, g.get("replayed_bytes")
    if so_far is None:
        invocation = invocations.get(invocation_id, owner)
    else:
        invocation = invocations.get_within(invocation_id, owner, MAX_PAYLOAD_BYTES - so_far)
    g.replayed_bytes = (so_far or 0) + (invocation.payload_bytes if invocation.payloads else 0)
    return invocation


def _refused(error: errors.PlatformError) -> dict[str, Any]:
    problem = problems.as_dict(error)
    return {"status": problem["status"], "problem": problem}

"""Reading, following and canceling invocations, and submitting many at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

from flask import Response, request

from common import errors, invocations
from common.invocations import Invocation
from common.kit import jsonb
from common.kit.paging import Page
from web.api import batches, submissions
from web.api.blueprint import Blueprint
from web.api.invocation_schemas import (
    BatchAnswerSchema,
    BatchInSchema,
    InvocationQuery,
    InvocationSchema,
    ListedSchema,
    WaitQuery,
)
from web.http import auth, limits, turns, waiting
from web.http.answers import answer

blp = Blueprint("invocations", __name__, url_prefix="/invocations", description="AI tools at work, as durable jobs")


@blp.get("")
@auth.needs("invocations:read")
@blp.arguments(InvocationQuery, location="query")
@blp.page(ListedSchema)
def index(query: dict[str, Any]) -> Page[Any]:
    """The caller's invocations, newest first

    A page ends, with `has_more`, before its `input` and `output` are more than 1 MiB; one invocation it has in any
    case. `payloads=false` leaves both out.
    """
    statuses = query.pop("status", ())
    found = invocations.listing(auth.caller().user_id, statuses=statuses, **query)
    return found.map(invocations.wire)


@blp.get("/<uuid:invocation_id>")
@auth.needs("invocations:read")
@blp.headers("If-None-Match")
@blp.arguments(WaitQuery, location="query")
@blp.response(200, InvocationSchema, headers=["ETag", "Retry-After"])
@blp.alt_response(304, headers=["ETag", "Retry-After"], description="Unchanged since the ETag that was sent.")
def show(query: dict[str, Any], invocation_id: UUID) -> Response:
    """One invocation

    `wait` long-polls for its end; `If-None-Match` answers 304 while nothing has changed.
    """
    return _shown(waiting.for_the_end(invocation_id, auth.caller().user_id, query.get("wait", 0)))


@blp.post("/<uuid:invocation_id>/cancel")
@auth.needs("invocations:write")
@blp.response(200, InvocationSchema, description="Canceled: it had not started.")
@blp.alt_response(202, schema=InvocationSchema, description="It is running; its worker will be told within a second.")
@blp.raises(errors.AlreadyFinished)
def cancel(invocation_id: UUID) -> Response:
    """Cancel an invocation

    One that has not started never will. A running one is told to stop, and costs nothing unless the tool's answer was
    already complete.
    """
    turns.begin()
    done = invocations.cancel(auth.caller(), invocation_id)
    invocation = invocations.get(invocation_id, auth.caller().user_id)
    return answer(invocations.wire(invocation), 200 if done else 202)


@blp.get("/<uuid:invocation_id>/events")
@auth.needs("invocations:read")
@blp.headers("Last-Event-ID")
@blp.response(
    200,
    description="Server-sent events: `snapshot`, then each change, closed after the end.",
    content_type="text/event-stream",
    headers=["X-Accel-Buffering"],
)
def events(invocation_id: UUID) -> Response:
    """Follow an invocation as server-sent events

    Every event has an `id` that `Last-Event-ID` resumes after, and the invocation as `data`; a comment comes every 10
    seconds.
    """
    invocation = invocations.get_within(invocation_id, auth.caller().user_id, 0)
    waiter = waiting.enter(invocation.user_id, invocation.id)
    response = Response(
        _stream(waiter, invocation, request.headers.get("Last-Event-ID", ""), auth.watch()),
        content_type="text/event-stream; charset=utf-8",
    )
    response.call_on_close(lambda: waiting.room.leave(waiter))
    response.headers.update({"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
    return response


@blp.post("/batch")
@auth.needs("invocations:write")
@limits.submits
@blp.arguments(BatchInSchema)
@blp.response(207, BatchAnswerSchema(many=True), description="An answer for each item, in order.")
@blp.raises(errors.EmailNotVerified)
def batch(body: dict[str, Any]) -> Response:
    """Submit up to 100 invocations, each on its own terms

    Of repeats (`Idempotency-Key`) `input` and `output` are shown up to 1 MiB; beyond it they are left out.
    """
    submissions.require_verified()
    return answer(list(batches.submit_all(body["items"])), 207)


# -- rendering ---------------------------------------------------------------------------------------------------


def _shown(invocation: Invocation) -> Response:
    """The representation with its validator: 304 when the client has it (RFC 9110 §13.1.2)."""
    tag = invocations.etag(invocation)
    if request.if_none_match.contains_weak(tag):
        response = Response(status=304)
    else:
        response = answer(invocations.wire(invocation))
    response.set_etag(tag)
    response.headers["Cache-Control"] = "private, no-cache"
    if not invocation.ended:
        response.headers["Retry-After"] = "1"
    return response


def _stream(waiter: waiting.Waiter, invocation: Invocation, after: str, welcome: Callable[[], bool]) -> Iterator[bytes]:
    """Events from `after` on, while the caller may come in. Runs when there is no request context any more."""
    resumed = int(after) if after.isascii() and after.isdigit() and len(after) < 10 else None
    first = resumed is None
    for change in waiting.changes(waiter, invocation, resumed):
        if not welcome():
            return
        if change is None:
            yield b": still here\n"  # no empty line: that would dispatch, in some decoders an event without data
            continue
        name = "snapshot" if first else f"invocation.{change.status}"
        first = False
        data = jsonb.dumps(invocations.wire(change))
        yield f"id: {change.sequence}\nevent: {name}\ndata: {data}\n\n".encode()

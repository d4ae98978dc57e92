"""Submitting, reading, following and canceling invocations."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import marshmallow as ma
from flask import Response, current_app, g, request
from marshmallow import validate

from common import boot, errors, invocations, webhooks
from common.identity import accounts
from common.invocations import Invocation, Order, Submitted
from common.kit import db, jsonb, redis
from common.kit.paging import MAX_PAYLOAD_BYTES, Page
from common.models.webhooks import INVOCATION_FILTERS
from web.api.blueprint import Blueprint
from web.http import auth, idempotency, limits, problems, turns, waiting
from web.http.answers import answer, located
from web.http.pagination import ListQuery
from web.http.schemas import (
    Body,
    Flag,
    Id,
    Instant,
    JsonObject,
    Many,
    Metadata,
    OneOrMore,
    Query,
    Resource,
    Text,
    Tokens,
    Unread,
    Whole,
    Word,
)

blp = Blueprint("invocations", __name__, url_prefix="/invocations", description="AI tools at work, as durable jobs")

MAX_WAIT = 60
DEFAULT_EXPIRY = 86_400
MAX_EXPIRY = 604_800
MAX_BATCH = 100
_WAIT = re.compile(r'(?:^|[,;\s])wait\s*=\s*"?(\d{1,9})"?\s*(?:$|[,;])', re.IGNORECASE)


# -- schemas -----------------------------------------------------------------------------------------------------


class SubmitIn(Body):
    input = ma.fields.Raw(
        required=True, allow_none=True, metadata={"description": "What the tool gets: see its input_schema."}
    )
    max_tokens = Tokens(metadata={"description": "Hold and charge at most so much; below the tool's price maximum."})
    expires_in = Whole(1, MAX_EXPIRY, load_default=DEFAULT_EXPIRY, metadata={"description": "Seconds to the deadline."})
    metadata = Metadata(load_default=dict)
    webhook_url = Text(max=2048)
    webhook_events = Many(
        Word(*INVOCATION_FILTERS),
        min=1,
        max=len(INVOCATION_FILTERS),
        unique=True,
        metadata={"description": "What `webhook_url` is told of; default: `completed`, the four ends."},
    )

    @ma.validates_schema
    def somebody_to_tell(self, data: dict[str, Any], **_: Any) -> None:
        if "webhook_events" in data and "webhook_url" not in data:
            raise ma.ValidationError("Only together with webhook_url.", "webhook_events")


class BatchItem(SubmitIn):
    tool = Text(required=True, max=64, metadata={"description": "Id or slug."})
    idempotency_key = Text(max=255, validate=validate.Regexp(r"^[\x20-\x7e]+\Z"))


class BatchIn(Body):
    items = Many(Unread(BatchItem), required=True, min=1, max=MAX_BATCH)


class ToolRef(Resource):
    id = Id(required=True)
    slug = Text(required=True)
    name = Text(required=True)
    version = Whole(required=True)


class Fault(Resource):
    code = Text(
        required=True,
        metadata={
            "description": "`tool_error` (4xx), `tool_failed` (5xx), `tool_timeout`, `tool_unreachable`, "
            "`tool_bad_response`, `output_too_large`, `output_rejected` (by `output_schema`), "
            "`credential_unavailable`, `worker_lost` (outcome unknown and not repeatable), or `cost_exceeded` (it cost "
            "more than your `max_tokens`: the output is withheld, what was held is charged)."
        },
    )
    detail = Text(required=True)


class Billing(Resource):
    held = Tokens(required=True, metadata={"description": "What was held at submit; it stays."})
    charged = Tokens(required=True)
    outcome = Word("pending", "charged", "free", required=True)
    reason = Text(
        required=True, allow_none=True, metadata={"description": "An error code, `canceled`, `expired`, or null."}
    )


class Links(Resource):
    self = Text(required=True)
    cancel = Text(required=True)
    events = Text(required=True)


class InvocationOut(Resource):
    id = Id(required=True)
    status = Word("queued", "running", *invocations.ENDS, required=True)
    tool = ma.fields.Nested(ToolRef, required=True)
    input = ma.fields.Raw(required=True, allow_none=True)
    output = ma.fields.Raw(required=True, allow_none=True)
    error = ma.fields.Nested(Fault, required=True, allow_none=True)
    metadata = Metadata(required=True)
    attempts = Whole(required=True, metadata={"description": "Calls begun."})
    billing = ma.fields.Nested(Billing, required=True)
    request_id = Text(required=True)
    created_at = Instant(required=True)
    started_at = Instant(required=True, allow_none=True)
    finished_at = Instant(required=True, allow_none=True)
    expires_at = Instant(required=True)
    cancel_requested_at = Instant(required=True, allow_none=True)
    poll_after_ms = Whole(required=True, allow_none=True)
    links = ma.fields.Nested(Links, required=True)


class Rendered(InvocationOut):
    """The same, for what `invocations.wire` has rendered already."""

    def dump(self, obj: Any, *, many: bool | None = None) -> Any:  # noqa: ARG002
        return obj


class Listed(Rendered):
    """On lists input and output may be left out."""

    input = ma.fields.Raw(allow_none=True, metadata={"description": "Not with `payloads=false`."})
    output = ma.fields.Raw(allow_none=True, metadata={"description": "Not with `payloads=false`."})

    def on_bind_field(self, field_name: str, field_obj: ma.fields.Field[Any]) -> None:
        super().on_bind_field(field_name, field_obj)
        field_obj.required = field_name not in ("input", "output")


class BatchAnswer(Resource):
    """What a submit of its own would have answered: the `invocation`, or the `problem`."""

    status = Whole(required=True, metadata={"description": "200 or 202, or that of the problem."})
    invocation = ma.fields.Nested(Listed)
    problem = JsonObject(metadata={"allOf": [{"$ref": "#/components/schemas/Problem"}]})

    def on_bind_field(self, field_name: str, field_obj: ma.fields.Field[Any]) -> None:
        super().on_bind_field(field_name, field_obj)
        field_obj.required = field_name == "status"


class InvocationQuery(ListQuery):
    status = OneOrMore(Word("queued", "running", *invocations.ENDS), max=6)
    tool = Text(max=64, metadata={"description": "Id or slug."})
    start = Instant(data_key="from", metadata={"description": "Inclusive, on `created_at`."})
    end = Instant(data_key="to", metadata={"description": "Exclusive."})
    payloads = Flag(load_default=True, metadata={"description": "False: without `input` and `output`."})

    @ma.validates_schema
    def in_order(self, data: dict[str, Any], **_: Any) -> None:
        if "start" in data and "end" in data and data["start"] >= data["end"]:
            raise ma.ValidationError("Must be before `to`.", "from")


class WaitQuery(Query):
    wait = Whole(1, MAX_WAIT, metadata={"description": "Long-poll: seconds to wait for the end."})


# -- views -------------------------------------------------------------------------------------------------------


@blp.get("")
@auth.needs("invocations:read")
@blp.arguments(InvocationQuery, location="query")
@blp.page(Listed)
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
@blp.response(200, Rendered, headers=["ETag", "Retry-After"])
@blp.alt_response(304, headers=["ETag", "Retry-After"], description="Unchanged since the ETag that was sent.")
def show(query: dict[str, Any], invocation_id: UUID) -> Response:
    """One invocation

    `wait` long-polls for its end; `If-None-Match` answers 304 while nothing has changed.
    """
    return shown(waiting.for_the_end(invocation_id, auth.caller().user_id, query.get("wait", 0)))


@blp.post("/<uuid:invocation_id>/cancel")
@auth.needs("invocations:write")
@blp.response(200, Rendered, description="Canceled: it had not started.")
@blp.alt_response(202, schema=Rendered, description="It is running; its worker will be told within a second.")
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
@blp.arguments(BatchIn)
@blp.response(207, BatchAnswer(many=True), description="An answer for each item, in order.")
@blp.raises(errors.EmailNotVerified)
def batch(body: dict[str, Any]) -> Response:
    """Submit up to 100 invocations, each on its own terms

    Of repeats (`Idempotency-Key`) `input` and `output` are shown up to 1 MiB; beyond it they are left out.
    """
    _require_verified()
    return answer(list(_items(body["items"])), 207)


# -- submitting --------------------------------------------------------------------------------------------------


def submit(tool: str, body: dict[str, Any]) -> Response:
    """Accept an invocation and answer 202, or 200 when it ended within `Prefer: wait` (or had ended before)."""
    _require_verified()
    order = _order(body, idempotency.key())
    submitted = _submitted(tool, order)
    seconds = _preferred_wait()
    invocation = submitted.invocation
    if invocation is None or seconds:
        invocation = _awaited(submitted, seconds or 0)
    headers = located("invocations.show", invocation_id=submitted.id)
    if submitted.replayed:
        headers["Idempotent-Replayed"] = "true"
    if seconds is not None and invocation.ended:
        headers["Preference-Applied"] = f"wait={seconds}"
    if not invocation.ended:
        headers["Retry-After"] = "1"
    return answer(invocations.wire(invocation), 200 if invocation.ended else 202, headers)


def _awaited(submitted: Submitted, seconds: int) -> Invocation:
    """What has become of it. It was accepted, and an error would deny that: while PostgreSQL is away, or too much is
    being read already, it is shown as it was stored.
    """
    try:
        fresh = submitted.invocation is not None
        return waiting.for_the_end(submitted.id, auth.caller().user_id, seconds, fresh=fresh)
    except (db.Unreachable, errors.RateLimited):
        if submitted.invocation is None:  # a repeat, which may be repeated
            raise
        return submitted.invocation


def _require_verified() -> None:
    if current_app.config["SETTINGS"].email_verification_required:
        accounts.require_verified(auth.caller())


def _order(body: dict[str, Any], key: str | None) -> Order:
    if body.get("webhook_url") is not None:
        webhooks.check_url(boot.outbound(), body["webhook_url"], "/webhook_url")
    chosen = body.get("webhook_events")
    return Order(
        input=body["input"],
        body={name: value for name, value in body.items() if name not in ("tool", "idempotency_key")},
        request_id=g.request_id,
        max_tokens=body.get("max_tokens"),
        expires_in=body["expires_in"],
        metadata=body["metadata"],
        webhook_url=body.get("webhook_url"),
        webhook_events=tuple(chosen) if chosen else None,
        idempotency_key=key,
    )


def _items(batch: list[Any]) -> Iterator[dict[str, Any]]:
    """What became of each. With a server away, those that were accepted are told of all the same; the others are not
    tried any more: each would wait for it in vain.
    """
    away = False
    for raw in batch:
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
        body = problems.loaded(BatchItem(), raw)
        submitted = _submitted(body["tool"], _order(body, body.get("idempotency_key")))
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


def _preferred_wait() -> int | None:
    """`Prefer: wait=N` (RFC 7240), clamped to 1–60; nonsense is ignored."""
    match = _WAIT.search(", ".join(request.headers.getlist("Prefer")))
    return None if match is None else max(1, min(MAX_WAIT, int(match[1])))


def _submitted(tool: str, order: Order) -> Submitted:
    """Submit, and show how the plan's rate stands, above all when it is what refuses."""
    try:
        submitted = invocations.submit(auth.caller(), tool, order)
    except errors.RateLimited as refusal:
        if refusal.submits is not None:
            _show_rate(refusal.submits, 0, refusal.retry_after)
        raise
    if (rate := submitted.rate) is not None:
        _show_rate(rate.limit, rate.remaining, rate.reset)
    return submitted


def _show_rate(limit: int, remaining: int, reset: int) -> None:
    limits.show(limits.Limit("submits", limit, 60, remaining, reset))


# -- reading -----------------------------------------------------------------------------------------------------


def shown(invocation: Invocation) -> Response:
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

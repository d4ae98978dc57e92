"""`/invocations`: reading, following and canceling invocations, and submitting batches."""

from __future__ import annotations

from uuid import UUID

from flask import Response, request

from common import errors, invocations
from common.invocations import CallRow, CancelCounts, FailureGroup, Filters, Invocation
from common.kit.paging import Page
from common.webhooks import DeliveryRecord
from web.api import batches, following
from web.api.blueprint import Blueprint
from web.api.following import EventsArguments, EventsQuery
from web.api.invocation_filters import (
    CancelManyIn,
    CancelManyInSchema,
    FailureArguments,
    FailureQuery,
    InvocationArguments,
    InvocationQuery,
    chosen,
)
from web.api.invocation_schemas import (
    AttemptSchema,
    BatchAnswerSchema,
    CancelCountsSchema,
    FailureGroupSchema,
    InvocationSchema,
    ListedInvocationSchema,
    WaitArguments,
    WaitQuery,
)
from web.api.submissions import accepted
from web.api.submit_schemas import REFUSALS, BatchIn, BatchInSchema, RerunIn, RerunInSchema, RerunPriceSchema
from web.api.webhook_schemas import InvocationDeliverySchema
from web.http import auth, large_reads, limits, submissions, waiting
from web.http.pagination import ListArguments, ListQuery
from web.http.responses import Shown, enveloped

blp = Blueprint("invocations", __name__, url_prefix="/invocations", description="Calls of AI tools as durable jobs")


@blp.get("")
@auth.needs("invocations:read")
@blp.arguments(InvocationQuery, location="query")
@blp.page(ListedInvocationSchema)
def index(query: InvocationArguments) -> Page[Shown]:
    """The caller's invocations, newest first

    A page ends early, with `has_more`, when its `input` and `output` reach 1 MiB in total; it has at least one
    invocation. `payloads=false` omits both fields.
    """
    found = invocations.listing(auth.caller().user_id, query["window"], payloads=query["payloads"], **chosen(query))
    return found.map(invocations.represent)


@blp.get("/<uuid:invocation_id>")
@auth.needs("invocations:read")
@blp.headers("If-None-Match")
@blp.arguments(WaitQuery, location="query")
@blp.response(200, InvocationSchema, headers=["ETag", "Retry-After"])
@blp.alt_response(304, headers=["ETag", "Retry-After"], description="Unchanged since the given ETag.")
def show(query: WaitArguments, invocation_id: UUID) -> Response:
    """One invocation

    `wait` long-polls until it has ended. With `If-None-Match` the response is 304 while nothing has changed.
    """
    return _shown(waiting.wait_for_completion(invocation_id, auth.caller().user_id, query.get("wait", 0)))


@blp.post("/<uuid:invocation_id>/cancel")
@auth.needs("invocations:write")
@blp.response(200, InvocationSchema, description="Canceled before it started.")
@blp.alt_response(202, schema=InvocationSchema, description="It is running; its worker is notified within a second.")
@blp.raises(errors.AlreadyFinished)
def cancel(invocation_id: UUID) -> Response:
    """Cancel an invocation

    An invocation that has not started never will. A running one is stopped, and is free unless the tool's response was
    already complete.
    """
    large_reads.begin()
    done = invocations.cancel(auth.caller(), invocation_id)
    invocation = invocations.get(invocation_id, auth.caller().user_id)
    return enveloped(invocations.represent(invocation), 200 if done else 202)


@blp.post("/cancel")
@auth.needs("invocations:write")
@blp.arguments(CancelManyInSchema)
@blp.response(200, CancelCountsSchema)
@blp.raises(errors.NotFound, errors.Conflict)
def cancel_many(body: CancelManyIn) -> CancelCounts:
    """Cancel up to 100 invocations by their ids, or the open ones that match filters

    With filters, `confirm` is the number of open invocations that match; if it is another, nothing is canceled, and the
    409 has it as `count`. The newest 1,000 are canceled by one request: if there are more, the three counts add up to
    less than `confirm`.
    """
    caller = auth.caller()
    if "ids" in body:
        return invocations.cancel_several(caller, body["ids"])
    return invocations.cancel_matching(caller, Filters(caller.user_id, **chosen(body)), body.get("confirm", 0))


@blp.get("/failures")
@auth.needs("invocations:read")
@blp.arguments(FailureQuery, location="query")
@blp.page(FailureGroupSchema)
def failures(query: FailureArguments) -> Page[FailureGroup]:
    """What failed, by tool and error code; what failed last is first"""
    return invocations.failures(auth.caller().user_id, **query)


@blp.get("/<uuid:invocation_id>/rerun")
@auth.needs("invocations:read")
@blp.response(200, RerunPriceSchema)
def rerun_price(invocation_id: UUID) -> Shown:
    """What submitting an invocation once more would hold"""
    price = invocations.rerun_price(auth.caller().user_id, invocation_id)
    return {"max_tokens": price.max_tokens, "input_stored": not price.dropped}


@blp.post("/<uuid:invocation_id>/rerun")
@auth.needs("invocations:write")
@limits.submits
@blp.headers("Idempotency-Key", "Prefer")
@blp.arguments(RerunInSchema, required=False)
@blp.response(
    202,
    InvocationSchema,
    headers=["Location", "Retry-After", "Idempotent-Replayed"],
    description="Accepted: a new invocation is stored and its tokens are held.",
)
@blp.alt_response(
    200,
    schema=InvocationSchema,
    headers=["Location", "Idempotent-Replayed", "Preference-Applied"],
    description="The new invocation has ended.",
)
@blp.raises(*REFUSALS)
def rerun(body: RerunIn, invocation_id: UUID) -> Response:
    """Submit an invocation once more

    The new one is of the tool's current version, and `rerun_of` names the first, which stays as it is. Input and
    metadata are those of the first unless given; `end_user`, `webhook_url` and `webhook_events` are too. `stream` is,
    as far as the tool still streams. 409: its input is not stored any more, and no other was sent. Everything else is
    as of a submit, `Idempotency-Key` too.
    """
    seconds = submissions.preferred_wait()
    return accepted(submissions.rerun_and_wait(invocation_id, body, seconds or 0), seconds)


@blp.get("/<uuid:invocation_id>/events")
@auth.needs("invocations:read")
@blp.headers("Last-Event-ID")
@blp.arguments(EventsQuery, location="query")
@blp.response(
    200,
    description="Server-sent events: `snapshot`, then each change; closed after completion.",
    content_type="text/event-stream",
    headers=["X-Accel-Buffering"],
)
def events(query: EventsArguments, invocation_id: UUID) -> Response:
    """Follow an invocation as server-sent events

    Every event has an `id`, after which `Last-Event-ID` resumes, and the invocation as `data`. A comment is sent every
    10 seconds as a heartbeat.

    Of an invocation with `stream`, the answer is shown while it is made: `output.delta` has `choices` to write on with;
    `output.snapshot` has all so far, and replaces what you have; after `output.reset` you have nothing. That one comes
    only after a failover which lost the note that an attempt was shown: otherwise such an attempt is never repeated.
    Their `data` is an object with `attempt`, `n` and `choices`. The answer that counts is the `output` at the end.
    """
    invocation = invocations.get_within(invocation_id, auth.caller().user_id, 0)
    return following.events(invocation, request.headers.get("Last-Event-ID", ""), with_output=query["output"])


@blp.get("/<uuid:invocation_id>/attempts")
@auth.needs("invocations:read")
@blp.arguments(ListQuery, location="query")
@blp.page(AttemptSchema)
def attempts(query: ListArguments, invocation_id: UUID) -> Page[CallRow]:
    """The calls of the tool for an invocation, newest first, with the one that runs now"""
    return invocations.attempts(auth.caller().user_id, invocation_id, **query)


@blp.get("/<uuid:invocation_id>/deliveries")
@auth.needs("invocations:read")
@blp.arguments(ListQuery, location="query")
@blp.page(InvocationDeliverySchema)
def deliveries(query: ListArguments, invocation_id: UUID) -> Page[DeliveryRecord]:
    """The deliveries of an invocation's webhooks, to endpoints and to its `webhook_url`, newest first"""
    return invocations.deliveries(auth.caller().user_id, invocation_id, **query)


@blp.post("/batch")
@auth.needs("invocations:write")
@limits.submits
@blp.arguments(BatchInSchema)
@blp.response(207, BatchAnswerSchema(many=True), description="The result of each item, in order.")
@blp.raises(errors.EmailNotVerified)
def batch(body: BatchIn) -> Response:
    """Submit up to 100 invocations, each independent of the others

    For repeated items (`idempotency_key`), `input` and `output` are included up to 1 MiB in total and omitted beyond.
    """
    submissions.require_allowed()
    return enveloped(list(batches.submit_all(body["items"])), 207)


# -- rendering ---------------------------------------------------------------------------------------------------


def _shown(invocation: Invocation) -> Response:
    """The representation with its ETag, or 304 if the client has that version (RFC 9110 §13.1.2)."""
    tag = invocations.etag(invocation)
    if request.if_none_match.contains_weak(tag):
        response = Response(status=304)
    else:
        response = enveloped(invocations.represent(invocation))
    response.set_etag(tag)
    response.headers["Cache-Control"] = "private, no-cache"
    if not invocation.ended:
        response.headers["Retry-After"] = "1"
    return response

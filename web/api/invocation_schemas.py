"""Schemas for reading and listing invocations, and the representation of an invocation."""

from __future__ import annotations

from typing import TypedDict

import marshmallow as ma

from common import invocations
from common.models.invocations import BASES
from web.http.fields import AnyField, Flag, Id, Instant, JsonObject, Metadata, Text, Tokens, Whole, Word
from web.http.schemas import QueryArguments, Resource
from web.http.waiting import MAX_WAIT


class InvokedToolSchema(Resource):
    id = Id(required=True)
    slug = Text(required=True)
    name = Text(required=True)
    version = Whole(required=True)


class RequestedToolSchema(Resource):
    id = Id(required=True)
    slug = Text(required=True)


class InvocationErrorSchema(Resource):
    code = Text(
        required=True,
        metadata={
            "description": "`tool_error` (4xx), `tool_failed` (5xx), `tool_timeout`, `tool_unreachable`, "
            "`tool_bad_response`, `output_too_large`, `output_rejected` (by `output_schema`), "
            "`credential_unavailable`, `worker_lost` (outcome unknown, not retried), or `cost_exceeded` (the call cost "
            "more than your `max_tokens`: the output is withheld and the hold is charged)."
        },
    )
    detail = Text(required=True)


class PerUnitSchema(Resource):
    pointer = Text(required=True, metadata={"description": "An RFC 6901 pointer into the tool's complete response."})
    tokens = ma.fields.Float(required=True)
    unit = Text(required=True)


class MeteredSchema(Resource):
    chars_per_unit = Whole(required=True)
    input = Flag(required=True, metadata={"description": "Whether the messages of the input count as well."})


class PriceSchema(Resource):
    at_times = frozenset({"metered"})

    base_tokens = Tokens(required=True)
    per_unit = ma.fields.Nested(PerUnitSchema, required=True, allow_none=True)
    max_tokens = Tokens(required=True)
    metered = ma.fields.Nested(
        MeteredSchema,
        metadata={
            "description": "How units are counted where a streamed answer reports none, or was canceled: one for each "
            "`chars_per_unit` characters, rounded up. Not there: such an answer is not paid for."
        },
    )

    def get_attribute(self, obj: object, attr: str, default: object) -> object:
        found: object = super().get_attribute(obj, attr, default)
        return ma.missing if attr == "metered" and found is None else found


class BillingSchema(Resource):
    at_times = frozenset({"receipt"})

    held = Tokens(required=True, metadata={"description": "Tokens held at submit; does not change afterwards."})
    charged = Tokens(required=True)
    outcome = Word("pending", "charged", "free", required=True)
    reason = Text(
        required=True, allow_none=True, metadata={"description": "An error code, `canceled`, `expired`, or null."}
    )
    price = ma.fields.Nested(
        PriceSchema, required=True, metadata={"description": "That of the tool's version that was used."}
    )
    units = ma.fields.Float(
        required=True,
        allow_none=True,
        metadata={
            "description": "The number at `price.per_unit.pointer`. If the outcome is `charged`, `charged` is "
            "`base_tokens` + `tokens` × `units`, rounded up, at most `held`. Null if the price counts no units, or "
            "nothing was priced."
        },
    )
    basis = Word(
        *BASES,
        required=True,
        allow_none=True,
        metadata={
            "description": "`reported`: by what the tool reported; `metered`: by `price.metered`. Null if the outcome "
            "is not `charged`."
        },
    )
    receipt = Text(
        allow_none=True,
        metadata={
            "description": "The signed receipt: only in webhooks, to endpoints that `include` it, after the end."
        },
    )


class WaitingSchema(Resource):
    reason = Word(
        *invocations.WAITING_REASONS,
        required=True,
        metadata={
            "description": "`slot`: others of the account use all the slots of its plan; `queue`: no worker has "
            "claimed it yet; `breaker`: the circuit breaker of its tool is open; `retry`: between two attempts; "
            "`scheduled`: its `not_before` is yet to come."
        },
    )
    until = Instant(required=True, allow_none=True, metadata={"description": "At least until then; null: not known."})
    detail = Text(required=True)


class InvocationLinksSchema(Resource):
    self = Text(required=True)
    cancel = Text(required=True)
    events = Text(required=True)


class InvocationSchema(Resource):
    """Documents an invocation that `invocations.represent` has already rendered; `dump` returns it unchanged."""

    id = Id(required=True)
    status = Word("queued", "running", *invocations.ENDS, required=True)
    tool = ma.fields.Nested(InvokedToolSchema, required=True)
    input = ma.fields.Raw(required=True, allow_none=True)
    output = ma.fields.Raw(required=True, allow_none=True)
    error = ma.fields.Nested(InvocationErrorSchema, required=True, allow_none=True)
    metadata = Metadata(required=True)
    attempts = Whole(required=True, metadata={"description": "Number of calls started."})
    last_error = ma.fields.Nested(
        InvocationErrorSchema,
        required=True,
        allow_none=True,
        metadata={"description": "The error of the attempt before, while it waits for the next."},
    )
    waiting = ma.fields.Nested(
        WaitingSchema, required=True, allow_none=True, metadata={"description": "Why it has not started; if queued."}
    )
    billing = ma.fields.Nested(BillingSchema, required=True)
    request_id = Text(required=True)
    api_key_id = Id(required=True, allow_none=True, metadata={"description": "Null: submitted through a session."})
    end_user = Text(required=True, allow_none=True)
    rerun_of = Id(required=True, allow_none=True, metadata={"description": "The invocation that it repeats."})
    not_before = Instant(required=True, allow_none=True, metadata={"description": "The earliest time to start."})
    priority = Whole(-1, 1, required=True)
    stream = Flag(required=True, metadata={"description": "Whether the answer can be read while it is written."})
    requested_tool = ma.fields.Nested(
        RequestedToolSchema,
        required=True,
        allow_none=True,
        metadata={"description": "The tool that was asked for, if `tool` ran instead: its fallback."},
    )
    created_at = Instant(required=True)
    started_at = Instant(required=True, allow_none=True)
    finished_at = Instant(required=True, allow_none=True)
    expires_at = Instant(required=True)
    cancel_requested_at = Instant(required=True, allow_none=True)
    poll_after_ms = Whole(required=True, allow_none=True)
    links = ma.fields.Nested(InvocationLinksSchema, required=True)

    def dump(self, obj: object, *, many: bool | None = None) -> object:  # noqa: ARG002
        return obj


class ListedInvocationSchema(InvocationSchema):
    """An invocation in a list, where input and output may be omitted."""

    input = ma.fields.Raw(allow_none=True, metadata={"description": "Not with `payloads=false`."})
    output = ma.fields.Raw(allow_none=True, metadata={"description": "Not with `payloads=false`."})

    def on_bind_field(self, field_name: str, field_obj: AnyField) -> None:
        super().on_bind_field(field_name, field_obj)
        field_obj.required = field_name not in ("input", "output")


class AttemptSchema(Resource):
    """One call of the tool; its end is null while it runs."""

    n = Whole(required=True, metadata={"description": "1 for the first call."})
    started_at = Instant(required=True)
    ended_at = Instant(required=True, allow_none=True)
    outcome = Text(
        required=True,
        allow_none=True,
        metadata={"description": "`succeeded`, `canceled` or an error code; null while it runs."},
    )
    http_status = Whole(required=True, allow_none=True)
    error = ma.fields.Nested(InvocationErrorSchema, required=True, allow_none=True)
    retry_at = Instant(required=True, allow_none=True, metadata={"description": "When the next attempt was due."})


class BatchAnswerSchema(Resource):
    """The result of one item: the `invocation` or the `problem` that a submit of its own would have returned."""

    status = Whole(required=True, metadata={"description": "200 or 202, or the status of the problem."})
    invocation = ma.fields.Nested(ListedInvocationSchema)
    problem = JsonObject(metadata={"allOf": [{"$ref": "#/components/schemas/Problem"}]})

    def on_bind_field(self, field_name: str, field_obj: AnyField) -> None:
        super().on_bind_field(field_name, field_obj)
        field_obj.required = field_name == "status"


class CancelCountsSchema(Resource):
    canceled = Whole(required=True, metadata={"description": "They never start."})
    requested = Whole(required=True, metadata={"description": "They are running; their workers are asked to stop."})
    already_finished = Whole(required=True)


class FailedToolSchema(Resource):
    id = Id(required=True)
    slug = Text(required=True)
    name = Text(required=True)


class FailureGroupSchema(Resource):
    """Failed invocations of one tool with one error code."""

    tool = ma.fields.Nested(FailedToolSchema, required=True)
    code = Text(required=True)
    count = Whole(required=True, attribute="number")
    first = Instant(required=True, metadata={"description": "The `created_at` of the first of them."})
    last = Instant(required=True)
    example_id = Id(required=True, attribute="last_id", metadata={"description": "The latest of them."})
    max_rerun_tokens = Tokens(
        required=True,
        allow_none=True,
        metadata={"description": "The most that running all of them again can cost; null: the tool cannot be called."},
    )


class WaitQuery(QueryArguments):
    wait = Whole(1, MAX_WAIT, metadata={"description": "Long-poll: seconds to wait for completion."})


class WaitArguments(TypedDict, total=False):
    """What `WaitQuery` loads."""

    wait: int

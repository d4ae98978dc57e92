"""Schemas for managing tools: the tool, trial calls, the circuit breaker."""

from __future__ import annotations

import marshmallow as ma
from marshmallow import validate

from common.models.tools import ADAPTERS, AUTH_TYPES, METHODS
from web.api.tools import ToolArguments, ToolQuery, ToolSchema
from web.http.fields import AnyField, Flag, Instant, JsonObject, Number, Pairs, Secret, Text, Tokens, Whole, Word
from web.http.schemas import Body, Resource

#: RFC 6901.
_POINTER = validate.Regexp(r"(?:/(?:[^~/]|~[01])*)*\Z")
_SLUG = validate.Regexp(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?\Z")


class PerUnitInSchema(Body):
    pointer = Text(required=True, max=500, blank=True, validate=_POINTER)
    tokens = Number(required=True)
    unit = Text(required=True, max=100, line=True, nfc=True)


class MeteredInSchema(Body):
    chars_per_unit = Whole(1, 1_000, required=True)
    input = Flag(load_default=True)


class PriceInSchema(Body):
    base_tokens = Tokens(required=True)
    per_unit = ma.fields.Nested(PerUnitInSchema, allow_none=True, load_default=None)
    metered = ma.fields.Nested(
        MeteredInSchema,
        allow_none=True,
        load_default=None,
        metadata={
            "description": "Counts units where a streamed answer reports none, or was canceled. Set it for a tool that "
            "is paid for partial answers; `per_unit` has to be set too."
        },
    )
    max_tokens = Tokens(required=True, metadata={"description": "Held at submit, and the maximum charge."})


class ToolAuthInSchema(Body):
    type = Word(*AUTH_TYPES, required=True)
    secret = Secret(metadata={"description": "Never shown. If omitted from a change, the stored secret is kept."})
    header_name = Text(max=200, metadata={"description": "For `header`."})
    username = Text(max=500, line=True, metadata={"description": "For `basic`."})


class ToolChangesSchema(Body):
    slug = Text(max=63, validate=_SLUG)
    name = Text(max=200, line=True, nfc=True)
    description = Text(max=10_000, blank=True, nfc=True, allow_none=True)
    category = Text(max=100, line=True, nfc=True, allow_none=True)
    endpoint_url = Text(max=2048)
    adapter = Word(*ADAPTERS)
    method = Word(*METHODS)
    headers = Pairs(
        keys=ma.fields.String(validate=validate.Length(1, 200)),
        values=ma.fields.String(validate=validate.Length(0, 4096)),
        validate=validate.Length(max=50),
    )
    auth = ma.fields.Nested(ToolAuthInSchema)
    input_schema = JsonObject(metadata={"description": "JSON Schema, without references to other documents."})
    output_schema = JsonObject(allow_none=True)
    example_input = ma.fields.Raw(allow_none=True)
    result_pointer = Text(max=500, blank=True, validate=_POINTER, allow_none=True)
    price = ma.fields.Nested(PriceInSchema)
    timeout_seconds = Whole(1, 600)
    max_attempts = Whole(1, 10)
    idempotent = Flag()
    streaming = Flag(metadata={"description": "It streams: `chat_completion` without output_schema, result_pointer."})
    idle_seconds = Whole(1, 600, metadata={"description": "The longest silence of a streamed answer; 30 by default."})
    is_active = Flag()
    fallback = Text(
        max=63,
        validate=_SLUG,
        allow_none=True,
        metadata={
            "description": "The slug of a tool that takes over at submit while this one's circuit breaker is open. It "
            "has to take the same inputs, and has no fallback itself."
        },
    )


class ToolInSchema(ToolChangesSchema):
    slug = Text(required=True, max=63, validate=_SLUG)
    name = Text(required=True, max=200, line=True, nfc=True)
    endpoint_url = Text(required=True, max=2048)
    input_schema = JsonObject(
        required=True, metadata={"description": "JSON Schema, without references to other documents."}
    )
    price = ma.fields.Nested(PriceInSchema, required=True)


class ToolAuthSchema(Resource):
    """Without the secret; `header_name` and `username` are present if the type uses them."""

    type = Word(*AUTH_TYPES, required=True)
    header_name = Text()
    username = Text()

    def on_bind_field(self, field_name: str, field_obj: AnyField) -> None:
        super().on_bind_field(field_name, field_obj)
        field_obj.required = field_name == "type"


class AdminToolSchema(ToolSchema):
    endpoint_url = Text(required=True, attribute="current.endpoint_url")
    adapter = Word(*ADAPTERS, required=True, attribute="current.adapter")
    method = Word(*METHODS, required=True, attribute="current.method")
    headers = ma.fields.Dict(
        keys=ma.fields.String(), values=ma.fields.String(), required=True, attribute="current.headers"
    )
    auth = ma.fields.Nested(ToolAuthSchema, required=True, attribute="current.auth")
    result_pointer = Text(required=True, allow_none=True, attribute="current.result_pointer")
    is_active = Flag(required=True)
    archived_at = Instant(required=True, allow_none=True)
    created_at = Instant(required=True)


class AdminToolQuery(ToolQuery):
    is_active = Flag()
    is_archived = Flag()


class AdminToolArguments(ToolArguments, total=False):
    """What `AdminToolQuery` loads."""

    is_active: bool
    is_archived: bool


class TrialInSchema(Body):
    input = ma.fields.Raw(allow_none=True, metadata={"description": "Default: the tool's `example_input`."})


class TrialFaultSchema(Resource):
    code = Text(required=True)
    detail = Text(required=True)


class TrialSchema(Resource):
    status = Word("succeeded", "failed", required=True)
    output = ma.fields.Raw(required=True, allow_none=True)
    error = ma.fields.Nested(TrialFaultSchema, required=True, allow_none=True)
    tokens = Tokens(required=True, metadata={"description": "Tokens that a caller would have been charged."})
    http_status = Whole(required=True, allow_none=True)
    latency_ms = Whole(required=True, allow_none=True)
    version = Whole(required=True)


class BreakerSchema(Resource):
    state = Word("closed", "open", "half_open", required=True)
    failures = Whole(required=True, metadata={"description": "Consecutive failures."})
    opened_at = Instant(required=True, allow_none=True)
    retry_at = Instant(required=True, allow_none=True, metadata={"description": "When the next trial call is allowed."})

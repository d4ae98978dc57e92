"""A tool as an admin describes it, whichever face they use: types and limits of its fields."""

from __future__ import annotations

import marshmallow as ma
from marshmallow import validate

from common.models.tools import ADAPTERS, AUTH_TYPES, METHODS
from web.http.fields import Flag, JsonObject, Many, Number, Pairs, Secret, Text, Tokens, Whole, Word
from web.http.schemas import Body

#: RFC 6901.
_POINTER = validate.Regexp(r"(?:/(?:[^~/]|~[01])*)*\Z", error="Must be a JSON Pointer, such as /data/text.")
_SLUG = validate.Regexp(
    r"[a-z0-9]([a-z0-9-]*[a-z0-9])?\Z",
    error="Must be lowercase letters, digits and hyphens, with no hyphen at either end.",
)


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
    streaming = Flag(
        metadata={"description": "It streams: only `chat_completion`, without output_schema and result_pointer."}
    )
    idle_seconds = Whole(1, 600, metadata={"description": "The longest pause within a streamed answer; 30 by default."})
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


class ImportInSchema(Body):
    document = JsonObject(metadata={"description": "An OpenAPI 3.0 or 3.1 document."})
    url = Text(
        max=2048, metadata={"description": "Where the document is (JSON, at most 8 MiB), instead of `document`."}
    )
    base_url = Text(max=2048, metadata={"description": "Used instead of the document's servers."})
    show = Many(
        Text(max=63, validate=_SLUG), max=100, metadata={"description": "Slugs of the tools to show; default: all."}
    )
    create = Many(
        Text(max=63, validate=_SLUG), max=50, unique=True, metadata={"description": "Slugs of the tools to create."}
    )
    price = ma.fields.Nested(PriceInSchema, metadata={"description": "Of each tool that is created."})
    auth = ma.fields.Nested(
        ToolAuthInSchema, metadata={"description": "The credential of the tools that are created and need one."}
    )

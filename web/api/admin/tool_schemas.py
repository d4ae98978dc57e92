"""Representations of what admins manage: tools, trial calls, circuit breakers."""

from __future__ import annotations

import marshmallow as ma

from common.models.tools import ADAPTERS, AUTH_TYPES, METHODS
from web.api.tools import ToolArguments, ToolQuery, ToolSchema, VersionSchema
from web.http.fields import AnyField, Flag, Instant, Text, Tokens, Whole, Word
from web.http.schemas import Body, Resource


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


class AdminVersionSchema(VersionSchema):
    endpoint_url = Text(required=True, attribute="version.endpoint_url")
    adapter = Word(*ADAPTERS, required=True, attribute="version.adapter")
    method = Word(*METHODS, required=True, attribute="version.method")
    headers = ma.fields.Dict(
        keys=ma.fields.String(), values=ma.fields.String(), required=True, attribute="version.headers"
    )
    auth = ma.fields.Nested(ToolAuthSchema, required=True, attribute="version.auth")
    result_pointer = Text(required=True, allow_none=True, attribute="version.result_pointer")


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

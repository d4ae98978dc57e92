"""`/tools`: the catalogue, submitting invocations, quotes."""

from __future__ import annotations

from typing import TypedDict

import marshmallow as ma
from flask import Response

from common import errors, invocations, tools
from common.invocations import Quote, SubmitFields
from common.kit.paging import Page
from common.tools import ListedTool, ListedVersion
from web.api.blueprint import Blueprint
from web.api.invocation_schemas import InvocationSchema, PriceSchema
from web.api.quote_schemas import QuoteIn, QuoteInSchema, QuoteSchema
from web.api.submissions import accepted
from web.api.submit_schemas import REFUSALS, SubmitInSchema
from web.http import auth, limits, submissions
from web.http.fields import Flag, Id, Instant, JsonObject, Text, Whole
from web.http.pagination import ListArguments, ListQuery
from web.http.schemas import QueryArguments, Resource

blp = Blueprint("tools", __name__, url_prefix="/tools", description="The AI tools that can be invoked")


# -- schemas -----------------------------------------------------------------------------------------------------


class ToolSummarySchema(Resource):
    id = Id(required=True)
    slug = Text(required=True)
    name = Text(required=True)
    description = Text(required=True, allow_none=True)
    category = Text(required=True, allow_none=True)
    price = ma.fields.Nested(PriceSchema, required=True, attribute="current.price")
    is_available = Flag(required=True)
    latency_p50_ms = Whole(
        required=True,
        allow_none=True,
        metadata={"description": "Of all calls in the last seven days, within 2 %; null: there was none."},
    )
    latency_p95_ms = Whole(required=True, allow_none=True)
    last_used_at = Instant(
        required=True, allow_none=True, metadata={"description": "When your account last submitted to it."}
    )


class ToolSchema(ToolSummarySchema):
    input_schema = JsonObject(required=True, attribute="current.input_schema")
    output_schema = JsonObject(required=True, allow_none=True, attribute="current.output_schema")
    timeout_seconds = Whole(required=True, attribute="current.timeout_seconds")
    max_attempts = Whole(required=True, attribute="current.max_attempts")
    idempotent = Flag(required=True, attribute="current.idempotent")
    streaming = Flag(
        required=True, attribute="current.streaming", metadata={"description": "Whether a submit may ask for `stream`."}
    )
    idle_seconds = Whole(
        required=True,
        attribute="current.idle_seconds",
        metadata={"description": "A streamed answer that is silent for longer ends as `failed`, `tool_timeout`."},
    )
    version = Whole(required=True, attribute="current.version")
    example_input = ma.fields.Raw(required=True, allow_none=True, attribute="current.example_input")
    fallback = Text(
        required=True,
        allow_none=True,
        metadata={"description": "The slug of the tool that runs instead while this one's circuit breaker is open."},
    )


class VersionSchema(Resource):
    version = Whole(required=True, attribute="version.version")
    is_current = Flag(required=True, metadata={"description": "New invocations run with it."})
    price = ma.fields.Nested(PriceSchema, required=True, attribute="version.price")
    input_schema = JsonObject(required=True, attribute="version.input_schema")
    output_schema = JsonObject(required=True, allow_none=True, attribute="version.output_schema")
    example_input = ma.fields.Raw(required=True, allow_none=True, attribute="version.example_input")
    timeout_seconds = Whole(required=True, attribute="version.timeout_seconds")
    max_attempts = Whole(required=True, attribute="version.max_attempts")
    idempotent = Flag(required=True, attribute="version.idempotent")
    streaming = Flag(required=True, attribute="version.streaming")
    idle_seconds = Whole(required=True, attribute="version.idle_seconds")
    created_at = Instant(required=True)


class VersionQuery(QueryArguments):
    version = Whole(1, metadata={"description": "Show this version instead of the current one."})


class VersionArguments(TypedDict, total=False):
    """What `VersionQuery` loads."""

    version: int


class ToolQuery(ListQuery):
    q = Text(max=200, metadata={"description": "A literal substring of slug, name or description."})
    category = Text(max=100)


class ToolArguments(ListArguments, total=False):
    """What `ToolQuery` loads."""

    q: str
    category: str


# -- views -------------------------------------------------------------------------------------------------------


@blp.get("")
@auth.needs("tools:read")
@blp.arguments(ToolQuery, location="query")
@blp.page(ToolSummarySchema)
def index(query: ToolArguments) -> Page[ListedTool]:
    """Tools that can be invoked"""
    return tools.browse(auth.caller().user_id, **query, only=auth.caller().tools)


@blp.get("/<tool>")
@auth.needs("tools:read")
@blp.arguments(VersionQuery, location="query")
@blp.response(200, ToolSchema)
def show(query: VersionArguments, tool: str) -> ListedTool:
    """One tool, by id or slug, with its input schema

    With `version`: as it is or was in that version, also of an archived tool that your account has called.
    """
    return tools.show(auth.caller().user_id, tool, query.get("version"), only=auth.caller().tools)


@blp.get("/<tool>/versions")
@auth.needs("tools:read")
@blp.arguments(ListQuery, location="query")
@blp.page(VersionSchema)
def versions(query: ListArguments, tool: str) -> Page[ListedVersion]:
    """The versions of a tool that an invocation can name, newest first

    Also of an archived tool that your account has called. A page has at most 1 MiB of schemas, or one version.
    """
    return tools.versions(auth.caller().user_id, tool, **query, only=auth.caller().tools)


@blp.post("/<tool>/invoke")
@auth.needs("invocations:write")
@limits.submits
@blp.headers("Idempotency-Key", "Prefer", "Joyfull-Quote")
@blp.arguments(SubmitInSchema)
@blp.response(
    202,
    InvocationSchema,
    headers=["Location", "Retry-After", "Idempotent-Replayed"],
    description="Accepted: the invocation is stored and its tokens are held.",
)
@blp.alt_response(
    200,
    schema=InvocationSchema,
    headers=["Location", "Idempotent-Replayed", "Preference-Applied"],
    description="The invocation has ended.",
)
@blp.raises(*REFUSALS, errors.StreamingUnsupported, errors.QuoteInvalid, errors.QuoteExpired, errors.UrlRefused)
def invoke(body: SubmitFields, tool: str) -> Response:
    """Submit an invocation

    202 guarantees that the invocation is stored, its tokens are held, and it will reach a final state. With
    `Prefer: wait=N` the response is 200 if it ends in time.

    An `Idempotency-Key` is reserved per account for 24 hours. A repeat with the same tool and body returns the first
    invocation, also while that is still being created; a repeat with a different request is refused. A refused submit
    stores nothing, so its key can be used again.

    Checked in this order: credentials, scope, body, `Idempotency-Key` (a repeat ends here), tool, `quote`, `version`,
    input, subscription, rate limit, circuit breaker, budget. While the platform is overloaded, 503 comes before all.
    """
    seconds = submissions.preferred_wait()
    return accepted(submissions.submit_and_wait(tool, body, seconds or 0), seconds)


@blp.post("/<tool>/quote")
@auth.needs("tools:read")
@blp.arguments(QuoteInSchema)
@blp.response(200, QuoteSchema)
@blp.raises(errors.ToolInputRejected)
def quote(body: QuoteIn, tool: str) -> Quote:
    """What an invocation would hold and cost, whether it would be accepted now, and what it would wait for

    Free of charge, and reserves nothing.
    """
    return invocations.quote(auth.caller(), tool, body["input"], body.get("max_tokens"), signed=True)

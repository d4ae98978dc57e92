"""`/tools`: the catalogue, submitting invocations, quotes."""

from __future__ import annotations

from typing import NotRequired, TypedDict

import marshmallow as ma
from flask import Response

from common import errors, invocations, tools
from common.invocations import Quote, SubmitFields
from common.kit.paging import Page
from common.tools import ListedTool
from web.api.blueprint import Blueprint
from web.api.invocation_schemas import InvocationSchema, PriceSchema
from web.api.submissions import accepted
from web.api.submit_schemas import SubmitInSchema
from web.http import auth, limits, submissions
from web.http.fields import Flag, Id, JsonObject, Text, Tokens, Whole
from web.http.pagination import ListArguments, ListQuery
from web.http.schemas import Body, Resource

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


class ToolSchema(ToolSummarySchema):
    input_schema = JsonObject(required=True, attribute="current.input_schema")
    output_schema = JsonObject(required=True, allow_none=True, attribute="current.output_schema")
    timeout_seconds = Whole(required=True, attribute="current.timeout_seconds")
    max_attempts = Whole(required=True, attribute="current.max_attempts")
    idempotent = Flag(required=True, attribute="current.idempotent")
    version = Whole(required=True, attribute="current.version")
    example_input = ma.fields.Raw(required=True, allow_none=True, attribute="current.example_input")


class ToolQuery(ListQuery):
    q = Text(max=200, metadata={"description": "A literal substring of slug, name or description."})
    category = Text(max=100)


class ToolArguments(ListArguments, total=False):
    """What `ToolQuery` loads."""

    q: str
    category: str


class QuoteInSchema(Body):
    input = ma.fields.Raw(required=True, allow_none=True)
    max_tokens = Tokens()


class QuoteIn(TypedDict):
    """What `QuoteInSchema` loads."""

    input: object
    max_tokens: NotRequired[int]


class QuoteSchema(Resource):
    max_tokens = Tokens(required=True, metadata={"description": "Tokens that would be held."})
    max_units = ma.fields.Integer(
        required=True,
        allow_none=True,
        metadata={
            "description": "Units (`price.per_unit.unit`) that `max_tokens` pays for; null if units are free. A call "
            "that uses more ends as `failed` with `cost_exceeded` if your `max_tokens` is below the price's."
        },
    )
    available = Tokens(required=True, allow_none=True, metadata={"description": "Null: unlimited."})
    allowed = Flag(required=True)
    reason = Text(
        required=True, allow_none=True, metadata={"description": "The error code of a refusal; null if allowed."}
    )
    estimated_wait_seconds = Whole(required=True)


# -- views -------------------------------------------------------------------------------------------------------


@blp.get("")
@auth.needs("tools:read")
@blp.arguments(ToolQuery, location="query")
@blp.page(ToolSummarySchema)
def index(query: ToolArguments) -> Page[ListedTool]:
    """Tools that can be invoked"""
    return tools.catalogue(**query, only=auth.caller().tools)


@blp.get("/<tool>")
@auth.needs("tools:read")
@blp.response(200, ToolSchema)
def show(tool: str) -> ListedTool:
    """One tool, by id or slug, with its input schema"""
    return invocations.visible(auth.caller(), tool)


@blp.post("/<tool>/invoke")
@auth.needs("invocations:write")
@limits.submits
@blp.headers("Idempotency-Key", "Prefer")
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
@blp.raises(
    errors.IdempotencyKeyReused,
    errors.Conflict,
    errors.ToolInputRejected,
    errors.UrlRefused,
    errors.BudgetExhausted,
    errors.StorageExhausted,
    errors.SubscriptionRequired,
    errors.EmailNotVerified,
    errors.RateLimited,
    errors.ToolUnavailable,
)
def invoke(body: SubmitFields, tool: str) -> Response:
    """Submit an invocation

    202 guarantees that the invocation is stored, its tokens are held, and it will reach a final state. With
    `Prefer: wait=N` the response is 200 if it ends in time.

    An `Idempotency-Key` is reserved per account for 24 hours. A repeat with the same tool and body returns the first
    invocation, also while that is still being created; a repeat with a different request is refused. A refused submit
    stores nothing, so its key can be used again.

    Checked in this order: credentials, scope, body, `Idempotency-Key` (a repeat ends here), tool, `version`, input,
    subscription, rate limit, circuit breaker, budget.
    """
    seconds = submissions.preferred_wait()
    return accepted(submissions.submit_and_wait(tool, body, seconds or 0), seconds)


@blp.post("/<tool>/quote")
@auth.needs("tools:read")
@blp.arguments(QuoteInSchema)
@blp.response(200, QuoteSchema)
@blp.raises(errors.ToolInputRejected)
def quote(body: QuoteIn, tool: str) -> Quote:
    """What an invocation would hold, whether it would be accepted now, and how long it would wait; free of charge"""
    return invocations.quote(auth.caller(), tool, body["input"], body.get("max_tokens"))

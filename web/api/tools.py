"""The catalogue, and calling what is in it."""

from __future__ import annotations

from typing import Any

import marshmallow as ma
from flask import Response

from common import budgets, errors, invocations, subscriptions, tools
from common.errors import PlatformError
from common.kit.paging import Page
from common.tools import Listed, breakers
from web.api.blueprint import Blueprint
from web.api.invocation_schemas import InvocationSchema, SubmitInSchema
from web.api.submissions import submit
from web.http import auth, limits
from web.http.fields import Flag, Id, JsonObject, Text, Tokens, Whole
from web.http.pagination import ListQuery
from web.http.schemas import Body, Resource

blp = Blueprint("tools", __name__, url_prefix="/tools", description="The AI tools that can be invoked")


# -- schemas -----------------------------------------------------------------------------------------------------


class PerUnitSchema(Resource):
    pointer = Text(required=True, metadata={"description": "RFC 6901, into the tool's whole answer."})
    tokens = ma.fields.Float(required=True)
    unit = Text(required=True)


class PriceSchema(Resource):
    base_tokens = Tokens(required=True)
    per_unit = ma.fields.Nested(PerUnitSchema, required=True, allow_none=True)
    max_tokens = Tokens(required=True)


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
    q = Text(max=200, metadata={"description": "Found literally in slug, name or description."})
    category = Text(max=100)


class QuoteInSchema(Body):
    input = ma.fields.Raw(required=True, allow_none=True)
    max_tokens = Tokens()


class QuoteSchema(Resource):
    max_tokens = Tokens(required=True, metadata={"description": "What would be held."})
    max_units = ma.fields.Integer(
        required=True,
        allow_none=True,
        metadata={
            "description": "How many units (`price.per_unit.unit`) that pays for; null when units cost nothing. A call "
            "that takes more ends `failed` with `cost_exceeded` when `max_tokens` is below the price's."
        },
    )
    available = Tokens(required=True, allow_none=True, metadata={"description": "Null: unlimited."})
    allowed = Flag(required=True)
    reason = Text(required=True, allow_none=True, metadata={"description": "A code; null when it is allowed."})
    estimated_wait_seconds = Whole(required=True)


# -- views -------------------------------------------------------------------------------------------------------


@blp.get("")
@auth.needs("tools:read")
@blp.arguments(ToolQuery, location="query")
@blp.page(ToolSummarySchema)
def index(query: dict[str, Any]) -> Page[Any]:
    """What can be invoked"""
    found = tools.catalogue(query["window"], q=query.get("q"), category=query.get("category"))
    return found.map(_with_availability)


@blp.get("/<tool>")
@auth.needs("tools:read")
@blp.response(200, ToolSchema)
def show(tool: str) -> Any:
    """One tool, by id or slug, with the schema of its input"""
    return _with_availability(tools.find(tool))


@blp.post("/<tool>/invoke")
@auth.needs("invocations:write")
@limits.submits
@blp.headers("Idempotency-Key", "Prefer")
@blp.arguments(SubmitInSchema)
@blp.response(
    202,
    InvocationSchema,
    headers=["Location", "Retry-After", "Idempotent-Replayed"],
    description="Accepted: the row is committed, the hold is taken, an end will come.",
)
@blp.alt_response(
    200,
    schema=InvocationSchema,
    headers=["Location", "Idempotent-Replayed", "Preference-Applied"],
    description="It has ended already.",
)
@blp.raises(
    errors.IdempotencyKeyReused,
    errors.ToolInputRejected,
    errors.UrlRefused,
    errors.BudgetExhausted,
    errors.StorageExhausted,
    errors.SubscriptionRequired,
    errors.EmailNotVerified,
    errors.RateLimited,
    errors.ToolUnavailable,
)
def invoke(body: dict[str, Any], tool: str) -> Response:
    """Submit an invocation

    202 is a promise: the row is committed, the hold is taken, and the invocation will reach an end. With
    `Prefer: wait=N` the answer is 200 when the end came in time.

    An `Idempotency-Key` is the account's for 24 hours: repeated with the same tool and body it gives the first
    invocation again, also while that is still being made; with another one it is refused. A refused submit leaves no
    trace, so its key may be used again.

    Checked in this order: credentials, scope, body, `Idempotency-Key` (a repeated one ends here), tool, its input,
    subscription, rate, breaker, budget.
    """
    return submit(tool, body)


@blp.post("/<tool>/quote")
@auth.needs("tools:read")
@blp.arguments(QuoteInSchema)
@blp.response(200, QuoteSchema)
@blp.raises(errors.ToolInputRejected)
def quote(body: dict[str, Any], tool: str) -> Any:
    """What a call would hold, whether it would be allowed now, and how long it would wait; charges nothing"""
    found = tools.find(tool).current
    amount = invocations.check(found, body["input"], body.get("max_tokens"))
    available, reason = _affordable(found, amount)
    wait = invocations.sweeping.depth()
    return {
        "max_tokens": amount,
        "max_units": found.price.units_within(amount),
        "available": available,
        "allowed": reason is None,
        "reason": reason,
        "estimated_wait_seconds": round(wait.oldest),
    }


def _affordable(tool: tools.Version, amount: int) -> tuple[int | None, str | None]:
    """What the caller has (None: no limit), and the code that a submit would be refused with."""
    try:
        terms = subscriptions.for_submit(auth.caller().user_id)
        account = invocations.account_of(auth.caller(), terms)
        balance = budgets.now(terms.period_id)
    except errors.SubscriptionRequired as refusal:
        return 0, refusal.code
    refusals: list[type[PlatformError]] = []
    if budgets.rate_limited(account):
        refusals.append(errors.RateLimited)
    if breakers.retry_after(tool.tool_id):
        refusals.append(errors.ToolUnavailable)
    if balance.available < amount:
        refusals.append(errors.BudgetExhausted)
    return balance.shown["available"], refusals[0].code if refusals else None


def _with_availability(tool: Listed) -> dict[str, Any]:
    fields = ("id", "slug", "name", "description", "category", "current")
    shown = {name: getattr(tool, name) for name in fields}
    return {**shown, "is_available": not breakers.retry_after(tool.id)}

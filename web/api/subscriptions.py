"""`/subscriptions`: plans and the caller's subscription."""

from __future__ import annotations

from typing import TypedDict

import marshmallow as ma

from common import errors, subscriptions
from common.identity.idempotency import Once
from common.kit.paging import Page
from common.models.subscriptions import SUBSCRIPTION_STATUSES, Plan
from common.subscriptions import Current, Preview
from web.api.blueprint import Blueprint
from web.http import auth
from web.http.fields import Flag, Instant, Text, Tokens, Whole, Word
from web.http.pagination import ListArguments, ListQuery
from web.http.responses import Headers, location
from web.http.schemas import Body, QueryArguments, Resource

blp = Blueprint(
    "subscriptions", __name__, url_prefix="/subscriptions", description="Plans and the caller's subscription"
)


# -- schemas -----------------------------------------------------------------------------------------------------


class PlanSchema(Resource):
    slug = Text(required=True)
    name = Text(required=True)
    description = Text(required=True)
    monthly_tokens = Tokens(required=True, allow_none=True, metadata={"description": "Null: unlimited."})
    price_cents = Whole(required=True)
    currency = Text(required=True)
    rate_limit_per_minute = Whole(
        required=True, allow_none=True, metadata={"description": "Submits per minute. Null: unlimited."}
    )
    max_concurrency = Whole(
        required=True, allow_none=True, metadata={"description": "Invocations that run concurrently. Null: unlimited."}
    )
    max_streams = Whole(
        required=True,
        allow_none=True,
        metadata={
            "description": "Concurrent event streams and long-polls in one web process. Null: the operator's default."
        },
    )
    max_payload_bytes = Whole(
        required=True,
        allow_none=True,
        metadata={"description": "Stored bytes of `input` and `output`. Null: the operator's default."},
    )
    rollover_percent = Whole(
        required=True,
        metadata={
            "description": "How much of what is left at a period's end is granted again in the next. 0: nothing."
        },
    )


class BalanceSchema(Resource):
    """Always `granted = charged + held + available`; without a limit, `granted` and `available` are null."""

    granted = Tokens(required=True, allow_none=True, metadata={"description": "Null: unlimited."})
    charged = Tokens(required=True)
    held = Tokens(required=True)
    available = Tokens(required=True, allow_none=True, metadata={"description": "Null: unlimited."})
    resets_at = Instant(required=True)


class SubscriptionSchema(Resource):
    plan = Text(required=True, metadata={"description": "The slug of the plan."})
    status = Word(*SUBSCRIPTION_STATUSES, required=True)
    current_period_start = Instant(required=True)
    current_period_end = Instant(required=True)
    cancel_at_period_end = Flag(required=True)
    pending_plan = Text(required=True, allow_none=True, metadata={"description": "The plan from the next period on."})
    tokens = ma.fields.Nested(BalanceSchema, required=True, attribute="balance")


class SubscribeInSchema(Body):
    plan = Text(required=True, max=63, metadata={"description": "The slug of a plan."})


class SubscribeIn(TypedDict):
    """What `SubscribeInSchema` loads."""

    plan: str


class PreviewQuery(QueryArguments):
    plan = Text(required=True, max=63, metadata={"description": "The slug of a plan."})


class PreviewSchema(Resource):
    plan = ma.fields.Nested(PlanSchema, required=True)
    kind = Word(
        *("begin", "raise", "lower", "undo", "resume", "nothing"),
        required=True,
        metadata={
            "description": "`begin`: a subscription starts. `raise`: the plan counts at once. `lower`: from the next "
            "period on. `undo`: a pending change or cancellation is withdrawn. `resume`: the period that was canceled "
            "at once is opened again. `nothing`: subscribing would be 409."
        },
    )
    granted = Tokens(
        required=True, allow_none=True, metadata={"description": "What is granted at once. Null: without limit."}
    )
    present = Text(
        required=True, allow_none=True, metadata={"description": "The slug of the current plan. Null for `begin`."}
    )
    ends_at = Instant(
        required=True, allow_none=True, metadata={"description": "The end of the current period. Null for `begin`."}
    )


class CancelInSchema(Body):
    at_period_end = Flag(load_default=True)


class CancelIn(TypedDict):
    """What `CancelInSchema` loads."""

    at_period_end: bool


# -- views -------------------------------------------------------------------------------------------------------


@blp.get("/plans")
@auth.public
@blp.arguments(ListQuery, location="query")
@blp.page(PlanSchema)
def plans(query: ListArguments) -> Page[Plan]:
    """Plans that are open for subscription"""
    return subscriptions.plans.offered(**query)


@blp.get("/current")
@auth.needs("subscriptions:read")
@blp.response(200, SubscriptionSchema)
@blp.raises(errors.NotFound)
def current() -> Current:
    """The caller's subscription and the tokens of its period; 404 if there never was one"""
    return subscriptions.current(auth.caller().user_id)


@blp.get("/preview")
@auth.needs("subscriptions:read")
@blp.arguments(PreviewQuery, location="query")
@blp.response(200, PreviewSchema)
def preview(query: SubscribeIn) -> Preview:
    """What subscribing to a plan would do now; nothing is changed"""
    return subscriptions.preview(auth.caller().user_id, query["plan"])


@blp.post("/subscribe")
@auth.session_only
@blp.arguments(SubscribeInSchema)
@blp.response(201, SubscriptionSchema, headers=["Location"], description="A new subscription.")
@blp.alt_response(
    200, schema=SubscriptionSchema, description="The plan was changed, or a pending change was withdrawn."
)
@blp.raises(errors.Conflict)
@blp.idempotent
def subscribe(body: SubscribeIn, once: Once) -> tuple[Current, int, Headers]:
    """Subscribe, or change plans

    Without a subscription, a new period starts: 201. An upgrade takes effect immediately and the difference in tokens
    is granted now; a downgrade takes effect with the next period (`pending_plan`). Choosing the current plan withdraws
    a pending change or cancellation, and is 409 if there is none.
    """
    shown, began = subscriptions.subscribe(auth.caller().user_id, body["plan"], once=once)
    return (shown, 201, location(".current")) if began else (shown, 200, {})


@blp.post("/cancel")
@auth.session_only
@blp.arguments(CancelInSchema, required=False)
@blp.response(200, SubscriptionSchema)
@blp.raises(errors.Conflict, errors.NotFound)
def cancel(body: CancelIn) -> Current:
    """Cancel the subscription at the end of its period, or immediately

    Accepted invocations still run in both cases. Subscribing again before the period ends resumes it, with its charges.
    """
    return subscriptions.cancel(auth.caller().user_id, **body)

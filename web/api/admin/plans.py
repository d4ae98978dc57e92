"""`/admin/plans`: listing, creating and changing plans."""

from __future__ import annotations

from marshmallow import validate

from common import errors
from common.identity.idempotency import Once
from common.kit.expecting import Expect
from common.kit.paging import Page
from common.models.subscriptions import UNLIMITED_TOKENS, Plan
from common.subscriptions import plans
from web.api.blueprint import Blueprint
from web.api.subscriptions import PlanSchema
from web.http import auth
from web.http.fields import Flag, Id, Instant, Text, Tokens, Whole
from web.http.pagination import ListArguments, ListQuery
from web.http.responses import Headers, location
from web.http.schemas import Body

blp = Blueprint("plans", __name__, url_prefix="/admin/plans", description="Managing plans")


# -- schemas -----------------------------------------------------------------------------------------------------


class AdminPlanSchema(PlanSchema):
    id = Id(required=True)
    is_active = Flag(required=True, metadata={"description": "Whether the plan is open for subscription."})
    position = Whole(required=True, metadata={"description": "Position in lists of plans."})
    created_at = Instant(required=True)


class PlanChangesSchema(Body):
    name = Text(max=100, line=True, nfc=True)
    description = Text(max=2_000, blank=True, nfc=True)
    monthly_tokens = Tokens(0, UNLIMITED_TOKENS - 1, allow_none=True, metadata={"description": "Null: unlimited."})
    price_cents = Whole()
    currency = Text(max=3, validate=validate.Regexp(r"[A-Z]{3}\Z"), metadata={"description": "ISO 4217."})
    rate_limit_per_minute = Whole(1, allow_none=True)
    max_concurrency = Whole(1, allow_none=True)
    max_streams = Whole(1, allow_none=True)
    max_payload_bytes = Whole(0, 2**53 - 1, allow_none=True)
    rollover_percent = Whole(
        0, 100, metadata={"description": "Of what is left when a period on this plan ends, but for what expires later."}
    )
    is_active = Flag()
    position = Whole()


class PlanInSchema(PlanChangesSchema):
    slug = Text(required=True, max=63, validate=validate.Regexp(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?\Z"))
    name = Text(required=True, max=100, line=True, nfc=True)
    monthly_tokens = Tokens(0, UNLIMITED_TOKENS - 1, required=True, allow_none=True)


# -- views -------------------------------------------------------------------------------------------------------


@blp.get("")
@auth.admin
@blp.arguments(ListQuery, location="query")
@blp.page(AdminPlanSchema)
def index(query: ListArguments) -> Page[Plan]:
    """All plans, including inactive ones"""
    return plans.everything(**query)


@blp.post("")
@auth.admin
@blp.arguments(PlanInSchema)
@blp.response(201, AdminPlanSchema, headers=["Location"])
@blp.raises(errors.SlugTaken)
@blp.idempotent
@blp.tagged(AdminPlanSchema)
def create(body: dict[str, object], once: Once) -> tuple[Plan, Headers]:
    """Create a plan"""
    plan = plans.create(body, actor=auth.actor(), once=once)
    return plan, location(".show", slug=plan.slug)


@blp.get("/<slug>")
@auth.admin
@blp.response(200, AdminPlanSchema)
@blp.tagged(AdminPlanSchema)
def show(slug: str) -> Plan:
    """One plan"""
    return plans.get(slug)


@blp.patch("/<slug>")
@auth.admin
@blp.arguments(PlanChangesSchema)
@blp.response(200, AdminPlanSchema)
@blp.tagged(AdminPlanSchema)
def edit(body: dict[str, object], slug: str, expect: Expect[Plan]) -> Plan:
    """Change a plan

    Limits take effect within seconds; `monthly_tokens` and `rollover_percent`, when the period of each subscription
    ends.
    """
    return plans.edit(slug, body, actor=auth.actor(), expect=expect)

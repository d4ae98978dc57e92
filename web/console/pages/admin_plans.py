"""Plans, for admins: all of them, also retired ones; made and changed."""

from __future__ import annotations

from typing import NotRequired, TypedDict, cast

from flask import Response
from marshmallow import validate

from common.kit.paging import Window
from common.models.subscriptions import UNLIMITED_TOKENS
from common.subscriptions import plans
from web.console import forms, repeats
from web.console.blueprint import Context, action, blp, go, page
from web.console.repeats import RepeatableForm
from web.http import auth
from web.http.fields import Flag, Text, Tokens, Whole


class PlanFieldsForm(RepeatableForm):
    name = Text(required=True, max=100, line=True, nfc=True)
    description = Text(max=2_000, blank=True, nfc=True, load_default="")
    monthly_tokens = Tokens(0, UNLIMITED_TOKENS - 1, load_default=None)
    price_cents = Whole(required=True)
    currency = Text(required=True, max=3, validate=validate.Regexp(r"[A-Z]{3}\Z"))
    rate_limit_per_minute = Whole(1, load_default=None)
    max_concurrency = Whole(1, load_default=None)
    max_streams = Whole(1, load_default=None)
    max_payload_bytes = Whole(0, 2**53 - 1, load_default=None)
    is_active = Flag(load_default=False)
    position = Whole(required=True)


class PlanFieldsSent(TypedDict):
    """What `PlanFieldsForm` loads."""

    name: str
    description: str
    monthly_tokens: int | None
    price_cents: int
    currency: str
    rate_limit_per_minute: int | None
    max_concurrency: int | None
    max_streams: int | None
    max_payload_bytes: int | None
    is_active: bool
    position: int
    once: NotRequired[str]


class NewPlanForm(PlanFieldsForm):
    slug = Text(required=True, max=63, validate=validate.Regexp(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?\Z"))


class NewPlanSent(PlanFieldsSent):
    """What `NewPlanForm` loads."""

    slug: str


def listed() -> Context:
    """For the page of all plans."""
    return {"plans": plans.everything(Window(100)).items}


def one(slug: str) -> Context:
    """For the page of a plan."""
    return {"plan": plans.get(slug)}


def fields_of(sent: PlanFieldsSent | NewPlanSent) -> dict[str, object]:
    """What was typed, without the key of the form."""
    return {name: value for name, value in cast(dict[str, object], sent).items() if name != "once"}


@blp.get("/admin/plans")
@auth.admin
@page("admin_plans.html")
def admin_plans() -> Context:
    """All plans, and a form for another."""
    return listed()


@blp.post("/admin/plans")
@auth.admin
@action("admin_plans.html", again=listed)
def create_plan() -> Response:
    """Create a plan."""
    sent: NewPlanSent = forms.load(NewPlanForm)
    made = plans.create(fields_of(sent), actor=auth.actor(), once=repeats.of(cast(dict[str, object], sent)))
    return go("admin_plan", slug=made.slug, said="saved")


@blp.get("/admin/plans/<slug>")
@auth.admin
@page("admin_plan.html")
def admin_plan(slug: str) -> Context:
    """One plan."""
    return one(slug)


@blp.post("/admin/plans/<slug>")
@auth.admin
@action("admin_plan.html", again=one)
def edit_plan_fields(slug: str) -> Response:
    """Change what differs."""
    sent: PlanFieldsSent = forms.load(PlanFieldsForm)
    before = plans.get(slug)
    changes = {name: value for name, value in fields_of(sent).items() if getattr(before, name) != value}
    plans.edit(slug, changes, actor=auth.actor())
    return go("admin_plan", slug=slug, said="saved")

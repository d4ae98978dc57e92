"""The plan: what there is to choose from, and what each change would do, said before it is done."""

from __future__ import annotations

from typing import NotRequired, TypedDict

from flask import Response, request

from common import subscriptions
from common.kit import strict_json
from common.kit.paging import Window
from common.models.subscriptions import Plan
from common.subscriptions import Current, Preview
from web.console import forms, frame, show
from web.console.blueprint import Context, action, blp, go, page
from web.console.forms import Form
from web.console.rendering import url
from web.http import auth
from web.http.fields import Text, Word


class PlanForm(Form):
    plan = Text(required=True, max=63)


class PlanSent(TypedDict):
    """What `PlanForm` loads."""

    plan: str


class CancelForm(Form):
    when = Word("end", "now")


class CancelSent(TypedDict):
    """What `CancelForm` loads."""

    when: NotRequired[str]


# -- what the pages say --------------------------------------------------------------------------------------------


def change() -> Context:
    """What the chosen plan would do, as a question."""
    found = subscriptions.preview(auth.caller().user_id, _given("plan"))
    asked, label = _ASKED[found.kind]
    name = found.plan.name
    return {
        "asked": asked.format(name),
        "effects": effects(found),
        "path": url("change_plan"),
        "fields": [("plan", found.plan.slug)],
        "label": label.format(name),
        "back": url("plan"),
    }


_ASKED = {
    "begin": ("Subscribe to {}?", "Subscribe"),
    "raise": ("Upgrade to {}?", "Upgrade now"),
    "lower": ("Downgrade to {} at the end of the period?", "Downgrade"),
    "undo": ("Stay on {}?", "Stay on {}"),
    "resume": ("Resume {}?", "Resume it"),
    "nothing": ("{} is your plan", "Choose it again"),
}


def effects(found: Preview) -> list[str]:
    """What a change of plan does, in sentences."""
    plan = found.plan
    price, month = show.money(plan.price_cents, plan.currency), _amount(plan.monthly_tokens)
    ends = show.moment(found.ends_at) if found.ends_at else ""
    return {
        "begin": [f"A period of one month begins now with {month}. Price: {price}.", "It renews every month."],
        "raise": [
            f"It takes effect at once: {_amount(found.granted)} are granted now, with the limits of {plan.name}.",
            f"The period stays as it is. From {ends} on, each month has {month}. Price: {price}.",
        ],
        "lower": [
            f"Until {ends} nothing changes: you keep the current plan, its tokens and its limits.",
            f"From then on each month has {month}. Price: {price}. Until then it can be undone here.",
        ],
        "undo": [f"The change that was planned for {ends} is withdrawn. Nothing is granted, charged or lost."],
        "resume": [f"The period that ends {ends} is opened again, with what it was charged. Nothing is granted."],
        "nothing": ["You are already on this plan, so nothing would change."],
    }[found.kind]


def _amount(tokens: int | None) -> str:
    return "tokens without limit" if tokens is None else show.tokens(tokens)


def _given(name: str) -> str:
    """What the form that was sent says, or else the address; empty if it has characters that no name has."""
    said = str(forms.typed().get(name, request.args.get(name, "")))
    return "" if strict_json.FORBIDDEN.search(said) else said


def cancellation() -> Context:
    """What canceling at the end of the period, or now, does; as a question."""
    at_once = _given("when") == "now"
    ends = show.moment(subscriptions.current(auth.caller().user_id).current_period_end)
    effects = [
        "No new runs are accepted from now on. Accepted runs finish, and are charged as usual."
        if at_once
        else f"Until {ends} nothing changes. Then the subscription ends, and no new runs are accepted.",
        f"What is still available expires {ends}. Until then, you can undo this by choosing a plan here.",
        "Runs, usage, statements, keys and webhooks stay.",
    ]
    return {
        "asked": "Cancel the subscription now?" if at_once else "Cancel at the end of the period?",
        "effects": effects,
        "path": url("cancel_plan"),
        "fields": [("when", "now" if at_once else "end")],
        "label": "Cancel now" if at_once else "Cancel at the end",
        "back": url("plan"),
        "danger": True,
    }


def choices(current: Current | None, plans: list[Plan]) -> Context:
    """What can be done with each plan: its path, and the words on its button."""
    known = {each.slug: each for each in plans}
    present = None
    if current is not None:
        present = known.get(current.plan) or subscriptions.plans.get(current.plan)
    return {
        slug: {"path": url("plan_change", plan=slug), **_choice(it, present, current)} for slug, it in known.items()
    }


def _choice(plan: Plan, present: Plan | None, current: Current | None) -> Context:
    if present is None or current is None or current.status == "expired":
        return {"label": "Choose", "main": True}
    if plan.slug == present.slug:
        changed = current.cancel_at_period_end or current.pending_plan or current.status != "active"
        return {"label": "Keep" if changed else "", "main": bool(changed)}
    lower = subscriptions.plans.is_lower(plan, present)
    return {"label": "Downgrade to" if lower else "Upgrade to", "main": not lower}


# -- views ---------------------------------------------------------------------------------------------------------


@blp.get("/plan")
@auth.needs("subscriptions:read")
@page("plan.html")
def plan() -> Context:
    """The plans side by side."""
    caller = auth.caller()
    offered = subscriptions.plans.offered(Window(100)).items
    glance = frame.glance(caller)
    none_yet = glance is not None and glance.meter is None
    current = None if none_yet else subscriptions.current(caller.user_id)
    names = {each.slug: each.name for each in offered}
    return {"plans": offered, "names": names, "current": current, "actions": choices(current, list(offered))}


@blp.get("/plan/change")
@auth.session_only
@page("confirm.html")
def plan_change() -> Context:
    """What choosing a plan does."""
    return change()


@blp.post("/plan/change")
@auth.session_only
@action("confirm.html", again=change)
def change_plan() -> Response:
    """Choose a plan."""
    sent: PlanSent = forms.load(PlanForm)
    glance = frame.glance(auth.caller())
    is_first = glance is not None and glance.meter is None
    subscriptions.subscribe(auth.caller().user_id, sent["plan"])
    return go("plan", said="subscribed" if is_first else "plan-changed")


@blp.get("/plan/cancel")
@auth.session_only
@page("confirm.html")
def plan_cancel() -> Context:
    """What canceling does."""
    return cancellation()


@blp.post("/plan/cancel")
@auth.session_only
@action("confirm.html", again=cancellation)
def cancel_plan() -> Response:
    """Cancel the subscription."""
    sent: CancelSent = forms.load(CancelForm)
    subscriptions.cancel(auth.caller().user_id, at_period_end=sent.get("when") != "now")
    return go("plan", said="canceled")

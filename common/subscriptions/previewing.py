"""What a change of plan would do, before it is done: the rules of `changing`, without the change."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from common.kit import db
from common.models.subscriptions import Period, Plan, Subscription
from common.subscriptions import periods, plans, renewal


@dataclass(frozen=True, slots=True)
class Preview:
    """What subscribing to `plan` would do.

    `kind`:
        begin: a subscription starts, with a period of a month.
        raise: the higher plan counts at once.
        lower: the plan counts from the next period on, `ends_at`.
        undo: a pending change or cancellation is withdrawn.
        resume: the period that was canceled at once is opened again, with its charges.
        nothing: it is the present plan; subscribing would be refused.

    `granted`: tokens that are granted at once, None if they are without limit. `present`: the slug of the present
    plan, `ends_at`: the end of the present period; both None for `begin`.
    """

    plan: Plan
    kind: str
    granted: int | None
    present: str | None
    ends_at: datetime | None


def preview(user_id: UUID, slug: str) -> Preview:
    """What `subscribe` would do now. Raises `Invalid` (unknown plan)."""
    renewal.renew_if_due(user_id)
    with db.snapshot() as session:
        plan = plans.named(session, slug)
        found = session.execute(_PRESENT.where(Period.user_id == user_id)).one_or_none()
        if found is None:
            return Preview(plan, "begin", plan.monthly_tokens, None, None)
        period, subscription, present = found
        kind = _kind(subscription, plan, present)
        granted = _granted(session, period, plan) if kind == "raise" else 0
        return Preview(plan, kind, granted, present.slug, period.ends_at)


#: An account's open period, and what it is of.
_PRESENT = (
    select(Period, Subscription, Plan)
    .join(Subscription, Subscription.id == Period.subscription_id)
    .join(Plan, Plan.id == Subscription.plan_id)
    .where(Period.closed_at.is_(None))
)


def _kind(subscription: Subscription, plan: Plan, present: Plan) -> str:
    if plan.id != present.id:
        return "lower" if plans.is_lower(plan, present) else "raise"
    if subscription.status != "active":
        return "resume"
    return "undo" if subscription.cancel_at_period_end or subscription.pending_plan_id is not None else "nothing"


def _granted(session: Session, period: Period, plan: Plan) -> int | None:
    missing = periods.missing(session, period, plan)
    return None if plan.monthly_tokens is None and missing > 0 else max(0, missing)

"""The event `subscription.changed`: what the owner's systems hear of a subscription."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy.orm import Session

from common import webhooks
from common.kit import clock
from common.models.subscriptions import Period, Plan, Subscription

#: What is said of a subscription.
Facts = Mapping[str, object]


def facts(session: Session, subscription: Subscription, period: Period) -> Facts:
    """A subscription as events tell of it; `period`: the current or last one."""
    pending = session.get_one(Plan, subscription.pending_plan_id).slug if subscription.pending_plan_id else None
    return {
        "plan": session.get_one(Plan, subscription.plan_id).slug,
        "status": subscription.status,
        "current_period_start": clock.rfc3339(period.starts_at),
        "current_period_end": clock.rfc3339(period.ends_at),
        "cancel_at_period_end": subscription.cancel_at_period_end,
        "pending_plan": pending,
    }


def tell(session: Session, subscription: Subscription, now: Facts, before: Facts | None = None) -> None:
    """Record the event in your transaction, unless nothing has changed."""
    if now != before:
        webhooks.record(session, subscription.user_id, "subscription.changed", now)

"""Subscribe, change plans, cancel."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from common import budgets
from common.errors import Conflict, NotFound
from common.identity import idempotency
from common.kit import db
from common.models.subscriptions import Period, Plan, Subscription
from common.queueing import messages
from common.subscriptions import announcing, periods, plans, renewal
from common.subscriptions.showing import Current, current
from common.subscriptions.terms import forget_terms


def subscribe(user_id: UUID, slug: str, *, once: idempotency.Once = None) -> tuple[Current, bool]:
    """Subscribe or change plans. Returns the subscription, and whether it is new.

    Without an active subscription, one starts now. A higher plan applies at once, and the difference is granted. A
    lower plan applies at the end of the period. The current plan undoes a pending change or cancellation. After an
    immediate cancellation, the period that is still running is reopened, with its charges.

    A repeat of `once` returns the subscription as it is now, and what the first one was.

    Raises `Invalid` (unknown plan), `Conflict` (nothing to change), `TokenRevoked` (the account was deleted) and
    `IdempotencyKeyReused`.
    """
    with db.transaction() as session:
        if made := idempotency.claim(session, once, user_id):
            began, granted_in = made.facts["began"] is True, None
        else:
            began, granted_in = _subscribe(session, user_id, slug)
            idempotency.remember(session, once, began=began)
    messages.notify(messages.DELIVER)
    forget_terms(user_id)
    if granted_in is not None:
        budgets.tell(user_id, granted_in.id)
    return current(user_id), began


def _subscribe(session: Session, user_id: UUID, slug: str) -> tuple[bool, Period | None]:
    """Returns whether access began, and the period if tokens were granted in it."""
    plan = plans.named(session, slug)
    now = periods.lock(session, user_id)
    periods.refuse_deleted(session, user_id)
    subscription, period = renewal.up_to_date(session, user_id, now)
    began = subscription is None or subscription.status != "active"
    if subscription is None or period is None:
        return began, _begin(session, user_id, plan, now, again=subscription is not None)
    with _told(session, subscription, period):
        _reopen(subscription, period)
        granted = _change(session, subscription, period, plan, reopened=began)
    return began, period if granted else None


def _begin(session: Session, user_id: UUID, plan: Plan, now: datetime, *, again: bool) -> Period:
    """The very first subscription is no change of one: who makes it has the answer."""
    subscription = Subscription(user_id=user_id, plan_id=plan.id, status="active", anchor=now)
    session.add(subscription)
    session.flush()
    period = periods.first(session, subscription, plan)
    if again:
        announcing.tell(session, subscription, announcing.facts(session, subscription, period))
    return period


@contextmanager
def _told(session: Session, subscription: Subscription, period: Period) -> Iterator[None]:
    """Tell of what the block changes."""
    before = announcing.facts(session, subscription, period)
    yield
    announcing.tell(session, subscription, announcing.facts(session, subscription, period), before)


def _reopen(subscription: Subscription, period: Period) -> None:
    """Restore access after an immediate cancellation; no effect on a subscription that has access."""
    subscription.status, period.access_ended_at = "active", None


def _change(session: Session, subscription: Subscription, period: Period, plan: Plan, *, reopened: bool) -> bool:
    """Apply a change of plan. Returns whether tokens were granted."""
    present = session.get_one(Plan, subscription.plan_id)
    undoes = subscription.cancel_at_period_end or subscription.pending_plan_id is not None
    if plan.id == present.id and not undoes and not reopened:
        raise Conflict(f"The subscription is already on the plan {plan.slug}. Nothing was changed.")
    subscription.cancel_at_period_end, subscription.canceled_at = False, None
    if plans.is_lower(plan, present):
        subscription.pending_plan_id = plan.id
        return False
    subscription.pending_plan_id, subscription.plan_id = None, plan.id
    return plan.id != present.id and periods.raise_to(session, period, plan)


def cancel(user_id: UUID, *, at_period_end: bool = True) -> Current:
    """Cancel the subscription at the end of its period (idempotent), or immediately.

    Either way, accepted invocations finish and are charged to their period.
    Raises `NotFound` (no subscription) and `Conflict` (already ended).
    """
    with db.transaction() as session:
        now = periods.lock(session, user_id)
        subscription, period = renewal.up_to_date(session, user_id, now)
        if subscription is None:
            raise NotFound("The account has no subscription.")
        if subscription.status != "active" or period is None:
            raise Conflict("The subscription has already ended.")
        with _told(session, subscription, period):
            _cancel(subscription, period, now, at_period_end=at_period_end)
    messages.notify(messages.DELIVER)
    forget_terms(user_id)
    return current(user_id)


def end(session: Session, user_id: UUID) -> None:
    """End the account's access now, if it has any. Call `forget_terms` after the commit."""
    now = periods.lock(session, user_id)
    subscription, period = renewal.up_to_date(session, user_id, now)
    if subscription is not None and period is not None and subscription.status == "active":
        _cancel(subscription, period, now, at_period_end=False)
    session.flush()


def _cancel(subscription: Subscription, period: Period, now: datetime, *, at_period_end: bool) -> None:
    subscription.pending_plan_id = None
    subscription.canceled_at = subscription.canceled_at or now
    subscription.cancel_at_period_end = at_period_end
    if not at_period_end:
        subscription.status, period.access_ended_at = "canceled", now

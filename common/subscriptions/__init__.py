"""Subscriptions: subscribe, show, renew, cancel, and grants by admins.

A subscription has consecutive monthly periods (`months`, `periods`), each with its own tokens. A period is opened by
whatever needs it first, a request or the periodic task, under the account's lock, so that none is opened twice or
skipped. docs/decisions/periods.md has the reasons.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from common import budgets
from common.errors import Conflict, NotFound
from common.kit import clock, db
from common.kit.query import Query
from common.models.subscriptions import Period, Plan, Subscription
from common.subscriptions import periods, plans, renewal
from common.subscriptions.forecast import Forecast, forecast
from common.subscriptions.glance import Glance, Meter, glance
from common.subscriptions.grants import grant, granted
from common.subscriptions.renewal import renew, renew_due
from common.subscriptions.statement import (
    BilledPeriod,
    LedgerCheck,
    PeriodBalance,
    Statement,
    check,
    listing,
    statement,
)
from common.subscriptions.terms import PeriodTerms, configure, for_submit, forget_terms, limits, plans_that_allow
from common.usage import ranges

__all__ = [
    "BilledPeriod",
    "Current",
    "Forecast",
    "Glance",
    "LedgerCheck",
    "Meter",
    "PeriodBalance",
    "PeriodTerms",
    "Statement",
    "cancel",
    "check",
    "configure",
    "current",
    "end",
    "for_submit",
    "forecast",
    "forget_terms",
    "glance",
    "grant",
    "granted",
    "limits",
    "listing",
    "period_bounds",
    "plans",
    "plans_that_allow",
    "range_within",
    "renew",
    "renew_due",
    "statement",
    "subscribe",
]


@dataclass(frozen=True, slots=True)
class ShownBalance:
    """The tokens of a period as they are shown; `granted` and `available` are None when they are unlimited."""

    granted: int | None
    charged: int
    held: int
    available: int | None
    resets_at: datetime


@dataclass(frozen=True, slots=True)
class Current:
    """An account's subscription as shown by the API. `tokens`: the balance of the period, computed from the ledger."""

    plan: str
    status: str
    current_period_start: datetime
    current_period_end: datetime
    cancel_at_period_end: bool
    pending_plan: str | None
    tokens: budgets.Balance

    @property
    def balance(self) -> ShownBalance:
        """`tokens`, as they are shown."""
        it = self.tokens
        return ShownBalance(it.shown_granted, it.charged, it.held, it.shown_available, self.current_period_end)


# -- subscribe ---------------------------------------------------------------------------------------------------


def subscribe(user_id: UUID, slug: str) -> tuple[Current, bool]:
    """Subscribe or change plans. Returns the subscription, and whether it is new.

    Without an active subscription, one starts now. A higher plan applies at once, and the difference is granted. A
    lower plan applies at the end of the period. The current plan undoes a pending change or cancellation. After an
    immediate cancellation, the period that is still running is reopened, with its charges.

    Raises `Invalid` (unknown plan), `Conflict` (nothing to change) and `TokenRevoked` (the account was deleted).
    """
    with db.transaction() as session:
        plan = plans.named(session, slug)
        now = periods.lock(session, user_id)
        periods.refuse_deleted(session, user_id)
        subscription, period = renewal.up_to_date(session, user_id, now)
        began = subscription is None or subscription.status != "active"
        if subscription is None or period is None:
            period, granted = _begin(session, user_id, plan, now), True
        else:
            _reopen(subscription, period)
            granted = _change(session, subscription, period, plan, reopened=began)
    forget_terms(user_id)
    if granted:
        budgets.tell(user_id, period.id)
    return current(user_id), began


def _begin(session: Session, user_id: UUID, plan: Plan, now: datetime) -> Period:
    subscription = Subscription(user_id=user_id, plan_id=plan.id, status="active", anchor=now)
    session.add(subscription)
    session.flush()
    return periods.first(session, subscription, plan)


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


# -- show --------------------------------------------------------------------------------------------------------

#: The open period, or else the last one.
_SHOWN = (Period.closed_at.is_not(None), Period.starts_at.desc())


class Bounds(NamedTuple):
    """Start and end of a period."""

    starts_at: datetime
    ends_at: datetime


def current(user_id: UUID) -> Current:
    """The subscription, its period and balance, in one snapshot. Raises `NotFound` if there has never been one."""
    renewal.renew_if_due(user_id)
    with db.snapshot() as session:
        subscription = periods.latest(session, user_id)
        if subscription is None:
            raise NotFound("The account has no subscription.")
        of_it = select(Period).where(Period.subscription_id == subscription.id)
        period = session.scalars(of_it.order_by(*_SHOWN).limit(1)).one()
        return _shown(session, subscription, period)


def _shown(session: Session, subscription: Subscription, period: Period) -> Current:
    pending = session.get(Plan, subscription.pending_plan_id) if subscription.pending_plan_id else None
    return Current(
        plan=session.get_one(Plan, subscription.plan_id).slug,
        status=subscription.status,
        current_period_start=period.starts_at,
        current_period_end=period.ends_at,
        cancel_at_period_end=subscription.cancel_at_period_end,
        pending_plan=pending.slug if pending else None,
        tokens=budgets.balance(session, period.id),
    )


_BOUNDS = Query("select starts_at, ends_at from periods where user_id = :user order by starts_at desc limit 1", Bounds)


def period_bounds(user_id: UUID) -> Bounds | None:
    """Start and end of the current (or last) period; None if there has never been one."""
    renewal.renew_if_due(user_id)
    return next(iter(db.execute(_BOUNDS, {"user": user_id})), None)


def range_within(user_id: UUID, since: datetime | None, until: datetime | None) -> tuple[datetime, datetime]:
    """A time range of the account's; missing bounds are those of its period, or of the month without one (UTC)."""
    if since is not None and until is not None:
        return since, until
    month = ranges.floor(clock.now(), "month")
    begins, ends = period_bounds(user_id) or (month, ranges.following(month, "month"))
    return since or begins, until or ends


# -- cancel -----------------------------------------------------------------------------------------------------


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
        _cancel(subscription, period, now, at_period_end=at_period_end)
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

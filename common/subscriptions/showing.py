"""An account's subscription as it is shown, and the bounds of its period."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from common import budgets
from common.errors import NotFound
from common.kit import clock, db
from common.kit.query import Query
from common.models.subscriptions import Period, Plan, Subscription
from common.subscriptions import periods, renewal
from common.usage import ranges


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

"""An account's subscription as it is shown, and the bounds of its period."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final, NamedTuple
from uuid import UUID

from common import budgets
from common.errors import NotFound
from common.kit import clock, db
from common.kit.query import Query
from common.subscriptions import renewal, sums
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


class CurrentRow(NamedTuple):
    """The active subscription, or else the last one, with its open period, or else its last one."""

    plan: str
    status: str
    starts_at: datetime
    ends_at: datetime
    cancel_at_period_end: bool
    pending_plan: str | None
    charged: Decimal
    granted: Decimal
    by_plans: Decimal
    held: Decimal
    overdue: bool


_CURRENT: Final = Query(
    f"""
select pl.slug as plan, s.status, p.starts_at, p.ends_at, s.cancel_at_period_end, next.slug as pending_plan,
       {sums.COLUMNS}
  from (select * from subscriptions where user_id = :user
         order by status <> 'active', created_at desc, id desc limit 1) s
  join plans pl on pl.id = s.plan_id
  left join plans next on next.id = s.pending_plan_id
 cross join lateral (
       select * from periods where subscription_id = s.id order by closed_at is not null, starts_at desc limit 1) p
 {sums.JOINS}
""",  # noqa: S608  (constants)
    CurrentRow,
)


def current(user_id: UUID) -> Current:
    """The subscription, its period and balance: one statement. Raises `NotFound` if there has never been one."""
    rows = sums.renewed(user_id, lambda: db.execute(_CURRENT, {"user": user_id}))
    if not rows:
        raise NotFound("The account has no subscription.")
    row = rows[0]
    return Current(
        plan=row.plan,
        status=row.status,
        current_period_start=row.starts_at,
        current_period_end=row.ends_at,
        cancel_at_period_end=row.cancel_at_period_end,
        pending_plan=row.pending_plan,
        tokens=sums.balance(row),
    )


class Bounds(NamedTuple):
    """Start and end of a period."""

    starts_at: datetime
    ends_at: datetime


_BOUNDS = Query("select starts_at, ends_at from periods where user_id = :user order by starts_at desc limit 1", Bounds)


def period_bounds(user_id: UUID) -> Bounds | None:
    """Start and end of the current (or last) period; None if there has never been one."""
    renewal.renew_if_due(user_id)
    return next(iter(db.execute(_BOUNDS, {"user": user_id})), None)


def range_within(
    user_id: UUID, since: datetime | None, until: datetime | None, known: Bounds | None = None
) -> tuple[datetime, datetime]:
    """A time range of the account's; missing bounds are those of its period, or of the month without one (UTC).

    `known`: the bounds of the period, if they were read already.
    """
    if since is not None and until is not None:
        return since, until
    month = ranges.floor(clock.now(), "month")
    begins, ends = known or period_bounds(user_id) or (month, ranges.following(month, "month"))
    return since or begins, until or ends

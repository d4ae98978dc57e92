"""What the head of every page of the console shows of an account: one statement."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final, NamedTuple
from uuid import UUID

from common.budgets import Balance
from common.errors import NotFound
from common.kit import db
from common.kit.query import Query
from common.subscriptions import sums
from common.subscriptions.statement import LedgerCheck


class GlanceRow(NamedTuple):
    """An account and its open period, or else its last one; the period's columns are None if it never had one."""

    name: str
    email: str
    verified: bool
    period_id: UUID | None
    plan: str | None
    starts_at: datetime | None
    ends_at: datetime | None
    is_over: bool | None
    charged: Decimal | None
    granted: Decimal | None
    by_plans: Decimal | None
    held: Decimal | None
    overdue: bool | None
    next_expiry: datetime | None
    checked_at: datetime | None
    checked_rows: int | None
    difference: int | None


@dataclass(frozen=True, slots=True)
class Meter:
    """The budget of a period. `is_over`: nothing can be submitted on it any more. `next_expiry`: of its tokens."""

    period_id: UUID
    plan: str
    starts_at: datetime
    ends_at: datetime
    is_over: bool
    balance: Balance
    checked: LedgerCheck | None
    next_expiry: datetime | None


@dataclass(frozen=True, slots=True)
class Glance:
    """An account by name, and its budget; `meter` is None if it never had a subscription."""

    name: str
    email: str
    email_verified: bool
    meter: Meter | None


_GLANCE: Final = Query(
    f"""
select u.name, u.email, u.email_verified_at is not null as verified, p.id as period_id, pl.name as plan,
       p.starts_at, p.ends_at,
       p.closed_at is not null or p.access_ended_at is not null as is_over,
       {sums.COLUMNS}, r.next_at as next_expiry,
       c.at as checked_at, c.rows as checked_rows, c.difference
  from users u
  left join lateral (
       select * from periods where user_id = u.id order by closed_at is not null, starts_at desc limit 1) p on true
  left join plans pl on pl.id = p.plan_id {sums.JOINS}
  left join statement_checks c on c.period_id = p.id
 where u.id = :user
""",  # noqa: S608  (constants)
    GlanceRow,
)


def glance(user_id: UUID) -> Glance:
    """The account and its budget, as of now. Raises `NotFound`."""
    rows = sums.renewed(user_id, lambda: db.execute(_GLANCE, {"user": user_id}))
    if not rows:
        raise NotFound
    return Glance(rows[0].name, rows[0].email, rows[0].verified, _meter(rows[0]))


def _meter(row: GlanceRow) -> Meter | None:
    if row.period_id is None or row.plan is None or row.starts_at is None or row.ends_at is None:
        return None
    checked = None
    if row.checked_at is not None:
        checked = LedgerCheck(row.checked_at, row.checked_rows or 0, row.difference or 0)
    over, balance = bool(row.is_over), sums.balance(row)
    return Meter(row.period_id, row.plan, row.starts_at, row.ends_at, over, balance, checked, row.next_expiry)

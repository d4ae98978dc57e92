"""The statement of a period: what was granted, charged and held, and what is left. It sums to zero.

    grants − charges − holds − available = 0

It is put together from what the platform works with (rolled-up usage, the queue); `checking` computes the same from the
single facts.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy.orm import Session

from common import budgets, usage
from common.errors import NotFound
from common.kit import db
from common.kit.paging import Page, Window
from common.kit.query import Query
from common.subscriptions import renewal, sums

#: How many open holds are listed one by one; the others are summed up.
MOST_HOLDS: Final = 100


class BilledPeriod(NamedTuple):
    """A period as its owner sees it. `status`: current, canceled (access ended before its end) or closed."""

    id: UUID
    plan: str
    starts_at: datetime
    ends_at: datetime
    status: str


class GrantLine(NamedTuple):
    """A grant. `kind`: of `GRANT_KINDS`. `tokens`: None if it is without limit. `actor_id`: the admin.

    `source_id`: the grant that has expired or is carried over, or the period that a rollover is from.
    """

    id: UUID
    kind: str
    tokens: int | None
    reason: str
    actor_id: UUID | None
    created_at: datetime
    expires_at: datetime | None
    source_id: UUID | None


class HoldLine(NamedTuple):
    """What an open invocation may still cost."""

    invocation_id: UUID
    tool: str
    tokens: int
    created_at: datetime


class OtherHolds(NamedTuple):
    """Open holds that are not listed."""

    invocations: int
    tokens: int


class LedgerCheck(NamedTuple):
    """When a statement was recomputed from `rows` grants and invocations, and by how many tokens it was off."""

    at: datetime
    rows: int
    difference: int


@dataclass(frozen=True, slots=True)
class PeriodBalance:
    """A period and its balance."""

    period: BilledPeriod
    balance: budgets.Balance


@dataclass(frozen=True, slots=True)
class Statement:
    """Everything that makes a period's balance. `checked`: the last check, None if there was none."""

    period: BilledPeriod
    balance: budgets.Balance
    grants: list[GrantLine]
    charges: list[usage.DayCharge]
    holds: list[HoldLine]
    other_holds: OtherHolds
    checked: LedgerCheck | None


class StatedPeriod(NamedTuple):
    """A period and what it comes to, as it is listed."""

    id: UUID
    plan: str
    starts_at: datetime
    ends_at: datetime
    status: str
    charged: Decimal
    granted: Decimal
    by_plans: Decimal
    held: Decimal
    overdue: bool
    open_holds: int
    checked_at: datetime | None
    checked_rows: int | None
    difference: int | None


class LineRow(NamedTuple):
    """A grant, or an open hold with the tool as its `kind`."""

    is_hold: bool
    id: UUID
    kind: str
    tokens: int | None
    reason: str
    actor_id: UUID | None
    created_at: datetime
    expires_at: datetime | None
    source_id: UUID | None


#: The account's periods, with what each comes to; `{chosen}`: which of them.
_PERIODS: Final = f"""
with p as materialized (select * from periods where user_id = :user {{chosen}})
select p.id, pl.slug as plan, p.starts_at, p.ends_at,
       case when p.closed_at is not null or p.ends_at <= now() then 'closed'
            when p.access_ended_at is not null then 'canceled' else 'current' end as status,
       {sums.COLUMNS}, h.open_holds, c.at as checked_at, c.rows as checked_rows, c.difference
  from p join plans pl on pl.id = p.plan_id {sums.JOINS}
 cross join lateral (select count(*) as open_holds from queue where period_id = p.id) h
  left join statement_checks c on c.period_id = p.id
 order by p.starts_at desc
"""  # noqa: S608  (constants)
#: The open period, or else the last one.
_LAST: Final = Query(_PERIODS.format(chosen="order by closed_at is not null, starts_at desc limit 1"), StatedPeriod)
_ONE: Final = Query(_PERIODS.format(chosen="and id = :period"), StatedPeriod)
_BEFORE: Final = "(cast(:before as timestamptz) is null or starts_at < cast(:before as timestamptz))"
_ALL: Final = Query(_PERIODS.format(chosen=f"and {_BEFORE} order by starts_at desc limit :limit"), StatedPeriod)
_LINES: Final = Query(
    """
select false as is_hold, id, kind, case when :unlimited and kind in ('plan', 'upgrade') then null else tokens end
       as tokens, reason, actor_id, created_at, expires_at, source_id
  from grants where period_id = :period
union all
select true, q.id, t.slug, q.held, '', null, i.created_at, null, null
  from (select * from queue where period_id = :period order by id limit :limit) q
  join invocations i on i.id = q.id join tools t on t.id = q.tool_id
 order by is_hold, id
""",
    LineRow,
)


def listing(user_id: UUID, window: Window) -> Page[PeriodBalance]:
    """The account's periods and what they came to, newest first."""
    before = window.after[0] if window.after else None
    asked = {"user": user_id, "before": before, "limit": window.limit + 1}
    rows = sums.renewed(user_id, lambda: db.fetch_anywhere(_ALL, asked))
    return Page.cut(rows, window, lambda row: (row.starts_at,)).map(_with_balance)


def _with_balance(row: StatedPeriod) -> PeriodBalance:
    return PeriodBalance(BilledPeriod(*row[:5]), sums.balance(row))


def statement(user_id: UUID, period_id: UUID | None = None) -> Statement:
    """The statement of one of the account's periods (None: the current or last), at one moment. Raises `NotFound`."""
    found = db.read_anywhere(lambda session: _unless_overdue(session, period_of(session, user_id, period_id)))
    if found is not None:
        return found
    renewal.renew(user_id)
    return db.read_anywhere(lambda session: _statement(session, period_of(session, user_id, period_id)))


def _unless_overdue(session: Session, row: StatedPeriod) -> Statement | None:
    return None if row.overdue else _statement(session, row)


def _statement(session: Session, row: StatedPeriod) -> Statement:
    balance, asked = sums.balance(row), {"period": row.id, "limit": MOST_HOLDS}
    lines = db.fetch(session, _LINES, {**asked, "unlimited": balance.unlimited})
    holds = [HoldLine(it.id, it.kind, it.tokens or 0, it.created_at) for it in lines if it.is_hold]
    rest = OtherHolds(row.open_holds - len(holds), balance.held - sum(hold.tokens for hold in holds))
    checked = (
        None if row.checked_at is None else LedgerCheck(row.checked_at, row.checked_rows or 0, row.difference or 0)
    )
    return Statement(
        period=BilledPeriod(*row[:5]),
        balance=balance,
        grants=[GrantLine(*it[1:]) for it in lines if not it.is_hold],
        charges=usage.charges_by_day(session, row.id),
        holds=holds,
        other_holds=rest,
        checked=checked,
    )


def period_of(session: Session, user_id: UUID, period_id: UUID | None) -> StatedPeriod:
    """One of the account's periods (None: the current or last) and what it comes to. Raises `NotFound`."""
    rows = db.fetch(session, _LAST if period_id is None else _ONE, {"user": user_id, "period": period_id})
    if not rows:
        raise NotFound("The account has no such period." if period_id else "The account has no subscription.")
    return rows[0]

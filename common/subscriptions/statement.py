"""The statement of a period: what was granted, charged and held, and what is left. It sums to zero.

    grants − charges − holds − available = 0

It is put together from what the platform works with (rolled-up usage, the queue). `check` computes the same from the
single facts, the grants and the invocations themselves, and records the difference.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from common import budgets, usage
from common.errors import NotFound, RateLimited
from common.identity import rate_limits
from common.kit import db, log
from common.kit.paging import Page, Window
from common.kit.query import Query
from common.models.subscriptions import UNLIMITED_TOKENS
from common.subscriptions import facts, renewal

#: How many open holds are listed one by one; the others are summed up.
MOST_HOLDS: Final = 100
CHECKS: Final = rate_limits.AttemptLimit("statement-check", 1, timedelta(minutes=1), RateLimited)

_log = log.get(__name__)


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


class _Sums(NamedTuple):
    id: UUID
    plan: str
    starts_at: datetime
    ends_at: datetime
    status: str
    charged: Decimal
    granted: Decimal
    by_plans: Decimal
    held: Decimal


_PERIOD = """
select p.id, pl.slug as plan, p.starts_at, p.ends_at,
       case when p.closed_at is not null or p.ends_at <= now() then 'closed'
            when p.access_ended_at is not null then 'canceled' else 'current' end as status
  from periods p join plans pl on pl.id = p.plan_id
 where p.user_id = :user
"""
#: The open period, or else the last one.
_LAST = text(f"{_PERIOD} order by p.closed_at is not null, p.starts_at desc limit 1")
_ONE = text(f"{_PERIOD} and p.id = :period")
#: With what each came to.
_ALL = Query(
    f"""
with p as materialized (
{_PERIOD} and (cast(:before as timestamptz) is null or p.starts_at < cast(:before as timestamptz))
 order by p.starts_at desc limit :limit)
select p.*, period_charged(p.id, :user) as charged, g.granted, g.by_plans, q.held
  from p
 cross join lateral (
       select coalesce(sum(tokens), 0) as granted,
              coalesce(sum(tokens) filter (where kind in ('plan', 'upgrade')), 0) as by_plans
         from grants where period_id = p.id) g
 cross join lateral (select coalesce(sum(held), 0) as held from queue where period_id = p.id) q
 order by p.starts_at desc
""",  # noqa: S608  (a constant)
    _Sums,
)
_GRANTS = text("""
select id, kind, case when :unlimited and kind in ('plan', 'upgrade') then null else tokens end as tokens, reason,
       actor_id, created_at, expires_at, source_id
  from grants where period_id = :period order by id
""")
_HOLDS = text("""
select q.id as invocation_id, t.slug as tool, q.held as tokens, i.created_at
  from (select * from queue where period_id = :period order by id limit :limit) q
  join invocations i on i.id = q.id join tools t on t.id = q.tool_id
 order by q.id
""")
_COUNT_HOLDS = text("select count(*) from queue where period_id = :period")
_CHECKED = text("select at, rows, difference from statement_checks where period_id = :period")
_FACTS = text(f"""
with p as ({facts.PERIOD}),
i as (
  select count(*) as number, coalesce(sum(coalesce(i.charged, i.held)), 0) as tokens
    from p join invocations i on {facts.OF_PERIOD}),
g as (select count(*) as number, coalesce(sum(g.tokens), 0) as tokens from p join grants g on g.period_id = p.id)
select now() as at, cast(i.number + g.number as bigint) as rows, cast(g.tokens - i.tokens as bigint) as available
  from i, g
""")  # noqa: S608
_RECORD = text("""
insert into statement_checks (period_id, at, rows, difference) values (:period, :at, :rows, :difference)
on conflict (period_id) do update set at = excluded.at, rows = excluded.rows, difference = excluded.difference
 where statement_checks.at <= excluded.at
""")


def listing(user_id: UUID, window: Window) -> Page[PeriodBalance]:
    """The account's periods and what they came to, newest first."""
    renewal.renew_if_due(user_id)
    before = window.after[0] if window.after else None
    rows = db.execute(_ALL, {"user": user_id, "before": before, "limit": window.limit + 1})
    return Page.cut(rows, window, lambda row: (row.starts_at,)).map(_with_balance)


def _with_balance(row: _Sums) -> PeriodBalance:
    unlimited = row.by_plans >= UNLIMITED_TOKENS
    balance = budgets.Balance(int(row.granted), int(row.charged), int(row.held), unlimited)
    return PeriodBalance(BilledPeriod(*row[:5]), balance)


def statement(user_id: UUID, period_id: UUID | None = None) -> Statement:
    """The statement of one of the account's periods (None: the current or last), at one moment. Raises `NotFound`."""
    renewal.renew_if_due(user_id)
    with db.snapshot() as session:
        period = _period(session, user_id, period_id)
        of_it = {"period": period.id}
        balance = budgets.balance(session, period.id)
        holds = [HoldLine(*row) for row in session.execute(_HOLDS, {**of_it, "limit": MOST_HOLDS})]
        open_rows = int(session.execute(_COUNT_HOLDS, of_it).scalar_one())
        grants = session.execute(_GRANTS, {**of_it, "unlimited": balance.unlimited})
        checked = session.execute(_CHECKED, of_it).one_or_none()
        return Statement(
            period=period,
            balance=balance,
            grants=[GrantLine(*row) for row in grants],
            charges=usage.charges_by_day(session, period.id),
            holds=holds,
            other_holds=OtherHolds(open_rows - len(holds), balance.held - sum(hold.tokens for hold in holds)),
            checked=LedgerCheck(*checked) if checked else None,
        )


def check(user_id: UUID, period_id: UUID | None = None) -> LedgerCheck:
    """Recompute a statement from the account's grants and invocations, and record the difference.

    Raises:
        NotFound: the account has no such period.
        RateLimited: the account has had a check within the last minute.
    """
    renewal.renew_if_due(user_id)
    with db.snapshot() as session:
        period = _period(session, user_id, period_id)
    rate_limits.attempt(rate_limits.per(CHECKS, user_id))
    with db.snapshot() as session:
        plain = session.execute(_FACTS, {"period": period.id}).one()
        difference = budgets.balance(session, period.id).available - plain.available
    found = LedgerCheck(plain.at, plain.rows, difference)
    if difference:
        _log.error("statement differs from the rows", period_id=str(period.id), difference=difference)
    with db.transaction() as session:
        session.execute(_RECORD, {"period": period.id, **found._asdict()})
    return found


def _period(session: Session, user_id: UUID, period_id: UUID | None) -> BilledPeriod:
    asked = {"user": user_id, "period": period_id}
    row = session.execute(_LAST if period_id is None else _ONE, asked).one_or_none()
    if row is None:
        raise NotFound("The account has no such period." if period_id else "The account has no subscription.")
    return BilledPeriod(*row)

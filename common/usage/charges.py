"""What a period was charged, day by day: rolled up and live tail, so that the days add up to `period_charged`."""

from __future__ import annotations

from datetime import date
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session


class DayCharge(NamedTuple):
    """What ended on one day (UTC): how many invocations, charged or free, and their tokens."""

    day: date
    invocations: int
    tokens: int


#: A rolled-up day holds no row after the watermark. Days begin with the one in which the period does: an invocation
#: ends after it was accepted, perhaps after the period's end.
_BY_DAY = text("""
with mark as materialized (select usage_mark() as xid),
p as (select id, user_id, date_trunc('day', least(starts_at, created_at), 'UTC') as since from periods
       where id = :period),
days as (
  select r.starts_at as at, r.invocations as invocations, r.tokens_used as tokens
    from p join usage_rollups r on r.user_id = p.user_id and r.period_id = p.id
   where r.grain = 'day' and r.starts_at >= p.since and (select xid from mark) is not null
  union all
  select u.created_at, 1, u.tokens_used
    from p join usage_logs u on u.user_id = p.user_id and u.period_id = p.id
   where u.xid > coalesce((select xid from mark), '0'::xid8))
select cast(at at time zone 'UTC' as date) as day, cast(sum(invocations) as bigint) as invocations,
       cast(sum(tokens) as bigint) as tokens
  from days group by 1 order by 1
""")


def charges_by_day(session: Session, period_id: UUID) -> list[DayCharge]:
    """The days of a period on which anything ended, in order, in your snapshot."""
    return [DayCharge(*row) for row in session.execute(_BY_DAY, {"period": period_id})]

"""Checks of usage: the sums beside the rows."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy.orm import Session

from common.kit import db
from common.kit.query import Query
from common.models.usage import NO_KEY
from common.usage.rollups import KEPT


class PeriodSums(NamedTuple):
    """The completed invocations of a period and their tokens."""

    invocations: int
    tokens: int


class RollupDifference(NamedTuple):
    """A rollup that differs from its rows: one hour, day or month of one account."""

    grain: str
    starts_at: datetime
    user_id: UUID
    invocations: int
    tokens: int
    rolled_invocations: int
    rolled_tokens: int


_SUMS = Query(
    """
select count(*) as invocations, coalesce(sum(tokens_used), 0)::bigint as tokens
  from usage_logs where user_id = (select user_id from periods where id = :period) and period_id = :period
""",
    PeriodSums,
)
#: Compare rollups with usage rows, as far back as rows are kept, and points with rollups.
_DIFFERENCES = Query(
    f"""
with logs as (
  select g.grain, date_trunc(g.grain, u.created_at, 'UTC') as starts_at, u.user_id, u.period_id, u.tool_id, u.status,
         coalesce(u.api_key_id, :no_key) as api_key_id, count(*) as n, sum(u.tokens_used) as tokens
    from usage_logs u cross join (values ('hour'), ('day'), ('month')) g(grain)
   where u.xid <= coalesce(usage_mark(), '0')
     and u.created_at >= coalesce((select at from watermarks where name = 'usage_retired'), '-infinity')
   group by 1, 2, 3, 4, 5, 6, 7),
sums as (select * from usage_rollups where usage_mark() is not null and {KEPT}),
wrong as (
  select grain, starts_at, user_id, coalesce(logs.n, 0) as n, coalesce(logs.tokens, 0) as tokens,
         coalesce(sums.invocations, 0) as rolled, coalesce(sums.tokens_used, 0) as rolled_tokens
    from logs full join sums using (grain, starts_at, user_id, period_id, tool_id, status, api_key_id)
   where (logs.n, logs.tokens) is distinct from (sums.invocations, sums.tokens_used)),
totals as (
  select grain, starts_at, user_id, sum(invocations) as n, sum(tokens_used) as tokens, min(first_at) as first_at,
         max(last_at) as last_at, coalesce(sum(invocations) filter (where status = 'success'), 0) as good,
         coalesce(sum(invocations) filter (where status in ('error', 'timeout')), 0) as bad
    from usage_rollups group by 1, 2, 3),
apart as (
  select grain, starts_at, user_id, coalesce(t.n, 0) as n, coalesce(t.tokens, 0) as tokens,
         coalesce(p.invocations, 0) as rolled, coalesce(p.tokens_used, 0) as rolled_tokens
    from totals t full join usage_points p using (grain, starts_at, user_id)
   where (t.n, t.tokens, t.good, t.bad, t.first_at, t.last_at)
         is distinct from (p.invocations, p.tokens_used, p.succeeded, p.failed, p.first_at, p.last_at))
select grain, starts_at, user_id, n::bigint as invocations, tokens::bigint as tokens,
       rolled::bigint as rolled_invocations, rolled_tokens::bigint as rolled_tokens
  from (select * from wrong union all select * from apart) w limit :limit
""",  # noqa: S608
    RollupDifference,
)


def differences(limit: int = 100) -> list[RollupDifference]:
    """For verification: rollups that differ from the rows, including missing and extra ones. Reads every row."""
    with db.snapshot() as session:
        db.without_timeout(session)
        return db.fetch(session, _DIFFERENCES, {"limit": limit, "no_key": NO_KEY})


def sums(session: Session, period_id: UUID) -> PeriodSums:
    """For verification: the completed invocations of a period and their tokens, from the rows alone."""
    (row,) = db.fetch(session, _SUMS, {"period": period_id})
    return row

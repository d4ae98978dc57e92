"""How long calls of each tool took lately, over all accounts: from the rollups, in one row for each tool.

The rollups are by account, so that the sums of one tool lie far apart: a sweep adds them up, and lists of tools read
the result.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from sqlalchemy import text

from common.kit import clock, db
from common.usage import ranges

#: How far back, in whole hours.
RANGE: Final = timedelta(days=7)

_REFRESH: Final = text("""
with cells as (
  select r.tool_id, x.bucket, sum(x.n)::integer as n
    from unnest(cast(:grains as text[]), cast(:starts as timestamptz[]), cast(:ends as timestamptz[])) s(grain, a, b)
    join usage_rollups r on r.grain = s.grain and r.starts_at >= s.a and r.starts_at < s.b
   cross join unnest(r.buckets, r.counts) x(bucket, n)
   where usage_mark() is not null group by 1, 2),
histograms as (
  select tool_id, array_agg(bucket order by bucket) as buckets, array_agg(n order by bucket) as counts
    from cells group by 1)
insert into tool_latencies as l (tool_id, p50, p95)
select tool_id, latency_rank(buckets, counts, 0.5), latency_rank(buckets, counts, 0.95)
  from histograms order by tool_id
on conflict (tool_id) do update set p50 = excluded.p50, p95 = excluded.p95, at = excluded.at
""")
_DROP_OLD: Final = text("delete from tool_latencies where at < now()")


def refresh() -> int:
    """Sweep: the percentiles of every tool that was called within `RANGE`, up to the last roll-up; returns how many.

    Tools that were not called are forgotten.
    """
    until = ranges.ceiling(clock.now(), "hour")
    cover = ranges.cover(until - RANGE, until, "day")
    segments = {
        "grains": [segment.grain for segment in cover],
        "starts": [segment.since for segment in cover],
        "ends": [segment.until for segment in cover],
    }
    with db.transaction() as session:
        db.without_timeout(session)
        found: int = session.execute(_REFRESH, segments).rowcount  # type: ignore[attr-defined]
        session.execute(_DROP_OLD)
    return found

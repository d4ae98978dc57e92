"""Usage of the whole platform, for admins: rollups and the live tail after the watermark, in one snapshot.

Ranges are widened to whole hours, so that no rolled-up row has to be read.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from sqlalchemy.orm import Session

from common.kit import clock, db
from common.kit.query import Query
from common.usage import ranges
from common.usage.figures import Figures, StatusRow, total_of
from common.usage.histogram import percentile
from common.usage.totals import Point, check_range, points_of

TOP = 10
DEFAULT_RANGE = timedelta(days=30)
_SHARES = {"p50": 0.50, "p95": 0.95, "p99": 0.99}

#: Everything in the range as one relation, summed by the server.
_PARTS = """
with parts as materialized (
  select r.starts_at as at, r.user_id, r.tool_id, r.status, r.invocations, r.tokens_used, r.buckets, r.counts
    from unnest(cast(:grains as text[]), cast(:starts as timestamptz[]), cast(:ends as timestamptz[])) s(grain, a, b)
    join usage_rollups r on r.grain = s.grain and r.starts_at >= s.a and r.starts_at < s.b
   where cast(:mark as xid8) > '0'
  union all
  select created_at, user_id, tool_id, status, 1, tokens_used,
         case when latency_ms is null then '{}' else array[latency_bucket(latency_ms)] end,
         case when latency_ms is null then '{}' else array[1] end
    from usage_logs
   where xid > cast(:mark as xid8) and (created_at >= :since and created_at < :until) is true)
"""
_BY_TIME = """
{parts}, cells as (
  select date_trunc(:bucket, p.at, 'UTC') as at, p.status, x.bucket, sum(x.n) as n
    from parts p cross join unnest(p.buckets, p.counts) x(bucket, n) group by 1, 2, 3),
histograms as (
  select at, status, array_agg(bucket) as buckets, array_agg(n::integer) as counts from cells group by 1, 2),
sums as (
  select date_trunc(:bucket, at, 'UTC') as at, status, sum(invocations) as invocations, sum(tokens_used) as tokens_used
    from parts group by 1, 2)
select s.at, '' as key, s.status, s.invocations, s.tokens_used, h.buckets, h.counts
  from sums s left join histograms h using (at, status)
"""
_MOST = """
(select '{owner}' as kind, o.id, o.{name} as name, count(*) over () as number,
        sum(p.invocations)::bigint as invocations, sum(p.tokens_used)::bigint as tokens_used,
        coalesce(sum(p.invocations) filter (where p.status in ('error', 'timeout')), 0)::bigint as failed
   from parts p join {owner}s o on o.id = p.{owner}_id
  group by o.id, o.{name} order by tokens_used desc, invocations desc, o.id limit :top)
"""


class TopRow(NamedTuple):
    """One of the top consumers of its `kind`, tool or user; `number`: how many of them there are."""

    kind: str
    id: UUID
    name: str
    number: int
    invocations: int
    tokens_used: int
    failed: int


_SERIES = Query(_BY_TIME.format(parts=_PARTS), StatusRow)
_TOP = Query(
    f"""
{_PARTS}
{_MOST.format(owner="tool", name="slug")} union all {_MOST.format(owner="user", name="email")}
 order by kind, tokens_used desc, invocations desc, id
""",
    TopRow,
)


class MarkRow(NamedTuple):
    """The time now, and the watermark."""

    now: datetime
    mark: str | None


_BEGIN = Query("select now() as now, usage_mark()::text as mark", MarkRow)


@dataclass(frozen=True, slots=True)
class Top:
    """One of the top consumers: a tool (`name`: slug) or an account (`name`: email address)."""

    id: UUID
    name: str
    invocations: int
    failed: int
    tokens_used: int


@dataclass(frozen=True, slots=True)
class Stats:
    """Sums over [since, until). `active_users`: accounts with completed invocations; percentiles within 2 %."""

    since: datetime
    until: datetime
    bucket: str
    totals: Figures
    series: list[Point]
    top_tools: list[Top]
    top_users: list[Top]
    active_users: int
    latency_ms: dict[str, int | None]

    @property
    def error_rate(self) -> float:
        """Share of invocations that ended in an error or a timeout; 0 without any."""
        return self.totals.failed / self.totals.invocations if self.totals.invocations else 0.0


def stats(since: datetime | None = None, until: datetime | None = None, *, bucket: str = "day") -> Stats:
    """Usage of all accounts in [since, until), widened to whole hours; by default of the last 30 days.

    Raises `Invalid` as `summary` does.
    """
    until = until or clock.now()
    since = since or max(until, ranges.FIRST + DEFAULT_RANGE) - DEFAULT_RANGE
    since, until = ranges.floor(since, "hour"), ranges.ceiling(until, "hour")
    check_range(since, until, bucket)
    now, rows, top = db.read_anywhere(lambda session: _read(session, since, until, bucket))
    points = points_of(rows, ranges.starts(since, max(since, min(until, now)), bucket))
    users = [row for row in top if row.kind == "user"]
    total = total_of(points.values())
    return Stats(
        since=since,
        until=until,
        bucket=bucket,
        totals=total.figures(),
        series=[Point(start, points[start].figures()) for start in sorted(points)],
        top_tools=[_shown(row) for row in top if row.kind == "tool"],
        top_users=[_shown(row) for row in users],
        active_users=users[0].number if users else 0,
        latency_ms={name: percentile(total.latencies, share) for name, share in _SHARES.items()},
    )


def _read(
    session: Session, since: datetime, until: datetime, bucket: str
) -> tuple[datetime, list[StatusRow], list[TopRow]]:
    """The time, the parts of the series, and the top consumers."""
    (begin,) = db.fetch(session, _BEGIN)
    values = _values(begin.mark, since, until, bucket)
    return begin.now, db.fetch(session, _SERIES, values), db.fetch(session, _TOP, values)


def _values(mark: str | None, since: datetime, until: datetime, bucket: str) -> dict[str, object]:
    """Statement parameters. Without a watermark nothing is rolled up, and every row is tail."""
    whole = ranges.cover(since, until, bucket)
    return {
        "mark": mark or "0",
        "since": since,
        "until": until,
        "bucket": bucket,
        "grains": [segment.grain for segment in whole],
        "starts": [segment.since for segment in whole],
        "ends": [segment.until for segment in whole],
        "top": TOP,
    }


def _shown(row: TopRow) -> Top:
    return Top(row.id, row.name, row.invocations, row.failed, row.tokens_used)

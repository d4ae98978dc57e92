"""Sums over a time range, equal to the token with the sum of the history at every moment, also while it is written.

Read in one snapshot:

* the rollups of the whole hours, days and months in the range;
* of an hour that the range cuts, the rollups whose rows all lie in the range; rows are read only for those that
  straddle the cut;
* the live tail: rows newer than the watermark, which no rollup contains yet.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, TextClause, select, text
from sqlalchemy.orm import Session

from common.errors import FieldError, Invalid
from common.kit import db
from common.models.tools import Tool
from common.models.usage import NO_KEY
from common.usage import ranges
from common.usage.histogram import percentile

#: More points than this are no chart any more, and a range of a hundred years is a mistake.
MOST_POINTS = 1_000

_KEYS = {
    None: "null::text",
    "tool": "tool_id::text",
    "status": "status",
    "api_key": "nullif(api_key_id, :no_key)::text",
}

#: The whole units of a range, and its cut hours with how far their rows reach.
_SUMS = """
select date_trunc(:bucket, r.starts_at, 'UTC') as at, {key} as key, r.status, r.invocations, r.tokens_used, r.buckets,
       r.counts, r.starts_at, null::timestamptz as first_at, null::timestamptz as last_at
  from unnest(cast(:grains as text[]), cast(:starts as timestamptz[]), cast(:ends as timestamptz[])) s(grain, a, b)
  join usage_rollups r on r.user_id = :user and r.grain = s.grain and r.starts_at >= s.a and r.starts_at < s.b
union all
select date_trunc(:bucket, starts_at, 'UTC'), {key}, status, invocations, tokens_used, buckets, counts, starts_at,
       first_at, last_at
  from usage_rollups
 where user_id = :user and grain = 'hour' and starts_at = any(cast(:cuts as timestamptz[]))
   and last_at >= :since and first_at < :until
"""
_LOGS = """
with cells as (
  select date_trunc(:bucket, created_at, 'UTC') as at, {key} as key, status, latency_bucket(latency_ms) as latency,
         count(*) as n, sum(tokens_used) as tokens
    from usage_logs where user_id = :user and {{which}} group by 1, 2, 3, 4)
select at, key, status, sum(n) as invocations, sum(tokens) as tokens_used,
       array_agg(latency) filter (where latency is not null) as buckets,
       array_agg(n::integer) filter (where latency is not null) as counts
  from cells group by at, key, status
"""
#: `(…) is true` keeps a condition away from the indexes: rolled up rows are found by their time, the tail by its
#: transactions, whatever the planner believes about either.
_IN_RANGE = "created_at >= :since and created_at < :until"
_ROLLED = f"{_IN_RANGE} and (xid <= cast(:mark as xid8)) is true"
_TAIL = f"xid > cast(:mark as xid8) and ({_IN_RANGE}) is true"


@dataclass(frozen=True, slots=True)
class _Queries:
    """The three statements of one grouping: their texts are constant, so that the server keeps their plans."""

    sums: TextClause
    rolled: TextClause
    tail: TextClause


def _queries(key: str) -> _Queries:
    logs = _LOGS.format(key=key)
    return _Queries(text(_SUMS.format(key=key)), text(logs.format(which=_ROLLED)), text(logs.format(which=_TAIL)))


_QUERIES = {by: _queries(key) for by, key in _KEYS.items()}
_MARK = text("select usage_mark()::text")

#: Whatever began before the oldest transaction that is still open has been committed, or never will be. A backend may
#: have taken its time a moment before it can be seen here, hence the tenth of a second.
_COMPLETE = text("""
select now() as now, least(now() - interval '0.1 s', min(xact_start)) as through
  from pg_stat_activity
 where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'
""")


@dataclass(frozen=True, slots=True)
class Figures:
    """Sums of some entries. `failed` counts errors and timeouts; percentiles are within 2 %, None without a call."""

    invocations: int
    succeeded: int
    failed: int
    tokens_used: int
    latency_p50_ms: int | None
    latency_p95_ms: int | None


@dataclass(frozen=True, slots=True)
class Group:
    """What one tool, status or API key used. `key` is a slug, a status or a key's id; None: without an API key."""

    key: str | None
    figures: Figures


@dataclass(frozen=True, slots=True)
class Point:
    """What was used in one hour, day or month; the first and the last are cut by the range."""

    start: datetime
    figures: Figures


@dataclass(frozen=True, slots=True)
class Summary:
    """Sums over [since, until). `complete_through`: up to then nothing can be added any more."""

    since: datetime
    until: datetime
    bucket: str
    totals: Figures
    groups: list[Group]
    series: list[Point]
    complete_through: datetime


@dataclass(slots=True)
class _Sum:
    statuses: Counter[str] = field(default_factory=Counter)
    tokens: int = 0
    latencies: Counter[int] = field(default_factory=Counter)

    def add(self, row: Row[Any]) -> None:
        self.statuses[row.status] += int(row.invocations)
        self.tokens += int(row.tokens_used)
        for bucket, count in zip(row.buckets or (), row.counts or (), strict=True):
            self.latencies[bucket] += count

    def merge(self, other: _Sum) -> None:
        self.statuses.update(other.statuses)
        self.tokens += other.tokens
        self.latencies.update(other.latencies)

    def figures(self) -> Figures:
        return Figures(
            invocations=self.statuses.total(),
            succeeded=self.statuses["success"],
            failed=self.statuses["error"] + self.statuses["timeout"],
            tokens_used=self.tokens,
            latency_p50_ms=percentile(self.latencies, 0.50),
            latency_p95_ms=percentile(self.latencies, 0.95),
        )


def summary(
    user_id: UUID, since: datetime, until: datetime, *, bucket: str = "day", group_by: str | None = None
) -> Summary:
    """An account's usage in [since, until), in total, by `group_by` and in buckets of an hour, a day or a month.

    The series has a point for every bucket up to now. Raises `Invalid` for a range that ends before it begins, and
    for one of more than 1,000 buckets.
    """
    check_range(since, until, bucket)
    seen = db.once(_COMPLETE, {})[0]  # before the snapshot: what has ended by now is in it
    with db.snapshot() as session:
        rows = _read(session, _QUERIES[group_by], user_id, since=since, until=until, bucket=bucket)
        names = _slugs(session) if group_by == "tool" else {}
    points = points_of(rows, ranges.starts(since, max(since, min(until, seen.now)), bucket))
    return Summary(
        since=since,
        until=until,
        bucket=bucket,
        totals=total_of(points.values()).figures(),
        groups=_groups(rows, names) if group_by else [],
        series=[Point(start, points[start].figures()) for start in sorted(points)],
        complete_through=min(until, seen.through),
    )


def check_range(since: datetime, until: datetime, bucket: str) -> None:
    if since > until:
        raise Invalid("The range ends before it begins.", errors=[FieldError("/to", "Must not be before from.")])
    starts = ranges.starts(since, until, bucket)
    if sum(1 for _, _ in zip(starts, range(MOST_POINTS + 1), strict=False)) > MOST_POINTS:
        fault = FieldError("/bucket", f"The range has more than {MOST_POINTS:,} buckets of this size.")
        raise Invalid("The range is too long for this bucket.", errors=[fault])


def _read(
    session: Session, queries: _Queries, user_id: UUID, *, since: datetime, until: datetime, bucket: str
) -> list[Row[Any]]:
    """Without a watermark nothing is rolled up, and every row is tail."""
    mark = session.scalar(_MARK)
    values = {"user": user_id, "since": since, "until": until, "bucket": bucket, "mark": mark or "0", "no_key": NO_KEY}
    rows = list(session.execute(queries.tail, values))
    if mark is None:
        return rows
    whole = ranges.cover(since, until, bucket)
    units = {"grains": [s.grain for s in whole], "starts": [s.since for s in whole], "ends": [s.until for s in whole]}
    sums = session.execute(queries.sums, {**values, **units, "cuts": ranges.cut(since, until)}).all()
    straddled = {row.starts_at for row in sums if row.first_at and (row.first_at < since or row.last_at >= until)}
    rows += [row for row in sums if not (row.first_at and row.starts_at in straddled)]
    for hour in straddled:
        part = {"since": max(hour, since), "until": min(ranges.following(hour, "hour"), until)}
        rows += session.execute(queries.rolled, {**values, **part})
    return rows


def _slugs(session: Session) -> dict[str, str]:
    return {str(row.id): row.slug for row in session.execute(select(Tool.id, Tool.slug))}


def points_of(rows: Iterable[Row[Any]], starts: Iterable[datetime]) -> dict[datetime, _Sum]:
    points = {start: _Sum() for start in starts}
    for row in rows:
        points.setdefault(row.at, _Sum()).add(row)
    return points


def total_of(parts: Iterable[_Sum]) -> _Sum:
    total = _Sum()
    for part in parts:
        total.merge(part)
    return total


def _groups(rows: Iterable[Row[Any]], names: dict[str, str]) -> list[Group]:
    """Largest first."""
    groups: dict[str | None, _Sum] = {}
    for row in rows:
        groups.setdefault(names.get(row.key, row.key), _Sum()).add(row)
    found = [Group(key, total.figures()) for key, total in groups.items()]
    return sorted(found, key=lambda g: (-g.figures.tokens_used, -g.figures.invocations, g.key or ""))

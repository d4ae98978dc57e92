"""The parts of a summary, read in one snapshot by statements with constant text.

* `units`: whole hours, days or months as shown, one row of `usage_points` each, with percentiles;
* `merged`: the fewest units that cover the range, summed by the server;
* `groups`: the same by tool, status or API key, from `usage_rollups`;
* `entries`: single rows: the live tail after the watermark, and the rows of an hour that the range cuts in two.

So the rows read do not grow with usage, except for the tail and the (at most two) cut hours.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple

from sqlalchemy.orm import Session

from common.kit import db
from common.kit.query import Query
from common.models.usage import NO_KEY
from common.usage import ranges
from common.usage.figures import MergedRow, StatusRow, UnitRow
from common.usage.ranges import Segment
from common.usage.wanted import MOST, Parts, Wanted

KEYS = {
    None: "''",
    "tool": "tool_id::text",
    "status": "status",
    "api_key": "coalesce(nullif(api_key_id, :no_key)::text, '')",
    "api_key_root": "coalesce(api_key_root_id::text, nullif(api_key_id, :no_key)::text, '')",
}


class BeginRow(NamedTuple):
    """The watermark, and the first and last row of a unit in which the range begins or ends (null: of none)."""

    mark: str | None
    grain: str | None
    starts_at: datetime
    first_at: datetime
    last_at: datetime


#: For the rest of the transaction, statements are planned once, for any values: on a table of many partitions planning
#: takes five times as long as carrying out. What this seems to cost would seem to be worth two more processes.
_BEGIN = Query(
    """
select m.mark, p.grain, p.starts_at, p.first_at, p.last_at
  from (select usage_mark()::text as mark, set_config('plan_cache_mode', 'force_generic_plan', true),
               set_config('max_parallel_workers_per_gather', '0', true)) m
  left join (unnest(cast(:grains as text[]), cast(:starts as timestamptz[])) u(grain, starts_at)
             join usage_points p on p.user_id = :user and p.grain = u.grain and p.starts_at = u.starts_at) on true
""",
    BeginRow,
)
#: Units that entries are added to are read with their histograms, the others with their stored percentiles.
_UNITS = Query(
    """
select starts_at as at, invocations, succeeded, failed, tokens_used, p50, p95,
       case when starts_at = any(cast(:touched as timestamptz[])) then buckets end as buckets,
       case when starts_at = any(cast(:touched as timestamptz[])) then counts end as counts
  from usage_points where user_id = :user and grain = :bucket and starts_at >= :first and starts_at < :last
""",
    UnitRow,
)
_SEGMENTS = """
unnest(cast(:labels as text[]), cast(:grains as text[]), cast(:starts as timestamptz[]), cast(:ends as timestamptz[]))
         s(label, grain, a, b)
"""
#: `offset 0` forces an index scan per segment, instead of joining all rows of the account with all segments.
_MERGED = """
with parts as materialized (
  select {label} as label, {succeeded} as succeeded, {failed} as failed, r.invocations, r.tokens_used, r.buckets,
         r.counts
    from {segments} cross join lateral (
         select * from {table} u
          where u.user_id = :user and u.grain = s.grain and u.starts_at >= s.a and u.starts_at < s.b offset 0) r),
cells as (
  select label, bucket, sum(n) as n
    from (select label, unnest(buckets) as bucket, unnest(counts) as n from parts) x group by 1, 2),
histograms as (select label, array_agg(bucket) as buckets, array_agg(n::bigint) as counts from cells group by 1),
sums as (
  select label, sum(invocations) as invocations, sum(succeeded) as succeeded, sum(failed) as failed,
         sum(tokens_used) as tokens_used from parts group by 1)
select s.*, h.buckets, h.counts from sums s left join histograms h using (label) limit {most}
"""
_POINTS = Query(
    _MERGED.format(
        label="s.label",
        succeeded="r.succeeded",
        failed="r.failed",
        table="usage_points",
        segments=_SEGMENTS,
        most=MOST + 1,
    ),
    MergedRow,
)
ENTRIES = """
with cells as (
  select date_trunc(:bucket, created_at, 'UTC') as at, {key} as key, status, latency_bucket(latency_ms) as latency,
         count(*) as n, sum(tokens_used) as tokens
    from usage_logs where user_id = :user and {{which}} group by 1, 2, 3, 4)
select at, key, status, sum(n) as invocations, sum(tokens) as tokens_used,
       array_agg(latency) filter (where latency is not null) as buckets,
       array_agg(n::integer) filter (where latency is not null) as counts
  from cells group by at, key, status limit {most}
"""
#: `(…) is true` keeps a condition from using an index: rolled-up rows are found by time, the tail by transaction id,
#: whatever the planner estimates.
IN_RANGE = "created_at >= :since and created_at < :until"
_ROLLED = f"{IN_RANGE} and (xid <= cast(:mark as xid8)) is true"
_TAIL = f"xid > cast(:mark as xid8) and ({IN_RANGE}) is true"


#: The start of the bucket that a unit is in, as `stacked` reads it.
_START = "extract(epoch from date_trunc(:bucket, r.starts_at, 'UTC'))::bigint::text"


@dataclass(frozen=True, slots=True)
class _Queries:
    """The statements of one grouping."""

    groups: Query[MergedRow]
    rolled: Query[StatusRow]
    tail: Query[StatusRow]
    stacks: Query[MergedRow]


def _queries(key: str) -> _Queries:
    entries = ENTRIES.format(key=key, most=MOST + 1)
    groups, stacks = (
        _MERGED.format(
            label=label,
            succeeded="case when r.status = 'success' then r.invocations else 0 end",
            failed="case when r.status in ('error', 'timeout') then r.invocations else 0 end",
            table="usage_rollups",
            segments=_SEGMENTS,
            most=MOST + 1,
        )
        for label in (key, f"{_START} || ' ' || {key}")
    )
    rolled, tail = entries.format(which=_ROLLED), entries.format(which=_TAIL)
    return _Queries(
        Query(groups, MergedRow), Query(rolled, StatusRow), Query(tail, StatusRow), Query(stacks, MergedRow)
    )


_QUERIES = {by: _queries(key) for by, key in KEYS.items()}


def read(session: Session, wanted: Wanted) -> Parts:
    """Read the parts. Every entry in the range is in exactly one of `total` and `entries`.

    The same holds for `edges`, `units` and `entries`, and for `groups` and `entries`. Without a watermark nothing is
    rolled up, and all entries are tail. Raises `Invalid` as `Parts.require_few` does.
    """
    parts = _read(session, wanted)
    parts.require_few()
    return parts


def _read(session: Session, wanted: Wanted) -> Parts:
    queries = _QUERIES[wanted.group_by]
    where = {"user": wanted.user_id, "since": wanted.since, "until": wanted.until}
    ends = [(grain, ranges.floor(end, grain)) for grain in ranges.GRAINS for end in (wanted.since, wanted.until)]
    asked = {"grains": [grain for grain, _ in ends], "starts": [start for _, start in ends]}
    begin = db.fetch(session, _BEGIN, {"user": wanted.user_id, **asked})
    mark = begin[0].mark
    tail = {**where, "bucket": wanted.bucket, "mark": mark or "0", "no_key": NO_KEY}
    parts = Parts(db.fetch(session, queries.tail, tail))
    if mark is None:
        return parts
    summed = _widened(wanted, begin)
    for hour in ranges.cut(summed.since, summed.until):
        until = min(ranges.following(hour, "hour"), summed.until)
        parts.entries += db.fetch(session, queries.rolled, {**tail, "since": max(hour, summed.since), "until": until})
    _add_sums(session, summed, parts)
    return parts


def _widened(wanted: Wanted, begin: Iterable[BeginRow]) -> Wanted:
    """The widest range with the same rolled-up entries: where no entries of a unit are outside the range, it counts
    whole, as this month does until now.
    """
    units = {(row.grain, row.starts_at): row for row in begin}
    since, until = wanted.since, wanted.until
    for grain in ranges.GRAINS:
        unit = units.get((grain, ranges.floor(since, grain)))
        if unit is None or unit.first_at >= since:
            since = ranges.floor(since, grain)
            break
    for grain in ranges.GRAINS:
        unit = units.get((grain, ranges.floor(until, grain)))
        if unit is None or unit.last_at < until:
            until = ranges.ceiling(until, grain)
            break
    return replace(wanted, since=since, until=until)


def _add_sums(session: Session, wanted: Wanted, parts: Parts) -> None:
    cover = [("", segment) for segment in ranges.cover(wanted.since, wanted.until, "month")]
    user = {"user": wanted.user_id}
    merged = {row.label: row for row in db.fetch(session, _POINTS, {**user, **_parameters([*cover, *_edges(wanted)])})}
    parts.total = [merged.pop("")] if "" in merged else []
    parts.edges = {datetime.fromisoformat(label): row for label, row in merged.items()}
    first, last = ranges.whole(wanted.since, wanted.until, wanted.bucket)
    whole = {**user, "bucket": wanted.bucket, "first": first, "last": last}
    parts.units = db.fetch(session, _UNITS, {**whole, "touched": sorted({row.at for row in parts.entries})})
    if wanted.group_by and wanted.stacked:
        finer = [("", segment) for segment in ranges.cover(wanted.since, wanted.until, wanted.bucket)]
        asked = {**user, **_parameters(finer), "no_key": NO_KEY, "bucket": wanted.bucket}
        parts.stacks = db.fetch(session, _QUERIES[wanted.group_by].stacks, asked)
    elif wanted.group_by:
        asked = {**user, **_parameters(cover), "no_key": NO_KEY}
        parts.groups = db.fetch(session, _QUERIES[wanted.group_by].groups, asked)


def _edges(wanted: Wanted) -> Iterator[tuple[str, Segment]]:
    """The segments that cover the buckets cut by the range, with the start of the bucket."""
    for edge in ranges.edges(wanted.since, wanted.until, wanted.bucket):
        yield from ((_label(wanted, segment), segment) for segment in ranges.cover_finer(edge))


def _label(wanted: Wanted, segment: Segment) -> str:
    return ranges.floor(segment.since, wanted.bucket).isoformat()


def _parameters(segments: list[tuple[str, Segment]]) -> dict[str, object]:
    return {
        "labels": [label for label, _ in segments],
        "grains": [segment.grain for _, segment in segments],
        "starts": [segment.since for _, segment in segments],
        "ends": [segment.until for _, segment in segments],
    }

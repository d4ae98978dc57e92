"""Summaries of a time range, always exactly equal to the sum of the history, even during writes.

`parts` reads the parts in one snapshot; this module combines them.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from common.errors import FieldError, Invalid
from common.kit import db
from common.kit.pieces import StepCounter
from common.kit.query import Query
from common.models.tools import Tool
from common.usage import parts, ranges, single
from common.usage.figures import Figures, StatusRow, Sum, UnitRow, total_of
from common.usage.histogram import milliseconds
from common.usage.single import ALL, Whose
from common.usage.wanted import Parts, Wanted

#: The most points of a series.
MOST_POINTS = 1_000
#: The most groups of a summary, the largest; the others are summed up.
MOST_GROUPS = 1_000
_pieces = StepCounter()


class CompleteRow(NamedTuple):
    """The time now, and until when every transaction has ended."""

    now: datetime
    through: datetime


#: Transactions that began before the oldest open one have ended. A backend may fix its start time shortly before it is
#: visible here, hence the 0.1 s.
_COMPLETE = Query(
    """
select now() as now, least(now() - interval '0.1 s', min(xact_start)) as through
  from pg_stat_activity
 where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'
""",
    CompleteRow,
)


@dataclass(frozen=True, slots=True)
class Group:
    """Usage of one tool, status, API key or end user. `key`: a slug, status, key id or word; None: without any."""

    key: str | None
    figures: Figures


@dataclass(frozen=True, slots=True)
class Point:
    """Usage in one hour, day or month; the first and last are cut by the range."""

    start: datetime
    figures: Figures


@dataclass(frozen=True, slots=True)
class Rest:
    """The usage of so many groups together."""

    groups: int
    figures: Figures


class Stack(NamedTuple):
    """Tokens of a group in the bucket that begins at `start`; `key`: as of `Group`. `is_rest`: of all in the rest."""

    start: datetime
    key: str | None
    tokens_used: int
    is_rest: bool = False


@dataclass(frozen=True, slots=True)
class Summary:
    """Sums over [since, until). `complete_through`: the sums before that time are final. `stacks`: if asked for.

    `rest`: of the groups that are not among `groups`, if there are any; `rows`: how many it was added up from.
    """

    since: datetime
    until: datetime
    bucket: str
    totals: Figures
    groups: list[Group]
    series: list[Point]
    complete_through: datetime
    group_by: str | None = None
    stacks: Sequence[Stack] = ()
    rest: Rest | None = None
    rows: int = field(default=0, compare=False)


def summary(
    user_id: UUID,
    since: datetime,
    until: datetime,
    *,
    bucket: str = "day",
    group_by: str | None = None,
    stacked: bool = False,
    most_groups: int = MOST_GROUPS,
    whose: Whose = ALL,
) -> Summary:
    """An account's usage in [since, until): totals, groups, and a series of hours, days or months.

    `stacked`: the tokens of each group in each bucket too. `most_groups`: the largest, the others are summed up.
    `whose`: of an end user or an API key alone.

    The series has a point for every bucket up to now. Raises `Invalid` if the range ends before it begins, has more
    than 1,000 buckets, or has too many groups in them.
    """
    check_range(since, until, bucket)
    seen = db.execute(_COMPLETE, {})[0]  # of the primary, before the snapshot: what has ended by now is in it
    wanted = Wanted(user_id, since, until, bucket, group_by, stacked)
    found, names = db.read_anywhere(lambda session: _read(session, wanted, whose))
    sums = _by_group(found) if group_by else {}
    keys = _largest(sums, names, most_groups)
    return Summary(
        since=since,
        until=until,
        bucket=bucket,
        totals=_total(found),
        groups=[Group(names.get(key, key) or None, sums[key].figures()) for key in keys],
        series=_series(found, ranges.starts(since, max(since, min(until, seen.now)), bucket)),
        complete_through=min(until, seen.through),
        group_by=group_by,
        stacks=_stacks(found, names, frozenset(keys)) if stacked and group_by else (),
        rest=_rest(sums, keys),
        rows=found.rows,
    )


def _read(session: Session, wanted: Wanted, whose: Whose) -> tuple[Parts, dict[str, str]]:
    """The parts, and the slugs of tools if they are grouped by tool."""
    summed = whose == ALL and wanted.group_by != "end_user"
    found = parts.read(session, wanted) if summed else single.read(session, wanted, whose)
    return found, _slugs(session) if wanted.group_by == "tool" else {}


def check_range(since: datetime, until: datetime, bucket: str) -> None:
    """Raises `Invalid` for a reversed range, or one of more than 1,000 buckets."""
    if since > until:
        raise Invalid("The range ends before it begins.", errors=[FieldError("/to", "Must not be before from.")])
    starts = ranges.starts(since, until, bucket)
    if sum(1 for _, _ in zip(starts, range(MOST_POINTS + 1), strict=False)) > MOST_POINTS:
        fault = FieldError("/bucket", f"The range has more than {MOST_POINTS:,} buckets of this size.")
        raise Invalid("The range is too long for this bucket.", errors=[fault])


def _total(found: Parts) -> Figures:
    total = Sum()
    for merged in found.total:
        total.add_all(merged)
    for row in found.entries:
        total.add(row)
    return total.figures()


def _series(found: Parts, starts: Iterable[datetime]) -> list[Point]:
    """The points of the series; units without added entries are used as stored."""
    points = points_of(found.entries, starts)
    ready = {row.at: _stored(row) for row in found.units if row.buckets is None}
    for row in found.units:
        if row.buckets is not None:
            points[row.at].add_all(row)
    for start, merged in found.edges.items():
        points.setdefault(start, Sum()).add_all(merged)
    return [
        Point(start, ready[start] if start in ready else points[start].figures()) for start in sorted({*points, *ready})
    ]


def _stored(row: UnitRow) -> Figures:
    p50, p95 = (None if bucket is None else milliseconds(bucket) for bucket in (row.p50, row.p95))
    return Figures(row.invocations, row.succeeded, row.failed, row.tokens_used, p50, p95)


def _slugs(session: Session) -> dict[str, str]:
    return {str(row.id): row.slug for row in session.execute(select(Tool.id, Tool.slug))}


def points_of(rows: Iterable[StatusRow], starts: Iterable[datetime]) -> dict[datetime, Sum]:
    """Sum rows by bucket, with an empty sum for buckets without rows."""
    points = {start: Sum() for start in starts}
    for row in rows:
        points.setdefault(row.at, Sum()).add(row)
    return points


def _stacks(found: Parts, names: dict[str, str], keys: frozenset[str]) -> list[Stack]:
    """Those of the groups with these keys, and of the rest."""
    sums: dict[tuple[datetime, str, bool], int] = {}

    def add(start: datetime, key: str, tokens: Decimal) -> None:
        _pieces.step(4)
        at = (start, key, False) if key in keys else (start, "", True)
        sums[at] = sums.get(at, 0) + int(tokens)

    for merged in found.stacks:
        start, _, key = merged.label.partition(" ")
        add(datetime.fromtimestamp(int(start), UTC), key, merged.tokens_used)
    for row in found.entries:
        add(row.at.astimezone(UTC), row.key, row.tokens_used)
    return [
        Stack(start, names.get(key, key) or None, tokens, rest) for (start, key, rest), tokens in sorted(sums.items())
    ]


def _by_group(found: Parts) -> dict[str, Sum]:
    sums: dict[str, Sum] = {}
    for merged in found.groups:
        sums.setdefault(merged.label, Sum()).add_all(merged)
    for merged in found.stacks:
        sums.setdefault(merged.label.partition(" ")[2], Sum()).add_all(merged)
    for row in found.entries:
        sums.setdefault(row.key, Sum()).add(row)
    return sums


def _largest(sums: Mapping[str, Sum], names: Mapping[str, str], most: int) -> list[str]:
    """The keys of the groups that used most, in this order."""

    def rank(key: str) -> tuple[int, int, str]:
        _pieces.step()
        return -sums[key].tokens, -sums[key].invocations, names.get(key, key)

    return heapq.nsmallest(most, sums, rank)


def _rest(sums: Mapping[str, Sum], keys: Sequence[str]) -> Rest | None:
    if len(keys) == len(sums):
        return None
    listed = frozenset(keys)
    return Rest(len(sums) - len(keys), total_of(each for key, each in sums.items() if key not in listed).figures())

"""Sums over a time range, equal to the token with the sum of the history at every moment, also while it is written.

`parts` reads them in one snapshot; here they are put together.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, select, text
from sqlalchemy.orm import Session

from common.errors import FieldError, Invalid
from common.kit import db
from common.models.tools import Tool
from common.usage import parts, ranges
from common.usage.figures import Figures, Sum
from common.usage.histogram import milliseconds
from common.usage.parts import Parts, Wanted

#: More points than this are no chart any more, and a range of a hundred years is a mistake.
MOST_POINTS = 1_000

#: Whatever began before the oldest transaction that is still open has been committed, or never will be. A backend may
#: have taken its time a moment before it can be seen here, hence the tenth of a second.
_COMPLETE = text("""
select now() as now, least(now() - interval '0.1 s', min(xact_start)) as through
  from pg_stat_activity
 where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'
""")


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


def summary(
    user_id: UUID, since: datetime, until: datetime, *, bucket: str = "day", group_by: str | None = None
) -> Summary:
    """An account's usage in [since, until), in total, by `group_by` and in buckets of an hour, a day or a month.

    The series has a point for every bucket up to now. Raises `Invalid` for a range that ends before it begins, and
    for one of more than 1,000 buckets.
    """
    check_range(since, until, bucket)
    seen = db.execute(_COMPLETE, {})[0]  # before the snapshot: what has ended by now is in it
    with db.snapshot() as session:
        found = parts.read(session, Wanted(user_id, since, until, bucket, group_by))
        names = _slugs(session) if group_by == "tool" else {}
    return Summary(
        since=since,
        until=until,
        bucket=bucket,
        totals=_total(found),
        groups=_groups(found, names) if group_by else [],
        series=_series(found, ranges.starts(since, max(since, min(until, seen.now)), bucket)),
        complete_through=min(until, seen.through),
    )


def check_range(since: datetime, until: datetime, bucket: str) -> None:
    if since > until:
        raise Invalid("The range ends before it begins.", errors=[FieldError("/to", "Must not be before from.")])
    starts = ranges.starts(since, until, bucket)
    if sum(1 for _, _ in zip(starts, range(MOST_POINTS + 1), strict=False)) > MOST_POINTS:
        fault = FieldError("/bucket", f"The range has more than {MOST_POINTS:,} buckets of this size.")
        raise Invalid("The range is too long for this bucket.", errors=[fault])


def _total(found: Parts) -> Figures:
    total = Sum()
    for row in found.total:
        total.add_all(row)
    for row in found.entries:
        total.add(row)
    return total.figures()


def _series(found: Parts, starts: Iterable[datetime]) -> list[Point]:
    """A unit that nothing is added to is shown as it was stored."""
    points = points_of(found.entries, starts)
    ready = {row.at: _stored(row) for row in found.units if row.buckets is None}
    for row in found.units:
        if row.buckets is not None:
            points[row.at].add_all(row)
    for start, row in found.edges.items():
        points.setdefault(start, Sum()).add_all(row)
    return [
        Point(start, ready[start] if start in ready else points[start].figures()) for start in sorted({*points, *ready})
    ]


def _stored(row: Row[Any]) -> Figures:
    p50, p95 = (None if bucket is None else milliseconds(bucket) for bucket in (row.p50, row.p95))
    return Figures(row.invocations, row.succeeded, row.failed, row.tokens_used, p50, p95)


def _slugs(session: Session) -> dict[str, str]:
    return {str(row.id): row.slug for row in session.execute(select(Tool.id, Tool.slug))}


def points_of(rows: Iterable[Row[Any]], starts: Iterable[datetime]) -> dict[datetime, Sum]:
    points = {start: Sum() for start in starts}
    for row in rows:
        points.setdefault(row.at, Sum()).add(row)
    return points


def _groups(found: Parts, names: dict[str, str]) -> list[Group]:
    """Largest first."""
    sums: dict[str, Sum] = {}
    for row in found.groups:
        sums.setdefault(row.label, Sum()).add_all(row)
    for row in found.entries:
        sums.setdefault(row.key, Sum()).add(row)
    groups = [Group(names.get(key, key) or None, total.figures()) for key, total in sums.items()]
    return sorted(groups, key=lambda g: (-g.figures.tokens_used, -g.figures.invocations, g.key or ""))

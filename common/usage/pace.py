"""How quickly an account uses tokens, from its last 28 days."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Final, NamedTuple
from uuid import UUID

from common.kit import db
from common.kit.query import Query
from common.usage import ranges
from common.usage.charges import DayCharge

DAYS: Final = 28
#: With at least two weeks of history, whole weeks are compared: most use has a weekly rhythm.
WEEK: Final = 7


@dataclass(frozen=True, slots=True)
class Pace:
    """Tokens a day. `middle`: the mean. `low`, `high`: the slowest and the fastest week, or day of a short history."""

    low: float
    middle: float
    high: float


class CourseRow(NamedTuple):
    """An hour of the account, or a UTC day of the `period`. `first`: when the account was first used."""

    period: bool
    at: datetime
    invocations: int
    tokens: int
    first: datetime | None


@dataclass(frozen=True, slots=True)
class Course:
    """The pace of an account, and what a period was charged on each day on which anything ended, in order."""

    pace: Pace
    days: list[DayCharge]


#: Rolled up and live tail, as in `charges`.
_COURSE: Final = Query(
    """
with mark as materialized (select usage_mark() as xid),
tail as materialized (
  select created_at, period_id, tokens_used from usage_logs
   where user_id = :user and xid > coalesce((select xid from mark), cast('0' as xid8))),
p as (
  select date_trunc('day', least(starts_at, created_at), 'UTC') as since
    from periods where id = cast(:period as uuid) and user_id = :user),
parts as (
  select false as period, starts_at as at, invocations, tokens_used from usage_points
   where user_id = :user and grain = 'hour' and starts_at >= :since and starts_at < :until
     and (select xid from mark) is not null
  union all
  select false, date_trunc('hour', created_at, 'UTC'), 1, tokens_used from tail
   where created_at >= :since and created_at < :until
  union all
  select true, r.starts_at, r.invocations, r.tokens_used
    from p join usage_rollups r on r.user_id = :user and r.period_id = cast(:period as uuid)
   where r.grain = 'day' and r.starts_at >= p.since and (select xid from mark) is not null
  union all
  select true, date_trunc('day', created_at, 'UTC'), 1, tokens_used from tail where period_id = cast(:period as uuid))
select period, at, cast(sum(invocations) as bigint) as invocations, cast(sum(tokens_used) as bigint) as tokens,
       (select min(first_at) from usage_points where user_id = :user and grain = 'month') as first
  from parts group by 1, 2 order by 1, 2
""",
    CourseRow,
)


def pace(user_id: UUID, now: datetime) -> Pace:
    """The account's pace over the 28 days up to now, or since its first use."""
    return course(user_id, None, now).pace


def course(user_id: UUID, period_id: UUID | None, now: datetime) -> Course:
    """The account's pace, and the charges of one of its periods by day: one statement."""
    until = ranges.following(ranges.floor(now, "hour"), "hour")
    asked = {"user": user_id, "period": period_id, "since": until - timedelta(days=DAYS), "until": until}
    rows = db.fetch_anywhere(_COURSE, asked)
    days = [DayCharge(row.at.astimezone(UTC).date(), row.invocations, row.tokens) for row in rows if row.period]
    return Course(_pace([row for row in rows if not row.period], until), days)


def _pace(rows: Sequence[CourseRow], until: datetime) -> Pace:
    hours = [0] * (DAYS * 24)
    for row in rows:
        hours[-int((until - row.at) / timedelta(hours=1))] += row.tokens
    used = [number for number, tokens in enumerate(hours) if tokens]
    first = rows[0].first if rows else None
    begun = until - timedelta(hours=len(hours) - used[0]) if used else until
    days = ceil((until - min(first or begun, begun)) / timedelta(days=1))
    return of_days([sum(hours[start : start + 24]) for start in range(0, len(hours), 24)][-max(1, days) :])


def of_days(days: Sequence[int]) -> Pace:
    """The pace of these days (at least one), the oldest first: tokens used on each."""
    width = WEEK if len(days) >= 2 * WEEK else 1
    means = [sum(days[start : start + width]) / width for start in range(len(days) - width + 1)]
    middle = sum(days) / len(days)
    return Pace(min(middle, *means), middle, max(middle, *means))

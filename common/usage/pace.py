"""How quickly an account uses tokens, from its last 28 days."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil
from typing import Final, NamedTuple
from uuid import UUID

from common.kit import db
from common.kit.query import Query
from common.usage import ranges
from common.usage.totals import summary

DAYS: Final = 28
#: With at least two weeks of history, whole weeks are compared: most use has a weekly rhythm.
WEEK: Final = 7


@dataclass(frozen=True, slots=True)
class Pace:
    """Tokens a day. `middle`: the mean. `low`, `high`: the slowest and the fastest week, or day of a short history."""

    low: float
    middle: float
    high: float


class _First(NamedTuple):
    at: datetime | None


_FIRST: Final = Query(
    "select min(first_at) as at from usage_points where user_id = :user_id and grain = 'month'", _First
)


def pace(user_id: UUID, now: datetime) -> Pace:
    """The account's pace over the 28 days up to now, or since its first use."""
    until = ranges.following(ranges.floor(now, "hour"), "hour")
    series = summary(user_id, until - timedelta(days=DAYS), until, bucket="hour").series
    hours = [0] * (DAYS * 24)
    for point in series:
        hours[-1 - int((until - point.start) / timedelta(hours=1) - 1)] += point.figures.tokens_used
    used = [number for number, tokens in enumerate(hours) if tokens]
    first = db.execute(_FIRST, {"user_id": user_id})[0].at
    begun = until - timedelta(hours=len(hours) - used[0]) if used else until
    days = ceil((until - min(first or begun, begun)) / timedelta(days=1))
    return of_days([sum(hours[start : start + 24]) for start in range(0, len(hours), 24)][-max(1, days) :])


def of_days(days: Sequence[int]) -> Pace:
    """The pace of these days (at least one), the oldest first: tokens used on each."""
    width = WEEK if len(days) >= 2 * WEEK else 1
    means = [sum(days[start : start + width]) / width for start in range(len(days) - width + 1)]
    middle = sum(days) / len(days)
    return Pace(min(middle, *means), middle, max(middle, *means))

"""The calendar of periods: months counted from an anchor, in UTC. Pure.

Month `n` of an anchor begins n months after it, on the anchor's day or on the last day of a shorter month. Counting
from the anchor, never from the month before, brings the day back: 31 January → 28 February → 31 March.
"""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, datetime


def beginning(anchor: datetime, n: int) -> datetime:
    """When month `n` begins (0: the anchor itself); it ends where month `n + 1` begins."""
    start = anchor.astimezone(UTC)
    years, month = divmod(start.month - 1 + n, 12)
    year = start.year + years
    return start.replace(year=year, month=month + 1, day=min(start.day, monthrange(year, month + 1)[1]))


def containing(anchor: datetime, moment: datetime) -> int:
    """Which month of `anchor` a moment falls into: `beginning(n) <= moment < beginning(n + 1)`."""
    start, at = anchor.astimezone(UTC), moment.astimezone(UTC)
    n = (at.year - start.year) * 12 + at.month - start.month
    return n if beginning(anchor, n) <= at else n - 1

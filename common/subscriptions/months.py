"""Monthly periods counted from an anchor, in UTC. Pure.

Month `n` begins n months after the anchor, on the anchor's day or on the last day of a shorter month. Counting from the
anchor, not from the previous month, restores the day: 31 January → 28 February → 31 March.
"""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, datetime


def beginning(anchor: datetime, n: int) -> datetime:
    """The start of month `n` (0: the anchor itself); it ends where month `n + 1` begins."""
    start = anchor.astimezone(UTC)
    years, month = divmod(start.month - 1 + n, 12)
    year = start.year + years
    return start.replace(year=year, month=month + 1, day=min(start.day, monthrange(year, month + 1)[1]))


def containing(anchor: datetime, moment: datetime) -> int:
    """The month of `anchor` that contains a moment: `beginning(n) <= moment < beginning(n + 1)`."""
    start, at = anchor.astimezone(UTC), moment.astimezone(UTC)
    n = (at.year - start.year) * 12 + at.month - start.month
    return n if beginning(anchor, n) <= at else n - 1

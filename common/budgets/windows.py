"""The windows that allowances of API keys are counted in: for ever, or a day or month in UTC."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta


@dataclass(frozen=True, slots=True)
class AllowanceWindow:
    """One window. `kind`: total, day or month. `starts_at` inclusive, `ends_at` exclusive (None: for ever)."""

    kind: str
    starts_at: datetime | None
    ends_at: datetime | None

    @property
    def start(self) -> int:
        """As the gate keeps it: Unix time, 0 for ever."""
        return 0 if self.starts_at is None else int(self.starts_at.timestamp())


ALWAYS = AllowanceWindow("total", None, None)


def window_at(kind: str, moment: datetime) -> AllowanceWindow:
    """The window of this kind that a moment is in."""
    if kind == "total":
        return ALWAYS
    day = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if kind == "day":
        return AllowanceWindow(kind, day, day + timedelta(days=1))
    first = day.replace(day=1)
    return AllowanceWindow(kind, first, (first + timedelta(days=32)).replace(day=1))


def overlap(windows: list[AllowanceWindow]) -> AllowanceWindow | None:
    """The time that is in all of them; None if there are none."""
    if not windows:
        return None
    starts = [window.starts_at for window in windows if window.starts_at is not None]
    ends = [window.ends_at for window in windows if window.ends_at is not None]
    return AllowanceWindow("", max(starts, default=None), min(ends, default=None))

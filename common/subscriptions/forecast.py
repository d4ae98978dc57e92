"""How long the tokens of the current period last, at the pace of the last weeks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from common import usage
from common.kit import clock
from common.subscriptions.statement import latest

#: Further ahead than that is never.
HORIZON: Final = timedelta(days=3650)


@dataclass(frozen=True, slots=True)
class Lasting:
    """Until when the tokens last at the low, the middle and the high pace; None: they are not used up."""

    low: datetime | None
    middle: datetime | None
    high: datetime | None


@dataclass(frozen=True, slots=True)
class Forecast:
    """`available`: None if unlimited. `lasts_until` may be after `resets_at`, when new tokens come."""

    available: int | None
    pace_per_day: usage.Pace
    lasts_until: Lasting
    resets_at: datetime


def forecast(user_id: UUID) -> Forecast:
    """The forecast of the account's current (or last) period. Raises `NotFound` if there has never been one."""
    found, now = latest(user_id), clock.now()
    available = None if found.balance.unlimited else found.balance.available
    pace = usage.pace(user_id, now)
    lasting = Lasting(*(lasts_until(now, available, each) for each in (pace.low, pace.middle, pace.high)))
    return Forecast(available, pace, lasting, found.period.ends_at)


def lasts_until(now: datetime, available: int | None, per_day: float) -> datetime | None:
    """When so many tokens are used up at that pace; None if they are not within ten years."""
    if available is None or per_day <= 0 or available > per_day * HORIZON.days:
        return None
    return now + timedelta(days=available / per_day)

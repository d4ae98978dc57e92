"""How long the tokens of the current period last, at the pace of the last weeks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from common import usage
from common.budgets import Balance
from common.errors import NotFound
from common.kit import clock
from common.subscriptions.glance import Meter, glance

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


@dataclass(frozen=True, slots=True)
class Burndown:
    """A period, what it was charged on each day on which anything ended (in order), and how long the rest lasts."""

    starts_at: datetime
    ends_at: datetime
    balance: Balance
    days: list[usage.DayCharge]
    forecast: Forecast


def forecast(user_id: UUID) -> Forecast:
    """The forecast of the account's current (or last) period. Raises `NotFound` if there has never been one."""
    meter = glance(user_id).meter
    if meter is None:
        raise NotFound("The account has no subscription.")
    return burndown(user_id, meter).forecast


def burndown(user_id: UUID, meter: Meter) -> Burndown:
    """The course of the period that `glance` found."""
    now, balance = clock.now(), meter.balance
    course = usage.course(user_id, meter.period_id, now)
    available, pace = balance.shown_available, course.pace
    lasting = Lasting(*(lasts_until(now, available, each) for each in (pace.low, pace.middle, pace.high)))
    found = Forecast(available, pace, lasting, meter.ends_at)
    return Burndown(meter.starts_at, meter.ends_at, balance, course.days, found)


def lasts_until(now: datetime, available: int | None, per_day: float) -> datetime | None:
    """When so many tokens are used up at that pace; None if they are not within ten years."""
    if available is None or per_day <= 0 or available > per_day * HORIZON.days:
        return None
    return now + timedelta(days=available / per_day)

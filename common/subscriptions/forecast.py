"""How long the tokens of the current period last, at the pace of the last weeks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from common import usage
from common.budgets import Balance
from common.errors import NotFound
from common.kit import clock, db
from common.models.subscriptions import Period
from common.subscriptions import remainders
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
    course, expiring = usage.course(user_id, meter.period_id, now), _expiring(meter, now)
    available, pace = balance.shown_available, course.pace
    lasting = Lasting(*(lasts_until(now, available, each, expiring) for each in (pace.low, pace.middle, pace.high)))
    found = Forecast(available, pace, lasting, meter.ends_at)
    return Burndown(meter.starts_at, meter.ends_at, balance, course.days, found)


def _expiring(meter: Meter, now: datetime) -> list[tuple[datetime, int]]:
    """What is left of grants that expire before the period ends, by when they do."""
    if meter.next_expiry is None or meter.next_expiry >= meter.ends_at:
        return []
    with db.snapshot() as session:
        found = remainders.left(session, session.get_one(Period, meter.period_id))
    coming = [each for each in found.expiring if now < each.expires_at < meter.ends_at]
    return [(each.expires_at, found.rests[each.id]) for each in coming]


def lasts_until(
    now: datetime, available: int | None, per_day: float, expiring: Iterable[tuple[datetime, int]] = ()
) -> datetime | None:
    """When so many tokens are used up at that pace; None if they are not within ten years.

    Those among them that are `expiring` are used first, and what is left of them then is lost.
    """
    if available is None or per_day <= 0:
        return None
    lasting, at = available, now
    for expires_at, tokens in sorted(expiring):
        lasting -= tokens
        at = min(_used_up(at, tokens, per_day), max(at, expires_at))
    at = _used_up(at, lasting, per_day)
    return at if at <= now + HORIZON else None


def _used_up(since: datetime, tokens: int, per_day: float) -> datetime:
    """When; a day after the horizon if it is later than that."""
    return since + timedelta(days=min(tokens / per_day, HORIZON.days + 1))

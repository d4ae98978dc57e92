"""The times of a schedule: by a cron expression on the clock of a time zone, or at a fixed distance."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

from common.errors import FieldError, Invalid

CRON_FIELDS: Final = 5
MINUTE: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Timing:
    """When a schedule fires: by `cron` on the clock of `timezone`, or every so many seconds counted from a time.

    Clocks that are put forward skip some times: these fire at the next that exists. Clocks that are put back show some
    times twice: these fire at the first.
    """

    cron: str | None
    every_seconds: int | None
    timezone: str
    counted_from: datetime

    def check(self) -> None:
        """Raises `Invalid` with a pointer: not exactly one of the two, no such time zone, no such expression."""
        if (self.cron is None) == (self.every_seconds is None):
            raise Invalid(errors=[FieldError("/cron", "exactly one of cron and every_seconds is required")])
        if self.timezone not in _zones():
            raise Invalid(
                errors=[FieldError("/timezone", "must be the name of an IANA time zone, such as Europe/Berlin")]
            )
        if self.cron is not None and not _readable(self.cron):
            raise Invalid(
                errors=[FieldError("/cron", "must be a cron expression of 5 fields, such as `30 9 * * MON-FRI`")]
            )
        if self.after(self.counted_from) is None:
            raise Invalid(errors=[FieldError("/cron", "never matches any time")])

    def after(self, moment: datetime) -> datetime | None:
        """The first time after `moment`, in UTC; None: there is none within fifty years."""
        if self.every_seconds is not None:
            every = timedelta(seconds=self.every_seconds)
            return self.counted_from + max(1, (moment - self.counted_from) // every + 1) * every
        zone = ZoneInfo(self.timezone)
        local = moment.astimezone(zone).replace(tzinfo=None, fold=0)
        times = (_first(shown, zone) for shown in CronSim(self.cron or "", local))
        return next((time for time in times if time > moment), None)

    def latest(self, since: datetime, until: datetime) -> datetime | None:
        """The last time after `since` and not after `until`. Reads through all of them."""
        found, following = None, self.after(since)
        while following is not None and following <= until:
            found, following = following, self.after(following)
        return found


@lru_cache(maxsize=1)
def _zones() -> frozenset[str]:
    return frozenset(available_timezones() - {"Factory", "localtime"})


def _readable(cron: str) -> bool:
    try:
        CronSim(cron, datetime(2000, 1, 1))  # noqa: DTZ001  (what a clock shows, wherever it hangs)
    except (CronSimError, ValueError):
        return False
    return len(cron.split()) == CRON_FIELDS


def _first(shown: datetime, zone: ZoneInfo) -> datetime:
    """When clocks in the zone show that time first; if they never do, the next time that they show."""
    while True:
        moment = shown.replace(tzinfo=zone).astimezone(UTC)
        if moment.astimezone(zone).replace(tzinfo=None, fold=0) == shown:
            return moment
        shown += MINUTE

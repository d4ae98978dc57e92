"""Time and ids: UTC timestamps, the monotonic clock for deadlines, UUIDv7 for primary keys."""

from __future__ import annotations

import secrets
import time
from datetime import UTC, datetime, timedelta, tzinfo
from uuid import UUID

from uuid_utils.compat import uuid7 as _uuid7


class Clock:
    """The system clock. Tests replace it with a simulated one (`use`)."""

    def monotonic(self) -> float:
        """Seconds that never go back; only differences mean anything."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Do nothing for so many seconds."""
        time.sleep(seconds)

    def wall(self) -> float:
        """Unix time, which may jump when the machine's clock is set."""
        return time.time()


class _ClockState:
    clock = Clock()


def use(clock: Clock) -> Clock:
    """Replace this process's clock. Returns the previous one."""
    before, _ClockState.clock = _ClockState.clock, clock
    return before


def monotonic() -> float:
    """Seconds for deadlines and waits within this process; never goes backwards."""
    return _ClockState.clock.monotonic()


def sleep(seconds: float) -> None:
    """Do nothing for so many seconds."""
    _ClockState.clock.sleep(seconds)


def wall() -> float:
    """Seconds since 1970 by this host's wall clock, which may be wrong."""
    return _ClockState.clock.wall()


def now() -> datetime:
    """The wall clock in UTC. Leases use the database's clock instead, deadlines `monotonic`."""
    return datetime.fromtimestamp(wall(), UTC)


def uuid7() -> UUID:
    """A time-ordered id (RFC 9562, version 7). Guessable, so never use it as a capability."""
    return _uuid7()


def made_at(id_: UUID) -> float:
    """When a version-7 id was created, in seconds since 1970 by its creator's clock."""
    return (id_.int >> 80) / 1000


def uuid7_floor(moment: datetime, later: timedelta = timedelta(0)) -> UUID:
    """The smallest version-7 id of the millisecond so much `later`, as a bound for ranges of ids; 0 before 1970."""
    return UUID(int=max(0, int((moment.timestamp() + later.total_seconds()) * 1000)) << 80)


def rfc3339(moment: datetime) -> str:
    """RFC 3339 in UTC with microseconds: `2027-01-31T12:00:00.000000Z`."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def in_zone(moment: datetime, zone: tzinfo) -> datetime:
    """The moment in a time zone; in UTC, if its year there would not be one of 1 to 9999."""
    try:
        return moment.astimezone(zone)
    except OverflowError:
        return moment.astimezone(UTC)


def jitter(seconds: float, share: float = 0.2) -> float:
    """`seconds` varied randomly by up to ± `share`, so that clients do not retry simultaneously."""
    return seconds * (1 + share * (2 * secrets.randbelow(1_000_001) / 1_000_000 - 1))

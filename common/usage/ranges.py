"""Cover a time range with whole hours, days and months, and the hours that it cuts. Pure; all in UTC."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import takewhile

#: From coarse to fine.
GRAINS = ("month", "day", "hour")
#: No moment is before the one, or after the other.
FIRST, LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Segment:
    """Whole units of one grain: `since` is inclusive, `until` exclusive."""

    grain: str
    since: datetime
    until: datetime


def floor(moment: datetime, grain: str) -> datetime:
    """The start of the unit that contains a moment."""
    start = moment.replace(minute=0, second=0, microsecond=0)
    if grain != "hour":
        start = start.replace(hour=0)
    return start.replace(day=1) if grain == "month" else start


def following(start: datetime, grain: str) -> datetime:
    """The start of the next unit; after the last one, `LAST`."""
    try:
        if grain == "month":
            return floor(start + timedelta(days=31), "month")
        return start + (timedelta(days=1) if grain == "day" else timedelta(hours=1))
    except OverflowError:
        return LAST


def ceiling(moment: datetime, grain: str) -> datetime:
    """The first start of a unit at or after a moment."""
    start = floor(moment, grain)
    return start if start == moment else following(start, grain)


def starts(since: datetime, until: datetime, grain: str) -> Iterator[datetime]:
    """The starts of all units that overlap a range."""

    def endless() -> Iterator[datetime]:
        start = floor(since, grain)
        while True:
            yield start
            start = following(start, grain)

    return takewhile(lambda start: start < until, endless())


def cover(since: datetime, until: datetime, coarsest: str) -> list[Segment]:
    """The fewest whole units, none coarser than `coarsest`, that cover all whole hours of a range exactly once."""
    return list(_cover(since, until, GRAINS[GRAINS.index(coarsest) :]))


def _cover(since: datetime, until: datetime, grains: tuple[str, ...]) -> Iterator[Segment]:
    if not grains:
        return
    grain, finer = grains[0], grains[1:]
    first, last = ceiling(since, grain), floor(until, grain)
    if first >= last:
        yield from _cover(since, until, finer)
        return
    yield from _cover(since, first, finer)
    yield Segment(grain, first, last)
    yield from _cover(last, until, finer)


def whole(since: datetime, until: datetime, grain: str) -> tuple[datetime, datetime]:
    """The part of a range made of whole units; empty, at the first ceiling, if it has none."""
    first = ceiling(since, grain)
    return first, max(first, floor(until, grain))


def edges(since: datetime, until: datetime, grain: str) -> list[Segment]:
    """The rest of a range beside its whole units: at most two pieces, each within one unit."""
    first, last = whole(since, until, grain)
    pieces = ((since, min(first, until)), (last, until))
    return [Segment(grain, start, end) for start, end in pieces if start < end]


def cover_finer(piece: Segment) -> list[Segment]:
    """The fewest whole units of the finer grains that cover all whole hours of a piece."""
    return list(_cover(piece.since, piece.until, GRAINS[GRAINS.index(piece.grain) + 1 :]))


def cut(since: datetime, until: datetime) -> list[datetime]:
    """The hours in the middle of which a range begins or ends."""
    return sorted({floor(edge, "hour") for edge in (since, until) if edge != floor(edge, "hour")})

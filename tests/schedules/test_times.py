"""When schedules fire, compared with looking at a clock minute by minute."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import Invalid
from common.invocations.schedules.timing import Timing

#: Clocks that change at midnight, at two, at three, by half an hour, to the other side, twice in Ramadan, and never.
ZONES = [
    *[
        "America/New_York",
        "Europe/Berlin",
        "Europe/London",
        "Australia/Lord_Howe",
        "America/Santiago",
        "Africa/Casablanca",
    ],
    *["Asia/Beirut", "America/Havana", "Pacific/Apia", "Asia/Kathmandu", "UTC"],
]
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
START = datetime(2026, 1, 1, tzinfo=UTC)


def timing(cron: str | None = None, zone: str = "UTC", every: int | None = None, since: datetime = START) -> Timing:
    return Timing(cron, every, zone, since)


def until(times: Timing, start: datetime, end: datetime) -> list[datetime]:
    """All times after `start` and before `end`."""
    found, moment = [], times.after(start)
    while moment is not None and moment < end:
        found.append(moment)
        moment = times.after(moment)
    return found


def changes(zone: ZoneInfo, year: int) -> list[datetime]:
    """The days of the year on which the zone's clocks are changed."""
    days = [datetime(year, 1, 1, tzinfo=UTC) + n * DAY for n in range(366)]
    offsets = [(day, day.astimezone(zone).utcoffset()) for day in days]
    return [before for (before, offset), (_, following) in pairwise(offsets) if offset != following]


def looked_at(zone: ZoneInfo, minutes: set[int], hours: set[int], start: datetime, end: datetime) -> list[datetime]:
    """The same by looking at the clock: when it first shows each time, or else a later one."""
    shows = [(moment, moment.astimezone(zone).replace(tzinfo=None)) for moment in _minutes(start - DAY, end + DAY)]
    first: dict[datetime, datetime] = {}
    for moment, shown in shows:
        first.setdefault(shown, moment)
    wanted = [shown for shown in _minutes(shows[0][1], shows[-1][1]) if shown.minute in minutes and shown.hour in hours]
    times = {first.get(shown) or next(moment for moment, later in shows if later > shown) for shown in wanted}
    return sorted(moment for moment in times if start < moment < end)


def _minutes(start: datetime, end: datetime) -> list[datetime]:
    return [start + n * MINUTE for n in range(int((end - start) / MINUTE))]


def field(values: set[int]) -> str:
    return ",".join(map(str, sorted(values)))


@settings(max_examples=60)
@given(
    zone=st.sampled_from(ZONES),
    year=st.integers(2025, 2031),
    which=st.integers(0, 3),
    minutes=st.sets(st.integers(0, 59), min_size=1, max_size=3),
    hours=st.sets(st.sampled_from([0, 1, 2, 3, 4, 12, 23]), min_size=1, max_size=4),
)
def test_as_somebody_who_looks_at_the_clock(
    zone: str, year: int, which: int, minutes: set[int], hours: set[int]
) -> None:
    there = ZoneInfo(zone)
    days = changes(there, year) or [datetime(year, 6, 1, tzinfo=UTC)]
    start = days[which % len(days)] - DAY
    end = start + 3 * DAY
    cron = f"{field(minutes)} {field(hours)} * * *"
    assert until(timing(cron, zone), start, end) == looked_at(there, minutes, hours, start, end)


@pytest.mark.parametrize(
    ("cron", "zone", "day", "fires"),
    [
        ("30 2 * * *", "America/New_York", "2026-03-08", ["07:00"]),  # 2:30 does not exist; 3:00 is the next that does
        ("*/20 2 * * *", "Europe/Berlin", "2026-03-29", ["01:00"]),  # three that do not exist are one
        ("30 1 * * *", "America/New_York", "2026-11-01", ["05:30"]),  # the first of two
        ("*/30 1 * * *", "America/New_York", "2026-11-01", ["05:00", "05:30"]),  # four that are two
        ("0 0 * * *", "America/Havana", "2026-03-08", ["05:00"]),  # midnight itself is skipped
        ("15 2 * * *", "Australia/Lord_Howe", "2026-10-03", ["15:30"]),  # by half an hour, at 2:00 of the 4th
        ("30 9 * * *", "Asia/Kathmandu", "2026-03-08", ["03:45"]),
    ],
)
def test_days_on_which_clocks_are_changed(cron: str, zone: str, day: str, fires: list[str]) -> None:
    start = datetime.fromisoformat(f"{day}T00:00:00Z")
    assert [f"{moment:%H:%M}" for moment in until(timing(cron, zone), start - MINUTE, start + DAY)] == fires


@given(
    st.datetimes(datetime(2025, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    st.sampled_from(["* * * * *", "*/15 * * * *", "0 9 * * MON-FRI", "30 2 L * *", "0 0 1 1 *", "59 23 29 2 *"]),
    st.sampled_from(ZONES),
)
def test_each_time_leads_to_a_later_one(moment: datetime, cron: str, zone: str) -> None:
    times = timing(cron, zone)
    following = times.after(moment)
    assert following is not None
    assert moment < following
    assert (following.second, following.microsecond, following.tzinfo) == (0, 0, UTC)
    assert times.after(following - MINUTE / 60) == following, "nothing lies between"
    assert times.latest(following - MINUTE, following) == following


@given(st.integers(60, 10**7), st.integers(-(10**9), 10**9))
def test_every_so_many_seconds(every: int, seconds: int) -> None:
    times = timing(every=every)
    moment = START + timedelta(seconds=seconds)
    following = times.after(moment)
    assert following is not None
    assert following > moment
    assert following > START, "the first is one interval after it was made"
    assert (following - START) % timedelta(seconds=every) == timedelta(0)
    if seconds >= 0:
        assert following - moment <= timedelta(seconds=every)


NO_CRON = [
    *["", "* * * *", "* * * * * *", "@daily", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8"],
    *["5-1 * * * *", "*/0 * * * *", "a * * * *", "-1 * * * *", "* * * * L", "* * L-3 * *", "١ * * * *", "1,, * * * *"],
    *["0 0 30 2 *", "0 0 31 4,6,9,11 *", f"{'9' * 5000} * * * *", "* * * * MON#6", "0 0 * * 5L/2", "\0 * * * *"],
]


@pytest.mark.parametrize("cron", NO_CRON)
def test_what_is_no_cron_expression(cron: str) -> None:
    with pytest.raises(Invalid) as refused:
        timing(cron).check()
    assert [fault.pointer for fault in refused.value.errors] == ["/cron"]


@given(st.text("0123456789*/,-#LWMONJAN ", max_size=30))
def test_whatever_is_written_is_read_or_refused(cron: str) -> None:
    try:
        timing(cron, "Europe/Berlin").check()
    except Invalid:
        return
    assert timing(cron, "Europe/Berlin").after(START) is not None


@pytest.mark.parametrize(
    "zone", ["", "Berlin", "europe/berlin", "../../etc/passwd", "/etc/localtime", "UTC+1", "localtime"]
)
def test_what_is_no_time_zone(zone: str) -> None:
    with pytest.raises(Invalid) as refused:
        timing("* * * * *", zone).check()
    assert [fault.pointer for fault in refused.value.errors] == ["/timezone"]

"""A range is covered exactly once: by whole units, and by the hours that it cuts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from common.usage import ranges

moments = st.datetimes(datetime(2024, 1, 1), datetime(2026, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001


@given(moments, moments, st.sampled_from(ranges.GRAINS))
def test_cover_is_every_whole_hour_once(one: datetime, other: datetime, coarsest: str) -> None:
    since, until = sorted((one, other))
    segments = ranges.cover(since, until, coarsest)
    covered = [s for segment in segments for s in (segment.since, segment.until)]
    assert covered == sorted(covered)
    assert all(a == b for a, b in zip(covered[1:-1:2], covered[2::2], strict=True)), "gaps"
    first, last = ranges.ceiling(since, "hour"), ranges.floor(until, "hour")
    assert (covered[0], covered[-1]) == (first, last) if first < last else not segments
    for segment in segments:
        assert segment.since == ranges.floor(segment.since, segment.grain)
        assert segment.until == ranges.floor(segment.until, segment.grain)


def test_a_year_is_a_handful_of_segments() -> None:
    since = datetime(2026, 1, 15, 10, 30, tzinfo=UTC)
    grains = [s.grain for s in ranges.cover(since, since + timedelta(days=365), "month")]
    assert grains == ["hour", "day", "month", "day", "hour"]

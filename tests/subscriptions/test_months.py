"""The calendar: months follow each other without a gap, and each ends on the right day."""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.subscriptions import months

moments = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@given(moments, st.integers(0, 600))
def test_months_are_contiguous_and_keep_their_day(anchor: datetime, n: int) -> None:
    begins, ends = months.beginning(anchor, n), months.beginning(anchor, n + 1)
    assert timedelta(days=28) <= ends - begins <= timedelta(days=31)
    assert begins.day == min(anchor.day, monthrange(begins.year, begins.month)[1])
    assert begins.timetz() == anchor.timetz()
    assert (begins.year * 12 + begins.month) - (anchor.year * 12 + anchor.month) == n


@given(moments, moments)
def test_every_moment_lies_in_exactly_one_month(anchor: datetime, moment: datetime) -> None:
    n = months.containing(anchor, moment)
    assert months.beginning(anchor, n) <= moment < months.beginning(anchor, n + 1)


@pytest.mark.parametrize(
    ("anchor", "starts"),
    [
        ("2026-01-31", ["01-31", "02-28", "03-31", "04-30", "05-31"]),
        ("2028-01-30", ["01-30", "02-29", "03-30"]),
        ("2026-10-31", ["10-31", "11-30", "12-31", "01-31", "02-28"]),
    ],
)
def test_well_known_months(anchor: str, starts: list[str]) -> None:
    first = datetime.fromisoformat(f"{anchor}T10:00:00+00:00")
    assert [f"{months.beginning(first, n):%m-%d}" for n in range(len(starts))] == starts


def test_the_day_is_the_one_in_utc() -> None:
    """Half past one in Auckland on 1 February is still January in UTC; no clock change moves a period."""
    auckland = timezone(timedelta(hours=13))
    anchor = datetime(2026, 2, 1, 1, 30, tzinfo=auckland)
    assert months.beginning(anchor, 1) == datetime(2026, 2, 28, 12, 30, tzinfo=UTC)
    assert months.beginning(anchor, 2) == datetime(2026, 3, 31, 12, 30, tzinfo=UTC)

"""How quickly tokens are used, and how long the others last."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import usage
from common.subscriptions.forecast import lasts_until
from common.usage.pace import DAYS, of_days
from tests.usage.ledger import Ledger, rolled_up

NOW = datetime(2027, 1, 31, 12, 30, tzinfo=UTC)


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=DAYS))
def test_the_middle_is_the_mean_and_lies_between(days: list[int]) -> None:
    pace = of_days(days)
    assert pace.middle == sum(days) / len(days)
    assert min(days) <= pace.low <= pace.middle <= pace.high <= max(days)


@pytest.mark.parametrize(
    ("days", "low", "high"),
    [
        ([5], 5, 5),
        ([0, 10], 0, 10),
        ([1] * 7 + [0] * 6, 0, 1),
        ([0, 14, 0, 0, 0, 0, 0] * 4, 2, 2),  # once a week is no trend
        ([7] * 7 + [0] * 7 + [14] * 7, 0, 14),
    ],
)
def test_weeks_are_compared_once_there_are_two(days: list[int], low: float, high: float) -> None:
    pace = of_days(days)
    assert (pace.low, pace.high) == (low, high)


@pytest.mark.parametrize("rolled", [False, True])
def test_the_pace_is_that_of_the_last_days_and_begins_with_the_first_use(db: None, rolled: bool) -> None:
    ledger = Ledger()
    now = datetime.now(UTC)
    ledger.write(
        ledger.row(now - timedelta(days=2, hours=1), 30),
        ledger.row(now - timedelta(days=1, hours=1), 12),
        ledger.row(now, 3),
    )
    if rolled:
        rolled_up()
    assert usage.pace(ledger.user_id, now) == usage.Pace(3, 15, 30)


def test_what_is_older_than_four_weeks_only_counts_as_a_beginning(db: None) -> None:
    ledger = Ledger()
    now = datetime.now(UTC)
    ledger.write(ledger.row(now - timedelta(days=60), 1_000), ledger.row(now - timedelta(days=1, hours=1), 28))
    rolled_up()
    assert usage.pace(ledger.user_id, now) == usage.Pace(0, 1, 4)


def test_who_has_used_nothing_has_no_pace(db: None) -> None:
    assert usage.pace(Ledger().user_id, datetime.now(UTC)) == usage.Pace(0, 0, 0)


@pytest.mark.parametrize(
    ("available", "per_day", "days"),
    [(100, 10.0, 10), (5, 10.0, 0.5), (0, 1.0, 0), (100, 0.0, None), (None, 10.0, None), (10**15, 0.001, None)],
)
def test_tokens_last_as_long_as_the_pace_says(available: int | None, per_day: float, days: float | None) -> None:
    expected = None if days is None else NOW + timedelta(days=days)
    assert lasts_until(NOW, available, per_day) == expected


@pytest.mark.parametrize(
    ("expiring", "days"),
    [([(2, 50)], 2 + 5), ([(5, 50)], 10), ([(9, 50)], 10), ([(1, 20), (3, 40)], 3 + 4), ([(3, 40), (1, 20)], 3 + 4)],
)
def test_what_expires_is_used_first_and_the_rest_of_it_is_lost(expiring: list[tuple[int, int]], days: int) -> None:
    """Of 100 at 10 a day."""
    ends = [(NOW + timedelta(days=day), tokens) for day, tokens in expiring]
    assert lasts_until(NOW, 100, 10.0, ends) == NOW + timedelta(days=days)

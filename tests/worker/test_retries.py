"""When a failed attempt is followed by another: the laws, whatever the numbers."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.retries import delay


@dataclass
class Failure:
    transient: bool = True
    sent: bool = True
    http_status: int | None = 503
    retry_after: float | None = None


attempts = st.integers(1, 10)
failures = st.builds(
    Failure,
    transient=st.booleans(),
    sent=st.booleans(),
    http_status=st.sampled_from([None, 429, 500, 503]),
    retry_after=st.none() | st.floats(0, 1e9),
)


@given(attempts, attempts, st.booleans(), failures)
def test_another_attempt_follows_exactly_when_it_may_help_and_may_not_harm(
    attempt: int, max_attempts: int, idempotent: bool, failure: Failure
) -> None:
    seconds = delay(attempt, failure, max_attempts=max_attempts, idempotent=idempotent)
    harmless = idempotent or not failure.sent or failure.http_status == 429
    assert (seconds is not None) == (attempt < max_attempts and failure.transient and harmless)


@given(st.integers(1, 1_000_000))
def test_waits_double_from_a_second_to_a_minute(attempt: int) -> None:
    seconds = delay(attempt, Failure(), max_attempts=attempt + 1, idempotent=True)
    assert seconds is not None
    expected = min(2.0 ** min(attempt - 1, 10), 60)
    assert 0.8 * expected <= seconds <= min(1.2 * expected, 60)


@given(st.floats(0, 1e12), attempts)
def test_a_tool_that_says_when_is_not_called_sooner_and_not_later_than_in_an_hour(asked: float, attempt: int) -> None:
    seconds = delay(attempt, Failure(retry_after=asked), max_attempts=11, idempotent=True)
    assert seconds is not None
    wanted = min(max(asked, 1), 3600)
    assert wanted <= seconds <= min(1.2 * wanted, 3600)


@pytest.mark.parametrize("asked", [None, 30.0])
def test_waits_are_spread(asked: float | None) -> None:
    waits = {delay(4, Failure(retry_after=asked), max_attempts=5, idempotent=True) for _ in range(20)}
    assert len(waits) > 10

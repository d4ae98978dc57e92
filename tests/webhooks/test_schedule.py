from __future__ import annotations

from datetime import UTC, datetime

import pytest

from common.webhooks.schedule import MAX_TRIES, delay, retry_after

NOW = datetime(2027, 1, 31, 12, tzinfo=UTC)


def test_the_schedule_of_the_contract() -> None:
    wanted = [5, 300, 1_800, 7_200, 18_000, 36_000, 36_000]
    for tries, seconds in enumerate(wanted, start=1):
        found = [delay(tries) for _ in range(100)]
        assert all(each is not None and 0.9 * seconds <= each <= 1.1 * seconds for each in found)
        assert len(set(found)) > 50, "without jitter a crowd comes back at once"
    assert MAX_TRIES == 8
    assert delay(8) is None


def test_retry_after_stretches_a_step_and_never_shortens_it() -> None:
    assert delay(1, 600.0) == 600.0
    assert (delay(2, 1.0) or 0) >= 270
    assert delay(8, 600.0) is None


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("0", 0),
        (" 120 ", 120),
        ("86400", 86_400),
        ("86401", 86_400),
        ("9" * 5000, 86_400),
        ("Sun, 31 Jan 2027 12:01:00 GMT", 60),
        ("Sun, 31 Jan 2027 11:00:00 GMT", 0),
        ("Tue, 31 Jan 2040 12:00:00 GMT", 86_400),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("٣", None),
    ],
)
def test_what_retry_after_may_say(header: str | None, seconds: float | None) -> None:
    assert retry_after(header, NOW) == seconds

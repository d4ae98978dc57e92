from __future__ import annotations

from common.webhooks.schedule import MAX_TRIES, delay


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

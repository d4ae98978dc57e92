"""Pacing: permits and pauses are per key, and nothing is kept of keys that owe nothing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from common.kit.pacing import Crowded, Exceeded, Pacer


def test_permits_are_per_key() -> None:
    few = Pacer[str](most=2, burst=0)
    few.acquire("ours")
    few.acquire("ours")
    with pytest.raises(Crowded):
        few.acquire("ours", wait=0)
    few.acquire("theirs", wait=0)
    few.release("ours")
    few.acquire("ours", wait=0)
    for key in ("ours", "ours", "theirs"):
        few.release(key)
    few.acquire("other")
    assert [*few._accounts] == ["other"], "keys that owe nothing are forgotten"


def test_the_limit_is_never_exceeded() -> None:
    few = Pacer[str](most=3, burst=0)
    under_way: list[int] = []

    def work() -> None:
        few.acquire("ours")
        under_way.append(1)
        assert len(under_way) <= 3
        under_way.pop()
        few.release("ours")

    with ThreadPoolExecutor(20) as pool:
        assert [job.exception() for job in [pool.submit(work) for _ in range(400)]] == [None] * 400


def test_costs_beyond_the_burst_are_followed_by_a_pause() -> None:
    slow = Pacer[str](most=1, burst=10)
    slow.acquire("ours")
    slow.release("ours", 10)
    slow.acquire("ours", wait=0)
    slow.release("ours", 1_000)
    with pytest.raises(Exceeded) as refused:
        slow.acquire("ours", wait=5)
    assert 900 < refused.value.seconds <= 1_000
    with pytest.raises(Exceeded):
        slow.acquire("ours", wait=0)  # the refused one has returned its permit
    slow.acquire("theirs", wait=0)


def test_a_pause_ends() -> None:
    slow = Pacer[str](most=1, burst=0)
    slow.acquire("ours")
    slow.release("ours", 0.05)
    slow.acquire("ours", wait=60)
    with pytest.raises(Crowded):
        slow.acquire("ours", wait=0)

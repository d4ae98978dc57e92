"""Turns are given one at a time, and whoever has used much goes behind whoever has not."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import pytest

from common.kit.fairness import FairTurns, NoTurn, RecentUse
from tests.client import eventually
from tests.timing import Stepped, using

WITHIN = 30


class Queue:
    """Callers of `acquire`, in threads of their own."""

    def __init__(self) -> None:
        self.turns = FairTurns[str]()
        self.order: list[str] = []
        self._pool = ThreadPoolExecutor(20)

    def wait(self, key: str) -> Future[None]:
        """Begin to wait; returns once it is in the queue."""
        before = len(self.turns._waiting)
        job = self._pool.submit(self._acquire, key)
        eventually("it waits", WITHIN, lambda: len(self.turns._waiting) > before)
        return job

    def _acquire(self, key: str) -> None:
        self.turns.acquire(key, 60)
        self.order.append(key)

    def serve(self, *seconds: float) -> None:
        """End turns that took so long, each once it has begun and as the next one begins."""
        for each in seconds:
            served = len(self.order)
            self.turns.release(self.order[-1], each)
            eventually("the next turn", WITHIN, partial(self._has_served, served))

    def _has_served(self, count: int) -> bool:
        return len(self.order) > count


def test_one_check_behind_many_of_another() -> None:
    queue = Queue()
    queue.turns.acquire("heavy", 0)
    queue.order.append("heavy")
    for _ in range(5):
        queue.wait("heavy")
    for key in ("light", "light", "other"):
        queue.wait(key)
    queue.serve(*[1.0] * 8)
    assert queue.order[:4] == ["heavy", "light", "other", "heavy"]
    assert queue.order.count("heavy") == 6


def test_time_counts_and_not_the_number_of_turns() -> None:
    queue = Queue()
    queue.turns.acquire("heavy", 0)
    queue.order.append("heavy")
    queue.wait("heavy")
    for _ in range(4):
        queue.wait("light")
    queue.serve(3.0, *[0.1] * 4)
    assert queue.order == ["heavy", "light", "light", "light", "light", "heavy"]


def test_a_turn_that_does_not_come_in_time() -> None:
    turns = FairTurns[str]()
    turns.acquire("first", 0)
    with pytest.raises(NoTurn):
        turns.acquire("second", 0.01)
    assert turns._waiting == []
    turns.release("first", 1.0)
    turns.acquire("second", 0)


def test_nothing_is_kept_while_nobody_waits() -> None:
    turns = FairTurns[str]()
    for key in ("a", "b", "a"):
        turns.acquire(key, 0)
        turns.release(key, 1.0)
    assert (turns._used, turns._waiting, turns._taken) == ({}, [], False)


def test_never_two_at_once() -> None:
    turns, under_way = FairTurns[int](), list[int]()

    def work(n: int) -> None:
        turns.acquire(n % 7, 60)
        under_way.append(n)
        assert len(under_way) == 1
        under_way.pop()
        turns.release(n % 7, 0.001)

    with ThreadPoolExecutor(20) as pool:
        assert [job.exception() for job in [pool.submit(work, n) for n in range(400)]] == [None] * 400


def test_what_was_used_is_forgotten_by_and_by() -> None:
    stepped = Stepped()
    stepped.now = -60.0  # a monotonic clock may begin anywhere
    with using(stepped):
        use = RecentUse[str](share=0.1)
        use.add("much", 2.0)
        use.add("little", 0.1)
        assert [round(use.of(key), 6) for key in ("much", "little", "nothing")] == [2.0, 0.1, 0.0]
        stepped.now += 5
        use.add("much", 1.0)
        assert (round(use.of("much"), 6), [*use._forgotten_at]) == (2.5, ["much"]), "nothing is kept of the other"

"""The process's caches: limited in size and time, and whole when several threads use them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from copy import copy

import pytest

from common.kit import clock
from common.kit.cache import Cache


class Stopped(clock.Clock):
    """A clock that is moved by hand."""

    seconds = 1_000.0

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
def stopped() -> Iterator[Stopped]:
    stopped = Stopped()
    before = clock.use(stopped)
    yield stopped
    clock.use(before)


def test_a_value_is_kept_for_so_long(stopped: Stopped) -> None:
    cache: Cache[str, int] = Cache(10, 5.0)
    cache.put("a", 0)
    cache.put("b", 1, good_until=stopped.seconds + 2)
    stopped.seconds += 1.9
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == (0, 1, None)
    stopped.seconds += 0.2
    assert (cache.get("a"), cache.get("b")) == (0, None)
    cache.put("a", 2)
    stopped.seconds += 4.9
    assert cache.get("a") == 2
    stopped.seconds += 0.2
    assert cache.get("a") is None
    cache.put("a", 3, good_until=stopped.seconds - 1)
    assert cache.get("a") is None


def test_the_one_not_used_for_longest_makes_room(stopped: Stopped) -> None:
    cache: Cache[int, int] = Cache(3)
    for key in range(3):
        cache.put(key, key)
    stopped.seconds += 1e9
    assert cache.get(0) == 0
    cache.put(3, 3)
    assert [cache.get(key) for key in range(4)] == [0, None, 2, 3]


def test_dropping_and_copying() -> None:
    cache: Cache[str, int] = Cache(10)
    for key, value in (("a", 1), ("b", 2), ("c", 1)):
        cache.put(key, value)
    other = copy(cache)
    cache.drop("b")
    cache.drop("nothing")
    cache.drop_if(lambda value: value == 1)
    assert [cache.get(key) for key in "abc"] == [None, None, None]
    assert [other.get(key) for key in "abc"] == [1, 2, 1]


def test_many_threads() -> None:
    cache: Cache[int, int] = Cache(50, 0.001)

    def work(seed: int) -> int:
        wrong = 0
        for step in range(3_000):
            key = (seed * 7919 + step * 31) % 200
            cache.put(key, key)
            wrong += cache.get((key + step) % 200) not in {None, (key + step) % 200}
            if step % 50 == 0:
                cache.drop(key)
                cache.drop_if(lambda value: value % 7 == 0)
        return wrong

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(work, range(8))) == 0

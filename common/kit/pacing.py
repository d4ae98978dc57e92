"""Pace expensive work for each account: few pieces at a time, and a pause that grows with what they have cost."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from time import sleep
from typing import Generic, TypeVar

from common.kit import clock

Key = TypeVar("Key", bound=Hashable)


class Crowded(Exception):
    """No permit was free in time."""


class Exceeded(Exception):
    """The pause that is due is longer than the caller waits. `seconds`: the pause."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


@dataclass(slots=True)
class _Account:
    """`free`: permits that are left; `awaiting`: those that wait for one, for `freed`, which is made for the first.

    `even_at`: when all costs will have been paid (monotonic seconds).
    """

    free: int
    awaiting: int = 0
    freed: threading.Condition | None = None
    even_at: float = 0.0


class Pacer(Generic[Key]):
    """For each key `most` permits, and a leaky bucket of costs.

    A cost is a number of seconds that have to pass before it is paid; costs of up to `burst` seconds may be open.
    Thread-safe; keeps nothing of keys that owe nothing.
    """

    def __init__(self, most: int, burst: float) -> None:
        self._most, self._burst = most, burst
        self._accounts: dict[Key, _Account] = {}
        self._lock = threading.Lock()

    def acquire(self, key: Key, wait: float | None = None, given_up: Callable[[], bool] = lambda: False) -> None:
        """Take a permit and wait until costs are paid; in all up to `wait` seconds (None: without limit).

        `given_up`: whether the caller no longer waits for a permit, asked when it may have become free, and by `wake`.

        Raises `Crowded`, `Exceeded`.
        """
        began = clock.monotonic()
        with self._lock:
            mine = self._accounts.get(key) or self._added(key, began)
            if not mine.free:
                self._await_permit(mine, wait, given_up)
            mine.free -= 1
            pause = mine.even_at - self._burst - clock.monotonic()
        if pause <= 0:
            return
        if wait is not None and pause > began + wait - clock.monotonic():
            self.release(key)
            raise Exceeded(pause)
        sleep(pause)

    def release(self, key: Key, cost: float = 0.0) -> None:
        """Return a permit, after work that cost `cost` seconds."""
        with self._lock:
            mine, now = self._accounts[key], clock.monotonic()
            mine.even_at = max(mine.even_at, now) + cost
            mine.free += 1
            if mine.awaiting and mine.freed is not None:
                mine.freed.notify()
            elif mine.free == self._most and mine.even_at <= now:
                del self._accounts[key]

    def _added(self, key: Key, now: float) -> _Account:
        for known in [known for known, it in self._accounts.items() if self._owes_nothing(it, now)]:
            del self._accounts[known]
        return self._accounts.setdefault(key, _Account(self._most))

    def _owes_nothing(self, known: _Account, now: float) -> bool:
        return known.free == self._most and not known.awaiting and known.even_at <= now

    def wake(self) -> None:
        """Ask those that wait for a permit whether they have given up. The others keep their order."""
        with self._lock:
            for mine in self._accounts.values():
                if mine.freed is not None:
                    mine.freed.notify_all()

    def _await_permit(self, mine: _Account, wait: float | None, given_up: Callable[[], bool]) -> None:
        freed = mine.freed = mine.freed or threading.Condition(self._lock)
        mine.awaiting += 1
        got = False
        try:
            freed.wait_for(lambda: mine.free > 0 or given_up(), wait)
            got = mine.free > 0 and not given_up()
        finally:
            mine.awaiting -= 1
            if not got and mine.free:
                freed.notify()  # this one may have been woken as it gave up
        if not got:
            raise Crowded

"""Pace expensive work for each account: few pieces at a time, and a pause that grows with what they have cost."""

from __future__ import annotations

import threading
from collections.abc import Hashable
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
    """`users`: those that hold or await a permit; `even_at`: when all costs will have been paid (monotonic seconds)."""

    permits: threading.BoundedSemaphore
    users: int = 0
    even_at: float = 0.0


class Pacer(Generic[Key]):
    """For each key a semaphore of `most` permits, and a leaky bucket of costs.

    A cost is a number of seconds that have to pass before it is paid; costs of up to `burst` seconds may be open.
    Thread-safe; keeps nothing of keys that owe nothing.
    """

    def __init__(self, most: int, burst: float) -> None:
        self._most, self._burst = most, burst
        self._accounts: dict[Key, _Account] = {}
        self._lock = threading.Lock()

    def acquire(self, key: Key, wait: float | None = None) -> None:
        """Take a permit and wait until costs are paid; in all up to `wait` seconds (None: without limit).

        Raises `Crowded`, `Exceeded`.
        """
        until = None if wait is None else clock.monotonic() + wait
        mine = self._enter(key)
        if not mine.permits.acquire(timeout=wait):
            self._leave(mine)
            raise Crowded
        pause = mine.even_at - self._burst - clock.monotonic()
        if until is not None and pause > until - clock.monotonic():
            self.release(key)
            raise Exceeded(pause)
        if pause > 0:
            sleep(pause)

    def release(self, key: Key, cost: float = 0.0) -> None:
        """Return a permit, after work that cost `cost` seconds."""
        with self._lock:
            mine = self._accounts[key]
            mine.even_at = max(mine.even_at, clock.monotonic()) + cost
        mine.permits.release()
        self._leave(mine)

    def _enter(self, key: Key) -> _Account:
        with self._lock:
            now = clock.monotonic()
            for known in [known for known, it in self._accounts.items() if not it.users and it.even_at <= now]:
                del self._accounts[known]
            mine = self._accounts.setdefault(key, _Account(threading.BoundedSemaphore(self._most)))
            mine.users += 1
            return mine

    def _leave(self, mine: _Account) -> None:
        with self._lock:
            mine.users -= 1

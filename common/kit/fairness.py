"""One at a time, in fair order: the key that has used the least time lately goes first (start-time fair queueing).

`RecentUse` tells who uses much, whether or not others wait.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from common.kit import clock

Key = TypeVar("Key", bound=Hashable)


class NoTurn(Exception):
    """The turn did not come in time."""


@dataclass(slots=True, eq=False)
class _Waiter(Generic[Key]):
    key: Key
    chosen: threading.Event = field(default_factory=threading.Event)


class FairTurns(Generic[Key]):
    """Turns, taken one at a time. A caller behind many turns of another key waits for the current one only.

    The next turn goes to the key that has used the least time since somebody last had to wait; among equals, and of one
    key, to the one that came first. Thread-safe; keeps nothing while nobody waits.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken = False
        self._waiting: list[_Waiter[Key]] = []
        #: Virtual time: that of the turn which was given last, and when the keys' last turns ended.
        self._now = 0.0
        self._used: dict[Key, float] = {}

    @contextmanager
    def turn(self, key: Key, timeout: float) -> Iterator[None]:
        """Hold a turn for the block, after waiting for it for up to `timeout` seconds. Raises `NoTurn`."""
        self.acquire(key, timeout)
        began = clock.monotonic()
        try:
            yield
        finally:
            self.release(key, clock.monotonic() - began)

    def acquire(self, key: Key, timeout: float) -> None:
        """Wait for a turn, up to `timeout` seconds. Raises `NoTurn`."""
        me = _Waiter(key)
        with self._lock:
            if not self._taken:
                self._taken = True
                return
            self._waiting.append(me)
        if me.chosen.wait(timeout):
            return
        with self._lock:
            if not me.chosen.is_set():
                self._waiting.remove(me)
                raise NoTurn

    def release(self, key: Key, seconds: float) -> None:
        """End a turn that took `seconds`, and give the next one."""
        with self._lock:
            if not self._waiting:
                self._taken, self._now, self._used = False, 0.0, {}
                return
            self._used[key] = self._start(key) + seconds
            following = min(self._waiting, key=lambda each: self._start(each.key))
            self._waiting.remove(following)
            self._now = self._start(following.key)
            self._used = {known: used for known, used in self._used.items() if used > self._now}
            following.chosen.set()

    def _start(self, key: Key) -> float:
        return max(self._now, self._used.get(key, 0.0))


class RecentUse(Generic[Key]):
    """How many seconds each key has used lately: `share` of them are forgotten in each second. Thread-safe."""

    def __init__(self, share: float) -> None:
        self._share = share
        self._lock = threading.Lock()
        #: When everything that a key has used will be forgotten.
        self._forgotten_at: dict[Key, float] = {}

    def add(self, key: Key, seconds: float) -> None:
        """It has used so much."""
        with self._lock:
            now = clock.monotonic()
            self._forgotten_at = {known: at for known, at in self._forgotten_at.items() if at > now}
            self._forgotten_at[key] = max(now, self._forgotten_at.get(key, now)) + seconds / self._share

    def of(self, key: Key) -> float:
        """What it has used lately, in seconds."""
        return max(0.0, self._forgotten_at.get(key, -math.inf) - clock.monotonic()) * self._share

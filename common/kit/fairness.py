"""One at a time, in fair order: the key that has used the least time lately goes first (start-time fair queueing)."""

from __future__ import annotations

import threading
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

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

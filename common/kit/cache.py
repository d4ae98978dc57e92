"""A cache of this process with a limit on size and time, safe to use from several threads (cachetools)."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from copy import copy
from threading import Lock
from typing import Generic, TypeVar

from cachetools import TLRUCache

from common.kit import clock

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Cache(Generic[K, V]):
    """At most `size` values, each for `seconds`; a new value takes the place of the least recently used one."""

    def __init__(self, size: int, seconds: float = math.inf) -> None:
        self._seconds = seconds
        self._values: TLRUCache[K, tuple[float, V]] = TLRUCache(size, _good_until, timer=clock.monotonic)
        self._lock = Lock()

    def get(self, key: K) -> V | None:
        """The value; None when there is none, or no longer."""
        with self._lock:
            found = self._values.get(key)
        return None if found is None else found[1]

    def put(self, key: K, value: V, good_until: float | None = None) -> None:
        """Keep the value for `seconds`, or until `good_until` (`clock.monotonic`)."""
        until = clock.monotonic() + self._seconds if good_until is None else good_until
        with self._lock:
            self._values[key] = until, value

    def drop(self, key: K) -> None:
        """Forget the value, if there is one."""
        with self._lock:
            self._values.pop(key, None)

    def drop_if(self, unwanted: Callable[[V], bool]) -> None:
        """Forget all unwanted values."""
        with self._lock:
            for key in [key for key, (_, value) in self._values.items() if unwanted(value)]:
                self._values.pop(key, None)

    def __copy__(self) -> Cache[K, V]:
        other: Cache[K, V] = Cache(0, self._seconds)
        with self._lock:
            other._values = copy(self._values)
        return other


def _good_until(_key: object, entry: tuple[float, V], _now: float) -> float:
    return entry[0]

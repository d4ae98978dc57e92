"""Limit how often one account can make this process call a host whose deliveries keep failing.

Endpoints are free to create and every failing delivery is retried, so the failures per account and host are limited:
beyond that, deliveries are postponed, each a little longer than the one before, until one succeeds.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from cachetools import FIFOCache

from common.kit import clock

#: Failures within a window beyond which deliveries are postponed, and the window in seconds.
MOST: Final = 30
WINDOW: Final = 60.0
REMEMBERED: Final = 4096


@dataclass(slots=True)
class _Window:
    ends: float
    failures: int = 0
    postponed: int = 0


class Failures:
    """Failed deliveries of one process by account and host. Thread-safe."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._windows: FIFOCache[tuple[UUID, str], _Window] = FIFOCache(REMEMBERED)
        self._lock = threading.Lock()

    def delay(self, account: UUID, host: str) -> float | None:
        """Seconds to wait before calling this host for this account again; None to call it now."""
        with self._lock:
            window = self._windows.get((account, host))
            left = 0.0 if window is None else window.ends - clock.monotonic()
            if window is None or left <= 0 or window.failures < self._most:
                return None
            window.postponed += 1
            return left + window.postponed * WINDOW / self._most

    def note(self, account: UUID, host: str, *, good: bool) -> None:
        """Record the outcome of a delivery. A success resets the count of failures."""
        with self._lock:
            if good:
                self._windows.pop((account, host), None)
                return
            window = self._windows.get((account, host))
            if window is None or window.ends <= clock.monotonic():
                window = _Window(clock.monotonic() + WINDOW)
            window.failures += 1
            self._windows[account, host] = window

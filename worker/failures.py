"""How often one account may make this process call somebody who does not want it.

Endpoints and URLs of calls cost nothing, and each failing delivery is tried over and over, so what is bounded is the
failures of one account at one host: beyond them deliveries are put off, each a little longer than the one before, until
one arrives.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from common.kit import clock

#: Failures in a window that make an account wait, and the window in seconds.
MOST: Final = 30
WINDOW: Final = 60.0
REMEMBERED: Final = 4096


@dataclass(slots=True)
class _Window:
    ends: float
    failures: int = 0
    put_off: int = 0


class Failures:
    """Those of one process, by account and host. Thread-safe."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._windows: OrderedDict[tuple[UUID, str], _Window] = OrderedDict()
        self._lock = threading.Lock()

    def delay(self, account: UUID, host: str) -> float | None:
        """Seconds to wait before this host may be called for this account again; None: it may be now."""
        with self._lock:
            window = self._windows.get((account, host))
            left = 0.0 if window is None else window.ends - clock.monotonic()
            if window is None or left <= 0 or window.failures < self._most:
                return None
            window.put_off += 1
            return left + window.put_off * WINDOW / self._most

    def note(self, account: UUID, host: str, *, good: bool) -> None:
        """How a delivery went. One that arrives makes good for those that did not."""
        with self._lock:
            if good:
                self._windows.pop((account, host), None)
                return
            window = self._windows.get((account, host))
            if window is None or window.ends <= clock.monotonic():
                window = self._windows[account, host] = _Window(clock.monotonic() + WINDOW)
            window.failures += 1
            self._windows.move_to_end((account, host))
            if len(self._windows) > REMEMBERED:
                self._windows.popitem(last=False)

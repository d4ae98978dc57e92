"""Skip an unavailable server for a moment, so that not every call waits for its time-out."""

from __future__ import annotations

import math

from common.kit import clock


class Pause:
    """How long one server is skipped after each failure. Starts without a pause."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._ends = -math.inf

    def active(self) -> bool:
        """Whether the server is to be skipped now."""
        return clock.monotonic() < self._ends

    def begin(self) -> None:
        """The server has failed: skip it for so long from now."""
        self._ends = clock.monotonic() + self._seconds

    def end(self) -> None:
        """Do not skip it any longer."""
        self._ends = -math.inf

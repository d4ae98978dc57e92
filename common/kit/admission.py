"""Admission: a few pieces of work at once, others in line, and nobody in a line that is too long.

What limits a server that has more to do than it can is not to begin: work that waits for longer than its client does is
done for nobody, and whatever comes after it waits too. So the wait is estimated before it begins (Little's law), and
who would wait too long is told at once. A burst may wait for longer than the line of a lasting overload: as soon as the
line has not been empty for a while, it is kept short (the idea of CoDel, RFC 8289). It is kept short until nobody has
been refused for a while: a line of a lasting overload is empty for a moment now and then, and that is no calm.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from common.kit import clock

#: How long a burst may wait, in seconds.
BURST_SECONDS: Final = 1.0
#: How long anybody may wait when the line has not been empty for `BURST_SECONDS`.
LASTING_SECONDS: Final = 0.1
#: For so long nobody was refused when an overload is over, in seconds.
CALM_SECONDS: Final = 10.0


class LineTooLong(Exception):
    """The wait would be too long. `seconds`: the wait."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class Admission:
    """`width` pieces of work at once, and a line. Thread-safe.

    `patience`: seconds after which who is in line gives up, if those before do not end. `newest`: share of the latest
    piece in the estimate of how long one takes.
    """

    def __init__(self, width: int, patience: float, newest: float = 0.05) -> None:
        self._width, self._patience, self._newest = width, patience, newest
        self._permits = threading.Semaphore(width)
        self._lock = threading.Lock()
        self._in_line = 0
        self._usual = 0.0
        #: When those that are being worked on began, oldest first.
        self._began: dict[object, float] = {}
        #: When those that were announced and have not come were announced, oldest first.
        self._announced: dict[object, float] = {}
        self._empty_at = clock.monotonic()
        self._calm_at = self._empty_at

    def refuse_if_too_long(self) -> None:
        """Raises `LineTooLong` if who comes now would be refused."""
        with self._lock:
            self._refuse_if_too_long()

    def is_busy(self) -> bool:
        """Whether who comes now would wait."""
        with self._lock:
            return self._expected(clock.monotonic()) > 0

    def announce(self, piece: object) -> None:
        """This piece of work will come, but costs something before its permit: it counts as if it were in line now.

        For `BURST_SECONDS` at most: what comes later than that is asked again, so that no line stays long because of
        what never comes. Raises `LineTooLong`.
        """
        with self._lock:
            self._refuse_if_too_long()
            self._announced[piece] = clock.monotonic()

    def withdraw(self, piece: object) -> None:
        """What was announced does not come, or not now."""
        with self._lock:
            self._announced.pop(piece, None)

    def announce_again(self, piece: object) -> None:
        """It comes now after all, or once more: without asking, because it has waited."""
        with self._lock:
            self._announced.pop(piece, None)  # they are in the order of their times
            self._announced[piece] = clock.monotonic()

    @contextmanager
    def permit(self, announced: object = None) -> Iterator[None]:
        """For one piece of work, perhaps one that was announced. Raises `LineTooLong` before it, never after."""
        self._stand_in_line(announced)
        piece = object()
        with self._lock:
            self._began[piece] = clock.monotonic()
        try:
            yield
        finally:
            with self._lock:
                self._usual += (clock.monotonic() - self._began.pop(piece) - self._usual) * self._newest
            self._permits.release()

    def _stand_in_line(self, announced: object) -> None:
        with self._lock:
            self._forget_announced(clock.monotonic())
            if self._announced.pop(announced, None) is None:
                self._refuse_if_too_long()
            self._in_line += 1
        try:
            free = self._permits.acquire(timeout=self._patience)
        finally:
            with self._lock:
                self._in_line -= 1
        if not free:
            raise LineTooLong(self._patience)

    def _refuse_if_too_long(self) -> None:
        now = clock.monotonic()
        expected = self._expected(now)
        if not self._in_line and len(self._began) + len(self._announced) <= self._width:
            self._empty_at = now
        is_burst = now >= self._calm_at and now - self._empty_at < BURST_SECONDS
        if expected > (BURST_SECONDS if is_burst else LASTING_SECONDS):
            if not is_burst:
                self._calm_at = now + CALM_SECONDS
            raise LineTooLong(expected)

    def _expected(self, now: float) -> float:
        """How long who comes now would wait: until so many have ended, of which `width` are worked on at once."""
        self._forget_announced(now)
        ahead = len(self._began) + self._in_line + len(self._announced) - self._width + 1
        if ahead <= 0:
            return 0.0
        oldest = now - next(iter(self._began.values()), now)
        return ahead * max(self._usual, oldest) / self._width

    def _forget_announced(self, now: float) -> None:
        while self._announced and now - next(iter(self._announced.values())) > BURST_SECONDS:
            del self._announced[next(iter(self._announced))]

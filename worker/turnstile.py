"""Few threads of a process work at once, however many wait for their tools.

Threads that compute fight for the interpreter: with a tool that answers at once, four of them get more done than two
hundred, at two thirds of the cost. Threads that wait for a slow tool cost nothing and may be as many as the pool has.
So a job goes in through here, and whoever waits for a tool does not count: at once when the tool took long the last
time, otherwise as soon as somebody in front of the turnstile sees that it does.

An answer that has come is never kept waiting: it goes back in whether or not there is room, and the next job waits.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from uuid import UUID

WIDTH: Final = 4
#: A call that takes longer than so many seconds makes room for another job.
SLOW: Final = 0.01


class Turnstile:
    """Thread-safe. `width`: so many threads work at once."""

    def __init__(self, width: int = WIDTH) -> None:
        self._width = width
        self._inside = 0
        #: Calls of threads that count as inside, and since when.
        self._calls: dict[int, float] = {}
        self._lasted: dict[UUID, float] = {}
        self._freed = threading.Condition()
        #: One thread waits in front and looks around; the others wait behind it and cost nothing.
        self._front = threading.Lock()

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Around a job: waits until there is room."""
        with self._front, self._freed:
            while not self._has_room():
                self._freed.wait(SLOW)
            self._inside += 1
        try:
            yield
        finally:
            with self._freed:
                self._make_room()

    @contextmanager
    def calling(self, tool: UUID) -> Iterator[None]:
        """Around a call, in a thread that is inside."""
        me, began = threading.get_ident(), time.monotonic()
        with self._freed:
            if self._lasted.get(tool, 0.0) > SLOW:
                self._make_room()
            else:
                self._calls[me] = began
        try:
            yield
        finally:
            with self._freed:
                self._lasted[tool] = time.monotonic() - began
                if self._calls.pop(me, None) is None:
                    self._inside += 1

    def _has_room(self) -> bool:
        """Those whose calls turned out to be slow do not count any more."""
        if self._inside >= self._width:
            now = time.monotonic()
            for thread in [thread for thread, began in self._calls.items() if now - began > SLOW]:
                del self._calls[thread]
                self._inside -= 1
        return self._inside < self._width

    def _make_room(self) -> None:
        self._inside -= 1
        self._freed.notify()

"""Few threads of a process work at once, however many wait for something else.

Threads that compute fight for the interpreter: with a tool that answers at once, two of them get more done than four,
and four more than two hundred. Threads that wait for a slow tool cost nothing and may be as many as the pool has. So a
job goes in through here, and whoever waits for a tool does not count: at once for a tool that usually takes long,
otherwise as soon as somebody in front of the turnstile sees that it does. (To let the waits for the database out too
was tried: on a busy machine they grow with every thread that this lets in.)

What "usually" means leans towards the short: on a busy machine everything seems slow now and then, and more threads
would only make it busier.

What has come is never kept waiting: it goes back in whether or not there is room, and the next job waits.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import Final

WIDTH: Final = 2
#: What usually takes longer than so many seconds is waited for outside.
LONG: Final = 0.005
#: What is waited for inside, and takes longer than so many seconds this time, makes room for another job.
STALLED: Final = 0.05
LOOK_SECONDS: Final = 0.01


class Turnstile:
    """Thread-safe. `width`: so many threads work at once."""

    def __init__(self, width: int = WIDTH) -> None:
        self._width = width
        self._inside = 0
        #: Threads that wait and count as inside, and since when.
        self._waits: dict[int, float] = {}
        self._usual: dict[Hashable, float] = {}
        self._freed = threading.Condition()
        #: One thread waits in front and looks around; the others wait behind it and cost nothing.
        self._front = threading.Lock()

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Around a job: waits until there is room."""
        with self._front, self._freed:
            while not self._has_room():
                self._freed.wait(LOOK_SECONDS)
            self._inside += 1
        try:
            yield
        finally:
            with self._freed:
                self._make_room()

    @contextmanager
    def waiting(self, what: Hashable) -> Iterator[None]:
        """Around a wait for `what`, in a thread that is inside."""
        me, began = threading.get_ident(), time.monotonic()
        with self._freed:
            if self._usual.get(what, 0.0) > LONG:
                self._make_room()
            else:
                self._waits[me] = began
        try:
            yield
        finally:
            with self._freed:
                self._learn(what, time.monotonic() - began)
                if self._waits.pop(me, None) is None:
                    self._inside += 1

    def _learn(self, what: Hashable, seconds: float) -> None:
        usual = self._usual.get(what, seconds)
        self._usual[what] = usual + (seconds - usual) * (0.5 if seconds < usual else 0.05)

    def _has_room(self) -> bool:
        """Those who turn out to wait long do not count any more."""
        if self._inside >= self._width:
            now = time.monotonic()
            for thread in [thread for thread, began in self._waits.items() if now - began > STALLED]:
                del self._waits[thread]
                self._inside -= 1
        return self._inside < self._width

    def _make_room(self) -> None:
        self._inside -= 1
        self._freed.notify()

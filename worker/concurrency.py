"""Few threads of a process work at once, however many wait for their tools.

Threads that compute fight for the interpreter: with a tool that answers at once, two of them get more done than four,
and four more than two hundred. Threads that wait for a slow tool cost nothing and may be as many as the pool has. So a
job goes in through here, and whoever waits for a tool does not count: at once for a tool that usually takes long,
otherwise as soon as somebody in front of the concurrency limiter sees that it does. (To let the waits for the
database out too was tried: on a busy machine they grow with every thread that this lets in.)

What "usually" means leans towards the short: on a busy machine everything seems slow now and then, and more threads
would only make it busier.

Whoever comes back with an answer waits for room as well, but no longer than for those in front: new jobs come last.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from uuid import UUID

from common.kit import clock

WIDTH: Final = 2
#: So many times as many when they come back with answers: to write these down is mostly to wait for the database.
WIDER: Final = 4
#: A tool that usually takes longer than so many seconds is waited for outside.
LONG: Final = 0.005
#: Whoever waits inside for a tool that is usually quick counts for so many seconds.
STALLED: Final = 0.05
#: Whoever works counts for so long: one that hangs must not keep everybody out.
HUNG: Final = 1.0
LOOK_SECONDS: Final = 0.01


class ConcurrencyLimiter:
    """Thread-safe. `width`: so many threads work at once; those that come back with an answer go first."""

    def __init__(self, width: int = WIDTH) -> None:
        self._width = width
        #: Threads that count as inside, and the moment until which they do.
        self._inside: dict[int, float] = {}
        self._coming_back = 0
        self._usual: dict[UUID, float] = {}
        lock = threading.Lock()
        self._room, self._room_for_answers = threading.Condition(lock), threading.Condition(lock)
        #: One thread each waits in front and looks around; the others wait behind it and cost nothing.
        self._front, self._front_of_answers = threading.Lock(), threading.Lock()

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Around a job: waits until there is room."""
        with self._front, self._room:
            while self._coming_back or not self._has_room(self._width):
                self._room.wait(LOOK_SECONDS)
            self._count(HUNG)
        try:
            yield
        finally:
            with self._room:
                self._make_room()

    @contextmanager
    def waiting(self, tool: UUID) -> Iterator[None]:
        """Around a call of `tool`, in a thread that is inside."""
        began = clock.monotonic()
        with self._room:
            if self._usual.get(tool, 0.0) > LONG:
                self._make_room()
            else:
                self._count(STALLED)
        try:
            yield
        finally:
            if not self._back_already(tool, clock.monotonic() - began):
                self._come_back()

    def _back_already(self, tool: UUID, seconds: float) -> bool:
        """After a call: whether this thread has been inside all the time. Learns how long the tool takes."""
        with self._room:
            usual = self._usual.get(tool, 0.0)
            self._usual[tool] = usual + (seconds - usual) * (0.5 if seconds < usual else 0.05)
            if counts := threading.get_ident() in self._inside:
                self._count(HUNG)
            else:
                self._coming_back += 1
            return counts

    def _come_back(self) -> None:
        with self._front_of_answers, self._room:
            while not self._has_room(WIDER * self._width):
                self._room_for_answers.wait(LOOK_SECONDS)
            self._coming_back -= 1
            self._count(HUNG)

    def _has_room(self, width: int) -> bool:
        """Those who took too long do not count any more."""
        if len(self._inside) >= width:
            now = clock.monotonic()
            for thread in [thread for thread, until in self._inside.items() if until < now]:
                del self._inside[thread]
        return len(self._inside) < width

    def _count(self, seconds: float) -> None:
        self._inside[threading.get_ident()] = clock.monotonic() + seconds

    def _make_room(self) -> None:
        if self._inside.pop(threading.get_ident(), None) is not None:
            (self._room_for_answers if self._coming_back else self._room).notify()

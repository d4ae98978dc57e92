"""Large responses of tools are parsed and stored one at a time, with pauses between an account's.

It takes many times their size in memory, and time in which others want the interpreter. Whoever waits has been answered
already, so its lease is renewed while it waits (`vouch`). If the one whose turn it is hangs, that comes to an end.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final
from uuid import UUID

from common.invocations import GRACE_SECONDS
from common.kit import clock, pieces
from common.kit.outbound import Aborted
from common.kit.pacing import Crowded, Pacer
from worker.concurrency import ConcurrencyLimiter
from worker.running import Running

#: Responses of more bytes than this are large.
LARGE: Final = 32 * 1024
#: One is followed by a pause of so many times as long, at most `LONGEST_PAUSE` each, once these have added up to
#: `PAUSES_BEFORE` (seconds): others' work goes on in the meantime.
PAUSE_FACTOR: Final = 3.0
LONGEST_PAUSE: Final = 3.0
PAUSES_BEFORE: Final = 1.0


class LargeResponses:
    """Those of one process. Thread-safe."""

    def __init__(self, limiter: ConcurrencyLimiter) -> None:
        self._limiter = limiter
        self._turn = threading.Lock()
        self._of_account = Pacer[UUID](1, PAUSES_BEFORE)
        self._current: Running | None = None

    @contextmanager
    def turn(self, running: Running, size: int) -> Iterator[None]:
        """Around parsing and storing a response of `size` bytes. Large ones leave the compute slots to others.

        Raises `Aborted` if the call was aborted while it waited for its turn.
        """
        if size <= LARGE:
            yield
            return
        with self._limiter.released(), self._permit(running) as seconds, self._turn, pieces.short_turns():
            began = clock.monotonic()
            try:
                self._begin(running)
                yield
            finally:
                self._current = None
                seconds.append(clock.monotonic() - began)

    @contextmanager
    def _permit(self, running: Running) -> Iterator[list[float]]:
        """That of its account, returned with the pause that the seconds put into the list make due."""
        account, seconds = running.task.user_id, list[float]()
        running.is_in_line = True
        try:
            self._of_account.acquire(account, given_up=lambda: running.aborted_at is not None)
        except Crowded:
            running.is_in_line = False
            raise Aborted(sent=True) from None
        try:
            yield seconds
        finally:
            running.is_in_line = False
            self._of_account.release(account, min(LONGEST_PAUSE, PAUSE_FACTOR * sum(seconds)))

    def _begin(self, running: Running) -> None:
        running.is_in_line = False
        if running.aborted_at is not None:
            raise Aborted(sent=True)
        running.go_on()
        self._current = running

    def vouch(self, running: Iterable[Running]) -> None:
        """Those that wait for their turn may do so until the current one has been given up, and for a while longer."""
        current = self._current
        for each in running:
            if each.is_in_line:
                each.until = (clock.monotonic() if current is None else current.until) + GRACE_SECONDS

    def wake(self) -> None:
        """Let those that were aborted while they waited leave."""
        self._of_account.wake()

"""When things happen, for tests in this process: clocks (waits that only give others time need not last), and gaps."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from common.kit import clock


class Hurried(clock.Clock):
    """No sleep lasts longer than a millisecond.

    Those of daemon threads are as long as they ask for: an earlier test may have left one behind, which would take what
    is meant for this one.
    """

    def sleep(self, seconds: float) -> None:
        if threading.current_thread().daemon:
            super().sleep(seconds)
        else:
            self.hurry(seconds)

    def hurry(self, seconds: float) -> None:
        super().sleep(min(seconds, 0.001))


class Fast(clock.Clock):
    """Ten seconds pass within one; sleeps last as long as they should by other clocks."""

    def monotonic(self) -> float:
        return 10 * super().monotonic()


class Stepped(Hurried):
    """Time passes when the test says so."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


class Gap(Hurried):
    """A clock in whose first sleep something happens: after the answer was lost, before anybody asks again."""

    def __init__(self, happens: Callable[[], object]) -> None:
        self._happens: Callable[[], object] | None = happens

    def hurry(self, seconds: float) -> None:
        happens, self._happens = self._happens, None
        if happens is not None:
            happens()
        super().hurry(seconds)


class Still(Gap):
    """A `Gap` in which time does not pass: no deadline comes, and whoever waits for one fails."""

    sleeps = 0

    def monotonic(self) -> float:
        return 0.0

    def hurry(self, seconds: float) -> None:
        self.sleeps += 1
        assert self.sleeps < 1000, "a wait that does not end by itself"
        super().hurry(seconds)


def once(function: Callable[[], object]) -> Callable[[], object]:
    """The first call calls `function`; the others do nothing, also those that it makes itself."""
    left = [function]

    def first() -> None:
        if left:
            left.pop()()

    return first


@contextmanager
def using(other: clock.Clock) -> Iterator[None]:
    """This process goes by `other` inside the block."""
    before = clock.use(other)
    try:
        yield
    finally:
        clock.use(before)


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """This process stands still: it has its connections and answers nothing."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)

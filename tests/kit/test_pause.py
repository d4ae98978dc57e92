"""After a failure a server is skipped for a moment, counted from the last failure."""

from __future__ import annotations

from common.kit import clock
from common.kit.pause import Pause


class Stopped(clock.Clock):
    """A clock that is moved by hand; a monotonic clock may begin anywhere."""

    seconds = -5.0

    def monotonic(self) -> float:
        return self.seconds


def test_from_the_last_failure_on() -> None:
    stopped = Stopped()
    before = clock.use(stopped)
    try:
        pause = Pause(2.0)
        assert not pause.active()
        pause.begin()
        stopped.seconds += 1.5
        pause.begin()
        stopped.seconds += 1.9
        assert pause.active()
        stopped.seconds += 0.2
        assert not pause.active()
        pause.begin()
        pause.end()
        assert not pause.active()
    finally:
        clock.use(before)

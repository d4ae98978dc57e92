"""Work waits in a line that is never too long: whoever would wait too long is told before anything is begun."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from itertools import count

import pytest

from common.kit.admission import BURST_SECONDS, CALM_SECONDS, LASTING_SECONDS, Admission, LineTooLong
from tests.client import eventually
from tests.timing import Stepped, using

WIDTH = 2
#: How long a piece takes, in seconds (a float that adds up).
STEP = 0.125


@pytest.fixture
def clock() -> Iterator[Stepped]:
    with using(stepped := Stepped()):
        yield stepped


class Line:
    """An admission whose pieces of work end when the test says so."""

    def __init__(self, clock: Stepped, threads: ThreadPoolExecutor, patience: float = 30.0) -> None:
        self.admission, self._clock, self._threads = Admission(WIDTH, patience, newest=1.0), clock, threads
        self.ends = list[threading.Event]()

    def come(self) -> Future[None]:
        """Somebody comes, and works or is in line when this returns, or was refused."""
        before = self._there()
        come = self._threads.submit(self._work)
        eventually(
            "it is there", 30, lambda: come.done() or (self._there() > before and self._works(min(WIDTH, before + 1)))
        )
        return come

    def end(self, pieces: int = 1) -> None:
        """So many of those at work end, the oldest first, and those in line move up."""
        for _ in range(pieces):
            left = self._there() - 1
            self.ends.pop(0).set()
            eventually("others work", 30, lambda left=left: self._there() == left and self._works(min(WIDTH, left)))

    def _works(self, many: int) -> bool:
        return len(self.ends) == many == len(self.admission._began)

    def take(self, seconds: float, pieces: int) -> None:
        """Pieces of work that take so long, one after the other."""
        for _ in range(pieces):
            self.come()
            self._clock.now += seconds
            self.end()

    def _work(self) -> None:
        with self.admission.permit():
            self.ends.append(end := threading.Event())
            end.wait()

    def _there(self) -> int:
        with self.admission._lock:
            return len(self.admission._began) + self.admission._in_line


@pytest.fixture
def line(clock: Stepped) -> Iterator[Line]:
    with ThreadPoolExecutor(40) as threads:
        line = Line(clock, threads)
        yield line
        while line._there():
            line.end()


def refused(come: Callable[[], Future[None]]) -> float:
    with pytest.raises(LineTooLong) as told:
        come().result(30)
    return told.value.seconds


def test_a_few_work_at_once_and_the_others_in_their_order(line: Line) -> None:
    for _ in range(WIDTH + 3):
        line.come()
    assert (len(line.admission._began), line.admission._in_line) == (WIDTH, 3)
    line.end(2)
    assert (len(line.admission._began), line.admission._in_line) == (WIDTH, 1)


def test_a_burst_may_wait_for_a_second(line: Line) -> None:
    line.take(STEP, 1)
    fits = int(BURST_SECONDS / STEP * WIDTH)
    waiting = [line.come() for _ in range(WIDTH + fits)]
    assert not any(each.done() for each in waiting)
    assert refused(line.come) == (fits + 1) * STEP / WIDTH


def test_the_line_of_a_lasting_overload_is_short(line: Line, clock: Stepped) -> None:
    line.take(STEP, 1)
    for _ in range(WIDTH + 10):
        line.come()
    for _ in range(int(BURST_SECONDS / STEP) - 1):
        clock.now += STEP
        line.end(WIDTH)
        for _ in range(WIDTH):
            assert not line.come().done()
    clock.now += STEP
    line.end(WIDTH)
    assert refused(line.come) == 9 * STEP / WIDTH
    for pieces in (WIDTH, WIDTH, WIDTH, 1):
        clock.now += STEP
        line.end(pieces)
    assert refused(line.come) == 2 * STEP / WIDTH > LASTING_SECONDS
    line.end()
    assert not line.come().done()
    assert refused(line.come) == 2 * STEP / WIDTH, "it was empty for a moment: that is no calm"
    line.end(3)
    clock.now += CALM_SECONDS
    for _ in range(WIDTH + 2):
        assert not line.come().done(), "nobody was refused for long: this is a burst again"


def test_asking_takes_no_place(line: Line, clock: Stepped) -> None:
    for _ in range(WIDTH + 1):
        line.come()
    for _ in range(3):
        line.admission.refuse_if_too_long()
    assert line.admission._in_line == 1
    clock.now += 1.5
    with pytest.raises(LineTooLong) as told:
        line.admission.refuse_if_too_long()
    assert told.value.seconds == refused(line.come) == pytest.approx(2 * 1.5 / WIDTH)


def test_who_is_announced_counts_as_if_in_line_and_is_not_refused_later(line: Line) -> None:
    line.take(STEP, 1)
    fits = int(BURST_SECONDS / STEP * WIDTH)
    for n in range(WIDTH + fits):
        line.admission.announce(n)
    with pytest.raises(LineTooLong) as told:
        line.admission.announce("one more")
    assert told.value.seconds == refused(line.come) == (fits + 1) * STEP / WIDTH
    line.admission.withdraw(0)
    assert not line.come().done(), "in the place of who is withdrawn"
    line.admission.announce_again(0)
    with line.admission.permit(1):
        assert 1 not in line.admission._announced


def test_a_line_of_those_announced_is_a_line(line: Line, clock: Stepped) -> None:
    """Where the process has no time for them, nobody stands before the permits."""
    line.take(STEP, 1)
    longest, pieces = list[int](), count()
    for _ in range(int(2 * BURST_SECONDS / STEP)):
        with suppress(LineTooLong):
            while True:
                line.admission.announce(next(pieces))
        longest.append(len(line.admission._announced))
        clock.now += STEP
        for piece in list(line.admission._announced)[:WIDTH]:
            line.admission.withdraw(piece)
    assert longest[0] == longest[7] == WIDTH + WIDTH * BURST_SECONDS / STEP
    assert longest[-1] == WIDTH + 1, "with one more the wait would be above a tenth of a second"


def test_who_is_announced_and_does_not_come_keeps_nobody_out(line: Line, clock: Stepped) -> None:
    line.take(STEP, 1)
    for n in range(int(BURST_SECONDS / STEP * WIDTH) + WIDTH):
        line.admission.announce(n)
    refused(line.come)
    clock.now += BURST_SECONDS + STEP
    assert not line.admission.is_busy()
    for _ in range(WIDTH):
        line.come()
    clock.now += 20
    with pytest.raises(LineTooLong), line.admission.permit(0):
        pass


def test_work_that_does_not_end_counts_as_long_as_it_has_taken(line: Line, clock: Stepped) -> None:
    for _ in range(WIDTH + 1):
        line.come()
    clock.now += 0.9
    assert not line.come().done()
    clock.now += 0.6
    assert refused(line.come) == pytest.approx(3 * 1.5 / WIDTH)


def test_nobody_waits_without_end(clock: Stepped) -> None:
    with ThreadPoolExecutor(4) as threads:
        line = Line(clock, threads, patience=0.01)
        line.come(), line.come()
        assert refused(line.come) == 0.01
        line.end(2)
        assert not line.come().done(), "its place is free again"
        line.end()


def test_work_that_fails_gives_its_place_back(clock: Stepped) -> None:
    admission = Admission(1, patience=0.01)
    for _ in range(3):
        with pytest.raises(LookupError), admission.permit():
            raise LookupError

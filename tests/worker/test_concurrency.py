"""Few threads compute at once; those waiting for a slow tool do not count; returning threads have priority."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from uuid import uuid4

from tests.timing import Stepped, using
from worker.concurrency import RETURNING_FACTOR, SLOW, STALLED, ConcurrencyLimiter

PATIENCE = 30


def until(true: Callable[[], bool]) -> bool:
    give_up = time.monotonic() + PATIENCE
    while not true() and time.monotonic() < give_up:
        time.sleep(0.002)
    return true()


class Crowd:
    """How many work, and how many ever did at once."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self._lock = threading.Lock()

    def change(self, by: int) -> None:
        with self._lock:
            self.now += by
            self.most = max(self.most, self.now)


def test_never_more_than_the_width_work_at_once() -> None:
    limiter, crowd = ConcurrencyLimiter(3), Crowd()

    def job(_: int) -> None:
        with limiter.slot():
            crowd.change(+1)
            time.sleep(0.002)  # of work
            crowd.change(-1)

    with using(Stepped()), ThreadPoolExecutor(20) as pool:  # no job seems to hang, however busy the machine is
        list(pool.map(job, range(60)))
    assert crowd.most == 3


def test_slow_calls_let_others_in_the_first_time_too() -> None:
    limiter, crowd, answered, tool = ConcurrencyLimiter(2), Crowd(), threading.Event(), uuid4()

    def job() -> None:
        with limiter.slot(), limiter.waiting(tool):
            crowd.change(+1)
            answered.wait(PATIENCE)

    threads = [threading.Thread(target=job) for _ in range(12)]
    for thread in threads:
        thread.start()
    assert until(lambda: crowd.now == 12), "a tool that hangs keeps nobody out"
    answered.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert limiter._holders == {}


def test_answers_come_back_a_few_at_a_time_and_before_new_jobs() -> None:
    limiter, tool, answered = ConcurrencyLimiter(1), uuid4(), threading.Event()
    crowd, out, order = Crowd(), Crowd(), list[str]()

    def call() -> None:
        with limiter.slot():
            with limiter.waiting(tool):
                out.change(+1)
                answered.wait(PATIENCE)
            crowd.change(+1)
            order.append("answer")
            time.sleep(0.005)  # of work
            crowd.change(-1)

    def later() -> None:
        with limiter.slot():
            order.append("new")

    threads = [threading.Thread(target=call) for _ in range(12)]
    for thread in threads:
        thread.start()
    assert until(lambda: out.now == 12)
    with limiter.slot():
        threads.append(threading.Thread(target=later))
        threads[-1].start()
        answered.set()
        assert until(lambda: limiter._returning > 0)
    for thread in threads:
        thread.join(PATIENCE)
    assert order == ["answer"] * 12 + ["new"]
    assert crowd.most <= RETURNING_FACTOR
    assert (limiter._holders, limiter._returning) == ({}, 0)


def test_no_new_job_goes_in_while_somebody_comes_back() -> None:
    """Although there is room: between two answers it would otherwise slip in."""
    limiter, entered = ConcurrencyLimiter(1), threading.Event()

    def job() -> None:
        with limiter.slot():
            entered.set()

    limiter._returning = 1
    thread = threading.Thread(target=job)
    thread.start()
    assert not entered.wait(0.1)
    limiter._returning = 0
    assert entered.wait(PATIENCE)
    thread.join(PATIENCE)


def test_one_slow_time_makes_no_slow_tool_and_many_do() -> None:
    limiter, tool, time_of_tools = ConcurrencyLimiter(1), uuid4(), Stepped()

    def call(seconds: float) -> None:
        with limiter.slot(), limiter.waiting(tool):
            time_of_tools.now += seconds

    def counts() -> int:
        with limiter.slot(), limiter.waiting(tool):
            return len(limiter._holders)

    with using(time_of_tools):
        call(0.0)
        call(4 * SLOW)
        assert counts() == 1, "what is quick as a rule is waited for inside"
        for _ in range(12):
            call(10 * SLOW)
        assert counts() == 0, "what has become slow makes room at once"


def test_whoever_hangs_inside_keeps_nobody_out_for_long() -> None:
    limiter, tool, on = ConcurrencyLimiter(1), uuid4(), threading.Event()
    done = list[str]()

    def hang() -> None:
        with limiter.slot():
            on.wait(PATIENCE)

    def call() -> None:
        with limiter.slot(), limiter.waiting(tool):
            time.sleep(2 * STALLED)  # so that it has to come back
        done.append("call")

    threads = [threading.Thread(target=each) for each in (hang, call, call)]
    for thread in threads:
        thread.start()
    assert until(lambda: done == ["call", "call"])
    on.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert (limiter._holders, limiter._returning) == ({}, 0)


def test_what_fails_inside_or_during_a_call_gives_its_slot_back() -> None:
    limiter, tool = ConcurrencyLimiter(1), uuid4()
    for _ in range(3):
        with suppress(ConnectionError), limiter.slot(), limiter.waiting(tool):
            time.sleep(2 * STALLED)  # so that it has to come back
            raise ConnectionError
    assert limiter._holders == {}


def test_work_elsewhere_leaves_the_slot_to_others() -> None:
    limiter = ConcurrencyLimiter(1)

    def job() -> str:
        with limiter.slot():
            return "done"

    with ThreadPoolExecutor(1) as pool:
        with limiter.slot():
            with limiter.released(), limiter.released():
                assert pool.submit(job).result(PATIENCE) == "done"
            assert [*limiter._holders] == [threading.get_ident()]
        assert limiter._holders == {}

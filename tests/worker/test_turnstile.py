"""Few threads work at once; whoever waits for a slow tool does not count; answers never wait."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from uuid import uuid4

from worker.turnstile import LONG, STALLED, Turnstile

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
    turnstile, crowd = Turnstile(3), Crowd()

    def job(_: int) -> None:
        with turnstile.inside():
            crowd.change(+1)
            time.sleep(0.002)
            crowd.change(-1)

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(job, range(60)))
    assert crowd.most == 3


def test_slow_calls_let_others_in_the_first_time_too() -> None:
    turnstile, crowd, answered, tool = Turnstile(2), Crowd(), threading.Event(), uuid4()

    def job() -> None:
        with turnstile.inside(), turnstile.waiting(tool):
            crowd.change(+1)
            answered.wait(PATIENCE)

    threads = [threading.Thread(target=job) for _ in range(12)]
    for thread in threads:
        thread.start()
    assert until(lambda: crowd.now == 12), "a tool that hangs keeps nobody out"
    answered.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert turnstile._inside == 0


def test_answers_go_back_in_at_once_and_new_jobs_wait_for_them() -> None:
    turnstile, tool, answered, end = Turnstile(1), uuid4(), threading.Event(), threading.Event()
    crowd, out, fresh = Crowd(), Crowd(), threading.Event()

    def call() -> None:
        with turnstile.inside():
            with turnstile.waiting(tool):
                out.change(+1)
                answered.wait(PATIENCE)
            crowd.change(+1)
            end.wait(PATIENCE)

    def later() -> None:
        with turnstile.inside():
            fresh.set()

    threads = [threading.Thread(target=call) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert until(lambda: out.now == 3)
    answered.set()
    assert until(lambda: crowd.now == 3)
    threads.append(threading.Thread(target=later))
    threads[-1].start()
    assert not fresh.wait(2 * STALLED), "three work already, where one should"
    end.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert fresh.is_set()
    assert turnstile._inside == 0


def test_one_slow_time_makes_no_slow_tool_and_many_do() -> None:
    turnstile, tool = Turnstile(1), uuid4()

    def call(seconds: float) -> None:
        with turnstile.inside(), turnstile.waiting(tool):
            time.sleep(seconds)

    def counts() -> int:
        with turnstile.inside(), turnstile.waiting(tool):
            return turnstile._inside

    call(0.0)
    turnstile._usual[tool] = 0.0  # however busy this machine is
    call(4 * LONG)
    assert counts() == 1, "what is quick as a rule is waited for inside"
    for _ in range(12):
        call(10 * LONG)
    assert counts() == 0, "what has become slow makes room at once"


def test_what_fails_inside_or_during_a_call_gives_its_place_back() -> None:
    turnstile, tool = Turnstile(1), uuid4()
    for _ in range(3):
        with suppress(ConnectionError), turnstile.inside(), turnstile.waiting(tool):
            time.sleep(2 * STALLED)
            raise ConnectionError
    assert turnstile._inside == 0

"""A thread that waits is woken by what would have been a message; whatever dies meanwhile, the work is found."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import redis as redis_py

from common import invocations
from common.invocations import sweeping
from common.kit import redis as redis_kit
from common.kit import seam
from common.queueing import messages, wakeups
from dev import platform as parts
from dev.supervisor import Supervisor
from tests import factories
from tests.conftest import ROOT
from tests.outside.tool import Tool
from worker import heartbeat, jobs
from worker.waiting import WaitingThreads

QUEUE = messages.QUEUES[messages.RUN_INVOCATION]
pytestmark = pytest.mark.usefixtures("db")


def notify() -> bool:
    return messages.notify(messages.RUN_INVOCATION)


def eventually(done: Callable[[], object], within: float = 30) -> None:
    deadline = time.monotonic() + within
    while not done():
        assert time.monotonic() < deadline, "it never came about"
        time.sleep(0.01)


def waiting() -> int:
    return int(redis_kit.client().zcard(wakeups.register(QUEUE)))


def wait(seconds: float = 1.0) -> bool:
    return wakeups.wait(redis_kit.client(), QUEUE, str(uuid4()), seconds)


def die_waiting(milliseconds: int = 60_000) -> None:
    """As a thread that dies when it has begun to wait."""
    redis_kit.run("wait", [wakeups.register(QUEUE), QUEUE, "of the dead"], [str(uuid4()), milliseconds])


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as several:
        yield several


@pytest.fixture
def meanwhile() -> Iterator[Callable[[str, Callable[[], object]], None]]:
    """Do something right before the first exchange with Redis that begins with this command."""
    before: dict[str, Callable[[], object]] = {}

    def hook(server: str, what: Any, _on: object, do: Callable[[], object]) -> object:
        first = str(what[0][0][0]) if server == "redis" and what and isinstance(what[0][0], tuple) else ""
        if happening := before.pop(first, None):
            happening()
        return do()

    seam.install(hook)
    yield before.__setitem__
    seam.install(None)


def test_each_notification_reaches_one_thread_or_the_queue(pool: ThreadPoolExecutor) -> None:
    threads = [pool.submit(wait, 1.9) for _ in range(3)]
    eventually(lambda: waiting() == 3)
    assert [notify() for _ in range(2)] == [True, True]
    assert messages.waiting(QUEUE) == 0
    assert sorted(each.result() for each in threads) == [False, True, True]
    assert notify()
    assert messages.waiting(QUEUE) == 1


def test_who_began_to_wait_last_is_woken(pool: ThreadPoolExecutor) -> None:
    """So that the others leave when there is too little to do for all."""
    first = pool.submit(wait, 1.9)
    eventually(lambda: waiting() == 1)
    second = pool.submit(wait, 1.9)
    eventually(lambda: waiting() == 2)
    notify()
    assert (first.result(), second.result()) == (False, True)


def notify_at_the_last_moment() -> None:
    """Also if the server's clock was set back."""
    for thread in redis_kit.client().zrange(wakeups.register(QUEUE), 0, -1):
        redis_kit.client().zadd(wakeups.register(QUEUE), {str(thread): 1e14})
    notify()


def test_a_wake_up_at_the_last_moment_counts(meanwhile: Callable[[str, Callable[[], object]], None]) -> None:
    meanwhile("ZREM", notify_at_the_last_moment)
    assert wait(0.01)
    assert not wait(0.01)
    assert messages.waiting(QUEUE) == 0


def test_a_wiped_redis_wakes_nobody_and_hides_nothing(meanwhile: Callable[[str, Callable[[], object]], None]) -> None:
    def wiped() -> None:
        redis_kit.client().flushall()
        notify()

    meanwhile("ZREM", wiped)
    assert not wait(0.01)
    assert messages.waiting(QUEUE) == 1


def test_work_whose_thread_died_while_it_waited_is_found_by_the_sweep() -> None:
    for _ in range(3):
        die_waiting()
    customer, tool = factories.customer(), factories.tool()
    customer.submit(tool)
    assert (waiting(), messages.waiting(QUEUE)) == (2, 0), "a dead one was told"
    assert sweeping.notify_for_ready(4) == 1
    assert messages.waiting(QUEUE) == 1


def test_nobody_waits_while_messages_do(meanwhile: Callable[[str, Callable[[], object]], None]) -> None:
    """The thread is needed for them."""
    notify()
    meanwhile("ZREM", notify_at_the_last_moment)
    assert not wait()
    assert messages.waiting(QUEUE) == 2, "it was not on the register when it left"


def test_nothing_is_sent_to_a_thread_whose_wait_would_be_over() -> None:
    for _ in range(2):
        die_waiting(1)
    time.sleep(0.01)  # longer than they would have waited
    assert notify()
    assert (waiting(), messages.waiting(QUEUE)) == (0, 1)


def test_a_thread_that_cannot_know_whether_it_was_woken_looks_once(
    meanwhile: Callable[[str, Callable[[], object]], None],
) -> None:
    def cut() -> None:
        raise redis_py.ConnectionError("cut")

    threads = WaitingThreads(threading.Event())
    for woken in (True, False):
        meanwhile("EVAL", cut)
        assert threads.wait(uuid4(), 4, 0.1) is woken


# -- a process -----------------------------------------------------------------------------------------------------


def test_no_more_than_half_of_the_threads_of_a_process_wait(pool: ThreadPoolExecutor) -> None:
    """The others are there for messages."""
    process, threads = uuid4(), WaitingThreads(threading.Event())
    assert not threads.wait(process, 1, 1.0)
    first = [pool.submit(threads.wait, process, 4, 1.0) for _ in range(2)]
    eventually(lambda: waiting() == 2)
    assert not threads.wait(process, 4, 1.0)
    assert waiting() == 2
    assert not any(each.result() for each in first)


def test_threads_of_a_process_that_stops_leave_at_once(pool: ThreadPoolExecutor) -> None:
    stopping = threading.Event()
    threads = WaitingThreads(stopping)
    threads.begin()
    popped: list[object] = []

    def hook(server: str, what: Any, _on: object, do: Callable[[], object]) -> object:
        answer: Any = do()
        if server == "redis" and isinstance(what, list) and what[0][0][0] == "EVAL":
            popped.append(answer[1] and answer[1][1])
        return answer

    seam.install(hook)
    try:
        leaving = [pool.submit(threads.wait, uuid4(), 4, 1.0) for _ in range(2)]
        eventually(lambda: waiting() == 2)
        stopping.set()
        assert not any(each.result() for each in leaving)
    finally:
        seam.install(None)
    assert popped == ["stop", "stop"], "nobody waited until the time was over"
    assert waiting() == 0
    assert not threads.wait(uuid4(), 4, 1.0)


def test_a_wake_up_for_a_process_that_stops_is_passed_on(
    meanwhile: Callable[[str, Callable[[], object]], None],
) -> None:
    stopping = threading.Event()

    def stops() -> None:
        notify_at_the_last_moment()
        stopping.set()

    meanwhile("ZREM", stops)
    assert not WaitingThreads(stopping).wait(uuid4(), 4, 0.1)
    assert messages.waiting(QUEUE) == 1, "others hear of it"


@pytest.fixture
def me() -> heartbeat.WorkerProcess:
    one = heartbeat.WorkerProcess()
    one.threads = 2
    one._heartbeat()
    return one


@pytest.mark.parametrize(("busy", "waits"), [(1, True), (2, False)])
def test_a_thread_waits_only_while_another_is_free(
    me: heartbeat.WorkerProcess, meanwhile: Callable[[str, Callable[[], object]], None], busy: int, waits: bool
) -> None:
    began: list[str] = []
    meanwhile("EVAL", lambda: began.append("to wait"))
    for _ in range(busy):
        me.job_started()
    jobs.run(me)
    assert bool(began) is waits


def test_a_thread_that_is_woken_before_a_shutdown_passes_it_on_after_it(
    me: heartbeat.WorkerProcess, pool: ThreadPoolExecutor
) -> None:
    """It waits for a compute slot in between."""
    job = pool.submit(jobs.run, me)
    eventually(waiting)
    with me.limiter._first:  # a slot's holder would be taken for hung after a second
        notify()
        eventually(lambda: not me.waiting._names)
        me.stopping.set()
    job.result()
    assert messages.waiting(QUEUE) == 1


# -- a real process ------------------------------------------------------------------------------------------------


def woken() -> float:
    return float(messages.MESSAGES.labels(QUEUE, "woken")._value.get())


def test_calls_without_a_message_each(environ: dict[str, str], tool: Tool, tmp_path: Path) -> None:
    """One job makes many calls. A process that is killed while it waits loses none."""
    customer, one = factories.customer(), factories.tool(endpoint_url=f"{tool.url}/echo")
    supervisor, before, made = Supervisor(environ, tmp_path, ROOT), woken(), []

    def submit() -> None:
        made.append(customer.submit(one))
        supervisor.wait_for(lambda: invocations.get(made[-1], None).ended, "its end", timeout=60)

    supervisor.start(parts.worker("invocations", 8))
    try:
        while woken() < before + 4:  # on a busy machine a thread may leave before the next call comes
            submit()
            assert len(made) < 50, "each came by a message"
        with messages.app().connection_for_write() as its:  # those of the pool may be broken since earlier tests
            ((_, stats),) = messages.app().control.inspect(timeout=5, connection=its).stats().items()
        assert stats["total"][messages.RUN_INVOCATION] < len(made)
        (child,) = supervisor.children.values()
        while not waiting():
            submit()
        child.kill()
        submit()
    finally:
        supervisor.stop()


def test_a_remote_shutdown_ends_waits_too(environ: dict[str, str], tool: Tool, tmp_path: Path) -> None:
    """Not only a signal: Flower shuts processes down by a command."""
    customer, one = factories.customer(), factories.tool(endpoint_url=f"{tool.url}/echo")
    supervisor = Supervisor(environ, tmp_path, ROOT)
    supervisor.start(parts.worker("invocations", 8))
    try:
        while not waiting():
            made = customer.submit(one)
            supervisor.wait_for(lambda: invocations.get(made, None).ended, "its end", timeout=60)  # noqa: B023
        with messages.app().connection_for_write() as its:
            messages.app().control.shutdown(connection=its)
        (child,), since = supervisor.children.values(), []
        while child.is_up:
            since.append(customer.submit(one))
            time.sleep(0.2)  # as calls come where there is little to do: each would find a thread that waits
            assert len(since) < 150, "it does not end"
        assert sum(invocations.get(each, None).ended for each in since) < 50
    finally:
        supervisor.stop()

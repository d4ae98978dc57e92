"""A tool that uses most threads of a process gets no more of them there, so that calls of other tools are begun."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from common.invocations import Task
from tests import factories
from worker.heartbeat import WorkerProcess
from worker.running import Running

THREADS, MOST = 10, 8


@pytest.fixture
def me() -> WorkerProcess:
    one = WorkerProcess()
    one.threads = THREADS
    return one


@pytest.fixture
def slow(db: None) -> list[Task]:
    """Calls of one tool, claimed."""
    customer, tool, worker = factories.customer(), factories.tool(), factories.worker()
    for _ in range(THREADS):
        customer.submit(tool)
    return [factories.taken(worker) for _ in range(THREADS)]


def begun(me: WorkerProcess, tasks: list[Task]) -> list[Running]:
    """Each in a thread of its own."""
    together = threading.Barrier(len(tasks))

    def begin(task: Task) -> Running:
        together.wait(10)
        return me.enter(task)

    with ThreadPoolExecutor(len(tasks)) as pool:
        return list(pool.map(begin, tasks))


def test_a_tool_with_most_threads_gets_no_more_until_one_is_free(me: WorkerProcess, slow: list[Task]) -> None:
    running = begun(me, slow[:MOST])
    assert me.crowded() == [slow[0].tool_id]
    me.leave(running[0])
    assert me.crowded() == []


@pytest.mark.parametrize("others", [MOST - 1, MOST])
def test_the_thread_that_asks_is_not_counted(me: WorkerProcess, slow: list[Task], others: int) -> None:
    me.enter(slow[0])
    begun(me, slow[1 : 1 + others])
    assert bool(me.crowded()) == (others == MOST)


def test_calls_that_one_thread_makes_one_after_the_other_count_once(me: WorkerProcess, slow: list[Task]) -> None:
    with ThreadPoolExecutor(1) as pool:
        list(pool.map(me.enter, slow))
    assert me.crowded() == []


def test_a_process_with_one_thread_leaves_nothing_out(me: WorkerProcess, slow: list[Task]) -> None:
    me.threads = 1
    begun(me, slow[:1])
    assert me.crowded() == []

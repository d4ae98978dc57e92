"""What a worker thread takes next is decided when it may take it, not when its last call began."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from common import invocations
from common.kit import db as database
from common.kit import failpoints, memory
from common.kit import redis as redis_kit
from common.queueing import messages
from common.tools import breaker_cache
from tests import factories
from tests.budgets import world
from tests.outside.tool import Tool
from tests.working import beat
from worker import heartbeat, runner


@pytest.fixture
def me(db: None) -> heartbeat.WorkerProcess:
    one = heartbeat.WorkerProcess()
    one.threads = 10
    one._heartbeat()
    return one


@pytest.fixture
def work(me: heartbeat.WorkerProcess) -> Iterator[Callable[[], threading.Thread]]:
    threads: list[threading.Thread] = []

    def start() -> threading.Thread:
        threads.append(threading.Thread(target=runner.work, args=(me,)))
        threads[-1].start()
        return threads[-1]

    yield start
    for thread in threads:
        thread.join(30)


def statuses(made: list[object]) -> list[str]:
    return [invocations.get(each, None).status for each in made]  # type: ignore[arg-type]


def eventually(done: Callable[[], object], within: float = 20) -> None:
    deadline = time.monotonic() + within
    while not done():
        assert time.monotonic() < deadline, "it never came about"
        time.sleep(0.01)


def test_a_process_that_stops_ends_what_it_runs_and_takes_nothing_more(
    me: heartbeat.WorkerProcess, work: Callable[[], threading.Thread], tool: Tool
) -> None:
    customer, slow = factories.customer(), factories.tool(endpoint_url=f"{tool.url}/echo?after=400")
    made: list[object] = [customer.submit(slow) for _ in range(2)]
    redis_kit.client().delete(messages.QUEUES[messages.RUN_INVOCATION])
    thread = work()
    eventually(lambda: len(me.running()) == 1)
    me.stop_claiming()
    thread.join(30)
    assert statuses(made) == ["succeeded", "queued"]
    assert messages.waiting(messages.QUEUES[messages.RUN_INVOCATION]) == 1, "others hear of it"


def test_a_tool_whose_breaker_opened_meanwhile_is_left_alone(
    me: heartbeat.WorkerProcess, work: Callable[[], threading.Thread], tool: Tool
) -> None:
    customer, bad = factories.customer(), factories.tool(endpoint_url=f"{tool.url}/echo?after=400")
    made: list[object] = [customer.submit(bad) for _ in range(2)]
    thread = work()
    eventually(lambda: len(me.running()) == 1)
    redis_kit.client().hset(breaker_cache.OPEN, str(bad.id), str(time.time()))
    memory.forget()
    thread.join(30)
    memory.forget()
    assert statuses(made) == ["succeeded", "queued"]
    assert {row[2] for row in world.open_rows().values()} == {0}, "taken and given back is taken"


def test_a_full_process_goes_on_with_the_tool_that_fills_it(
    me: heartbeat.WorkerProcess, work: Callable[[], threading.Thread], tool: Tool
) -> None:
    """The thread that comes free is counted no more: it needs no message to go on."""
    me.threads = 2  # one of them for one tool
    customer, one = factories.customer(), factories.tool(endpoint_url=f"{tool.url}/echo")
    made: list[object] = [customer.submit(one) for _ in range(5)]
    work().join(30)
    assert statuses(made) == ["succeeded"] * 5


def test_a_database_that_is_away_at_the_first_look_leaves_no_row_behind(
    me: heartbeat.WorkerProcess, work: Callable[[], threading.Thread], tool: Tool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "ORPHANED_SECONDS", 0.0)
    customer, one = factories.customer(), factories.tool(endpoint_url=f"{tool.url}/echo")
    made: list[object] = [customer.submit(one)]

    def away() -> None:
        raise database.Unreachable("away")

    with failpoints.calling("worker.after_claim", away):
        work().join(30)
    assert statuses(made) == ["running"]
    beat(me)
    assert statuses(made) == ["queued"]

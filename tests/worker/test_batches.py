"""A thread makes several quick calls in a row and stores their results together; whatever one of them does, the others
are stored, or called by somebody else."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from uuid import UUID

import pytest

from common import invocations
from common.kit import checker, failpoints
from common.kit import redis as redis_kit
from common.operations import ledger
from common.queueing import messages
from common.tools import ListedTool
from tests import factories
from tests.budgets import world
from tests.outside.tool import Tool
from worker import concurrency, heartbeat, runner, running
from worker.large_responses import LARGE


@pytest.fixture
def me(db: None, monkeypatch: pytest.MonkeyPatch) -> heartbeat.WorkerProcess:
    """It takes every tool for a quick one, and makes all calls of a batch, however busy the machine is."""
    monkeypatch.setattr(concurrency, "SLOW", 600.0)
    monkeypatch.setattr(running, "LONGEST", 600.0)
    one = heartbeat.WorkerProcess()
    one.threads = 10
    one._heartbeat()
    return one


def quick(me: heartbeat.WorkerProcess, *tools: ListedTool) -> None:
    """As if each had been called before."""
    for tool in tools:
        me.quick.note(tool.current)
        with me.limiter.waiting(tool.id):
            pass


def statuses(made: list[UUID]) -> list[str]:
    return [invocations.get(each, None).status for each in made]


def eventually(done: Callable[[], object], within: float = 20) -> None:
    deadline = time.monotonic() + within
    while not done():
        assert time.monotonic() < deadline, "it never came about"
        time.sleep(0.01)


class Counted:
    """How many results each statement has stored: one word to the gate for each."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> None:
        self.times += 1


def test_what_fails_in_a_batch_is_tried_again_and_the_rest_is_stored_together(
    me: heartbeat.WorkerProcess, tool: Tool
) -> None:
    customer = factories.customer()
    good = factories.tool(endpoint_url=f"{tool.url}/echo")
    bad = factories.tool(endpoint_url=f"{tool.url}/fail?status=503")
    quick(me, good, bad)
    made = [customer.submit(each) for each in (good, bad, good)]
    with failpoints.calling("worker.after_commit", stored := Counted()):
        runner.work(me)
    assert statuses(made) == ["succeeded", "queued", "succeeded"]
    assert stored.times == 2, "the retry by itself, the results together"
    assert me.running() == []
    assert ledger.verify().differences == ()


def test_large_results_are_stored_one_by_one(me: heartbeat.WorkerProcess, tool: Tool) -> None:
    customer, large = factories.customer(), factories.tool(endpoint_url=f"{tool.url}/large?size={2 * LARGE}")
    quick(me, large)
    made = [customer.submit(large) for _ in range(3)]
    with failpoints.calling("worker.after_commit", stored := Counted()):
        runner.work(me)
    assert statuses(made) == ["succeeded"] * 3
    assert stored.times == 3


def test_a_process_that_stops_hands_back_what_it_has_not_begun(me: heartbeat.WorkerProcess, tool: Tool) -> None:
    customer, one = factories.customer(), factories.tool(endpoint_url=f"{tool.url}/echo")
    quick(me, one)
    made = [customer.submit(one) for _ in range(3)]
    redis_kit.client().delete(messages.QUEUES[messages.RUN_INVOCATION])
    with failpoints.calling("worker.response_read", me.stop_claiming):
        runner.work(me)
    assert statuses(made) == ["succeeded", "queued", "queued"]
    assert {row[2] for row in world.open_rows().values()} == {0}, "not tried"
    assert messages.waiting(messages.QUEUES[messages.RUN_INVOCATION]) > 0, "others hear of it"


def test_nothing_waits_for_a_call_that_takes_unexpectedly_long(
    me: heartbeat.WorkerProcess, tool: Tool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "STALLED", 0.0)
    customer = factories.customer()
    good, slow = factories.tool(endpoint_url=f"{tool.url}/echo"), factories.tool(endpoint_url=f"{tool.url}/hang")
    quick(me, good, slow)
    made = [customer.submit(each) for each in (good, slow, good)]
    thread = threading.Thread(target=runner.work, args=(me,))
    thread.start()
    eventually(lambda: any(call.path.startswith("/hang") for call in tool.calls()))
    assert statuses(made) == ["running"] * 3
    me._heartbeat()
    eventually(lambda: statuses(made) == ["succeeded", "running", "queued"])
    runner.work(heartbeat_of_another())
    assert statuses(made) == ["succeeded", "running", "succeeded"]
    assert len(me.running()) == 1
    invocations.cancel(customer.caller, made[1])
    me._heartbeat()
    thread.join(30)
    assert statuses(made) == ["succeeded", "canceled", "succeeded"]
    assert me.running() == []
    assert ledger.verify().differences == ()


def test_nothing_waits_for_a_check_that_may_have_to_wait(
    me: heartbeat.WorkerProcess, tool: Tool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An account whose checks take long waits for its own, and would have others wait with it."""
    monkeypatch.setattr(checker, "TURN_SECONDS", 600.0)
    mallory, alice = factories.customer(), factories.customer()
    good = factories.tool(endpoint_url=f"{tool.url}/echo")
    deep = factories.tool(endpoint_url=f"{tool.url}/echo", output_schema={"items": {"$ref": "#"}})
    quick(me, good, deep)
    checker.first.used.add(mallory.user_id, 600.0)
    made = [alice.submit(good), mallory.submit(deep), alice.submit(good)]
    with checker.second.turns.turn(None, 0):
        thread = threading.Thread(target=runner.work, args=(me,))
        thread.start()
        eventually(lambda: statuses(made) == ["succeeded", "running", "queued"])
        runner.work(heartbeat_of_another())
        assert statuses(made) == ["succeeded", "running", "succeeded"]
        assert me.quick.versions() == (good.current.id,)
    thread.join(30)
    assert statuses(made) == ["succeeded"] * 3
    assert me.running() == []


def test_nothing_waits_for_large_responses(me: heartbeat.WorkerProcess, tool: Tool) -> None:
    mallory, alice = factories.customer(), factories.customer()
    good = factories.tool(endpoint_url=f"{tool.url}/echo")
    large = factories.tool(endpoint_url=f"{tool.url}/large?size={2 * LARGE}")
    quick(me, good, large)
    made = [mallory.submit(large), alice.submit(good)]
    with me.large_responses._turn:
        thread = threading.Thread(target=runner.work, args=(me,))
        thread.start()
        eventually(lambda: statuses(made) == ["running", "queued"])
        runner.work(heartbeat_of_another())
        assert statuses(made) == ["running", "succeeded"]
    thread.join(30)
    assert statuses(made) == ["succeeded"] * 2


def heartbeat_of_another() -> heartbeat.WorkerProcess:
    other = heartbeat.WorkerProcess()
    other._heartbeat()
    return other


def test_only_what_may_be_repeated_and_shows_nothing_meanwhile_is_claimed_together(me: heartbeat.WorkerProcess) -> None:
    tools = [
        factories.tool(),
        factories.tool(idempotent=False),
        factories.tool(max_attempts=1),
    ]
    quick(me, *tools)
    assert me.quick.versions() == (tools[0].current.id,)
    unknown = factories.tool()
    me.quick.note(unknown.current)
    assert unknown.current.id not in me.quick.versions(), "nobody knows how long it takes"


def test_a_thread_is_busy_once_however_many_calls_it_has_in_hand(me: heartbeat.WorkerProcess) -> None:
    customer, tool, worker = factories.customer(), factories.tool(), factories.worker()
    tasks = [factories.taken(worker) for _ in range(3) if customer.submit(tool)]
    first, second = me.enter(tasks[0]), me.enter(tasks[1])
    assert busy() == 1
    other = threading.Thread(target=me.enter, args=(tasks[2],))
    other.start()
    other.join()
    assert busy() == 2
    me.progress.clear()
    me.leave(first)
    assert (busy(), me.progress.is_set()) == (2, True)
    me.leave(second)
    assert busy() == 1
    me.leave(next(each for each in me.running() if each.task is tasks[2]))
    assert busy() == 0


def busy() -> float:
    return next(iter(heartbeat.BUSY.collect())).samples[0].value

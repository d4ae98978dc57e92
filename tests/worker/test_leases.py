"""A worker that lives keeps the calls that have been answered, however long their results wait; what hangs is given up.

Leases end here as soon as the test says so, as if the wait had taken longer than they last.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from uuid import UUID

import pytest
from sqlalchemy import text

from common import invocations
from common.invocations import Lease, reclaiming, sweeping
from common.kit import checker, failpoints
from common.kit import db as database
from common.tools import ListedTool
from tests import factories
from tests.budgets import world
from tests.factories import GOOD, Customer
from tests.outside.tool import Tool
from tests.worker.test_batches import eventually, heartbeat_of_another, quick, statuses
from worker import concurrency, heartbeat, runner, running
from worker.large_responses import LARGE, LargeResponses
from worker.running import Running

PATIENCE = 30


@pytest.fixture
def me(db: None) -> heartbeat.WorkerProcess:
    one = heartbeat.WorkerProcess()
    one.threads = 10
    one._heartbeat()
    return one


def once(url: str, **changes: object) -> ListedTool:
    """A tool that must not be called again: what is lost of it is lost for good."""
    return factories.tool(endpoint_url=url, idempotent=False, max_attempts=1, **changes)


def begin(me: heartbeat.WorkerProcess, count: int = 1) -> list[threading.Thread]:
    """So many threads of the process work on what is due."""
    threads = [threading.Thread(target=runner.work, args=(me,), daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    return threads


def join(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()


def leases_end(me: heartbeat.WorkerProcess, made: list[UUID]) -> None:
    """They would have; the process lives, and the sweep runs."""
    world.shift("lease_expires_at", made, -3600)
    me._heartbeat()
    sweeping.reap_dead_processes()


# -- waits after the answer ----------------------------------------------------------------------------------------

Wait = Callable[[heartbeat.WorkerProcess, Customer], AbstractContextManager[Callable[[], object]]]


@contextmanager
def in_line(me: heartbeat.WorkerProcess, _customer: Customer) -> Iterator[Callable[[], object]]:
    """One waits for the large response of another account, the others for that one."""
    with me.large_responses._turn:
        yield lambda: [each.is_in_line for each in me.running()] == [True] * 3


@contextmanager
def for_a_check(me: heartbeat.WorkerProcess, customer: Customer) -> Iterator[Callable[[], object]]:
    checker.first.used.add(customer.user_id, 600.0)
    with checker.second.turns.turn(None, 0):
        yield lambda: [each.is_alone for each in me.running()] == [True] * 3


@contextmanager
def for_a_slot(me: heartbeat.WorkerProcess, _customer: Customer) -> Iterator[Callable[[], object]]:
    others = range(-concurrency.RETURNING_FACTOR * concurrency.SLOTS, 0)
    me.limiter._holders.update(dict.fromkeys(others, math.inf))
    yield lambda: len(me.limiter.returning) == 3
    me.limiter._holders.clear()


@pytest.mark.parametrize("wait", [in_line, for_a_check, for_a_slot])
def test_what_waits_after_its_answer_is_not_lost(
    me: heartbeat.WorkerProcess, tool: Tool, wait: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checker, "TURN_SECONDS", 600.0)
    monkeypatch.setattr(concurrency, "SLOW", -1.0)
    customer = factories.customer()
    large = once(f"{tool.url}/large?size={2 * LARGE}")
    checked = once(f"{tool.url}/echo", output_schema={"items": {"$ref": "#"}})
    made = [customer.submit(checked if wait is for_a_check else large) for _ in range(3)]
    with wait(me, customer) as everybody_waits:
        threads = begin(me, 3)
        eventually(everybody_waits)
        for _ in range(2):
            leases_end(me, made)
        assert statuses(made) == ["running"] * 3
    join(threads)
    assert statuses(made) == ["succeeded"] * 3


def test_what_is_being_stored_is_not_lost_alone_or_together(
    me: heartbeat.WorkerProcess, tool: Tool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For as long as it is tried. (The rows are gone where the test looks, but nobody knows that yet.)"""
    monkeypatch.setattr(concurrency, "SLOW", 600.0)
    monkeypatch.setattr(running, "LONGEST", 600.0)
    customer, echo = factories.customer(), factories.tool(endpoint_url=f"{tool.url}/echo")
    seen: list[list[Lease]] = []
    for count in (1, 3):
        made = [customer.submit(echo) for _ in range(count)]
        with failpoints.calling("worker.after_commit", lambda: seen.append(running.leases(me.running()))):
            runner.work(me)
        assert statuses(made) == ["succeeded"] * count
        quick(me, echo)
    assert [len(each) for each in seen] == [1, 3]
    assert all(lease.seconds > running.STORING - PATIENCE for each in seen for lease in each)


def test_a_lease_that_ended_while_postgresql_was_away_is_renewed_first(db: None) -> None:
    """Whoever sweeps first: without a heartbeat since, nobody knows whether the process still works on it."""
    customer, tool, worker = factories.customer(), once("http://127.0.0.1:9/"), factories.worker()
    made = [customer.submit(tool) for _ in range(2)]
    kept, hung = [factories.taken(worker) for _ in made]
    silent = text("update processes set heartbeat_at = now() - interval '15 s' where id = :id")
    database.rowcount(silent, {"id": worker.worker})
    database.rowcount(text("update queue set lease_expires_at = now() - interval '5 s'"), {})
    assert sweeping.reap_dead_processes() == 0
    lease = Lease(kept.id, kept.token, 60.0)
    foreign = Lease(hung.id, kept.token, 60.0)
    invocations.heartbeat(worker.worker, name="test", progress=True, stopping=False, leases=[lease, foreign])
    assert sweeping.reap_dead_processes() == 1, "the other one"
    invocations.complete(kept, GOOD, worker)
    assert sorted(statuses(made)) == ["failed", "succeeded"]


def test_a_process_that_cannot_renew_is_not_suspected_by_its_own_sweep(db: None) -> None:
    """That comes right after the heartbeat, in the same thread, and waits for the same lock."""
    worker = factories.worker().worker
    database.rowcount(
        text("update processes set heartbeat_at = now() - interval '60 s' where id = :id"), {"id": worker}
    )
    said = {"id": worker, "kind": "worker", "name": "test", "stopping": False, "progress": True, "renewed": False}
    database.execute(reclaiming.HEARTBEAT, said)
    assert database.rowcount(reclaiming.SUSPECT, {}) == 0
    database.execute(reclaiming.HEARTBEAT, {**said, "renewed": True})
    suspected = text("select 1 from processes where id = :id and suspect_at is not null")
    with database.transaction() as session:
        assert session.execute(suspected, {"id": worker}).all() == []


# -- what hangs ----------------------------------------------------------------------------------------------------


def test_what_hangs_where_nothing_can_interrupt_it_is_given_up(me: heartbeat.WorkerProcess, tool: Tool) -> None:
    """Between its answer and its end; so is whoever waits for it."""
    on, customer = threading.Event(), factories.customer()
    made = [customer.submit(once(f"{tool.url}/echo"))]
    with failpoints.calling("worker.response_read", lambda: on.wait(PATIENCE)):
        threads = begin(me)
        eventually(lambda: len(tool.calls()) == 1)
        leases_end(me, made)
        assert statuses(made) == ["failed"]
        on.set()
        join(threads)
    assert statuses(made) == ["failed"]


def test_who_waits_for_what_hangs_is_given_up_after_it(me: heartbeat.WorkerProcess) -> None:
    tasks, line = [], LargeResponses(me.limiter)
    customer, tool, worker = factories.customer(), factories.tool(), factories.worker()
    for _ in range(2):
        customer.submit(tool)
        tasks.append(factories.taken(worker))
    current, waiting = map(Running, tasks)
    waiting.is_in_line = True
    with line.turn(current, LARGE + 1):
        line.vouch([waiting])
        assert 0 < current.until < waiting.until
        before = waiting.until
        line.vouch([waiting])
        assert waiting.until == before, "not for ever"
        current.go_on(running.STORING)
        line.vouch([waiting])
        assert waiting.until > before


def test_who_is_canceled_while_it_waits_leaves_at_once(me: heartbeat.WorkerProcess, tool: Tool) -> None:
    customer, large = factories.customer(), once(f"{tool.url}/large?size={2 * LARGE}")
    made = [customer.submit(large) for _ in range(3)]
    with me.large_responses._turn:
        threads = begin(me, 3)
        eventually(lambda: [each.is_in_line for each in me.running()] == [True] * 3)
        for each in made:
            invocations.cancel(customer.caller, each)
        me._heartbeat()
        eventually(lambda: sorted(statuses(made)) == ["canceled", "canceled", "running"])
    join(threads)
    assert statuses(made) == ["canceled"] * 3


def test_a_thread_that_waits_for_a_slot_has_not_claimed_anything(me: heartbeat.WorkerProcess, tool: Tool) -> None:
    """Or the next call would wait with it, begun by nobody, until it counts as lost."""
    customer, large = factories.customer(), once(f"{tool.url}/large?size={2 * LARGE}")
    made = [customer.submit(each) for each in (large, once(f"{tool.url}/echo"))]
    others = range(-concurrency.RETURNING_FACTOR * concurrency.SLOTS, 0)
    taken = dict.fromkeys(others, math.inf)

    def job() -> None:
        with me.limiter.slot():
            runner.work(me)

    thread = threading.Thread(target=job, daemon=True)
    with failpoints.calling("worker.after_commit", lambda: me.limiter._holders.update(taken)):
        thread.start()
        eventually(lambda: me.limiter.returning and statuses(made)[0] == "succeeded")
        assert statuses(made) == ["succeeded", "queued"]
        runner.work(heartbeat_of_another())
    me.limiter._holders.clear()
    join([thread])
    assert statuses(made) == ["succeeded"] * 2

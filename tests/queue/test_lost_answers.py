"""The server does what it was told, and nobody hears of it: what was taken is kept, what was ended is settled once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import psycopg
import pytest
from psycopg.pq import TransactionStatus
from sqlalchemy import text

from common import budgets, invocations
from common.errors import AlreadyFinished, DependencyUnavailable, NotFound
from common.invocations import ClaimOptions, Task, reclaiming, sweeping
from common.kit import db, failpoints
from common.kit.db import pool
from common.kit.outbound import Aborted
from common.operations import ledger
from common.settings import Settings
from tests import factories
from tests.budgets import world
from tests.factories import BAD, GOOD
from tests.plain import plain
from tests.queue.proxy import Proxy
from tests.timing import Gap, using
from tests.working import beat
from worker import heartbeat


@pytest.fixture
def proxy(db: None, settings: Settings, hurried: None) -> Iterator[Proxy]:
    """All connections of this process go through it."""
    with Proxy(settings.database_url) as proxy:
        database.connect(proxy.url, pool_size=20, application_name="test-proxied", shared=settings.shares_connections)
        yield proxy
        database.connect(
            settings.database_url, pool_size=20, application_name="test", shared=settings.shares_connections
        )


database = db


def status(made: object) -> str:
    return str(plain(text("select status from invocations where id = :id"), {"id": made})[0].status)


def all_is_right() -> None:
    assert budgets.free_orphans(older_than=-1) == 0
    assert ledger.verify().differences == ()


#: A piece of each statement that no other has.
SUBMIT, END_AND_TAKE, END_TOGETHER, RETRY_AND_TAKE, TAKE = (
    "insert into idempotency_keys",
    "from f left join hu on true left join t",
    "json_to_recordset",
    "w.claimed_at",
    "from t join",
)


def test_a_submit_whose_answer_is_lost_is_stored_once(proxy: Proxy) -> None:
    customer, tool = factories.customer(), factories.tool()
    customer.submit(tool)
    proxy.lose_next(SUBMIT)
    made = customer.submit(tool, idempotency_key="k")
    assert proxy.lost == 1
    assert customer.submit(tool, idempotency_key="k") == made
    assert len(world.open_rows()) == 2
    all_is_right()


@pytest.mark.parametrize(
    ("statement", "write", "after"),
    [
        (END_AND_TAKE, lambda task, worker: invocations.complete(task, GOOD, worker), "succeeded"),
        (RETRY_AND_TAKE, lambda task, worker: invocations.retry_later(task, BAD, 30.0, worker), "open"),
    ],
    ids=["end", "retry"],
)
def test_a_write_whose_answer_is_lost_is_kept_with_what_it_claimed(
    proxy: Proxy, statement: str, write: Callable[[Task, ClaimOptions], Task | None], after: str
) -> None:
    customer, tool, worker = factories.customer(at_once=1), factories.tool(), factories.worker()
    first, second, _ = (customer.submit(tool) for _ in range(3))
    task = factories.taken(worker)
    proxy.lose_next(statement)
    following = write(task, worker)
    assert proxy.lost == 1
    assert following is not None and following.id == second
    assert status(first) == after
    all_is_right()


def test_several_ends_whose_answer_is_lost_are_kept_with_what_was_claimed(proxy: Proxy) -> None:
    customer, tool, worker = factories.customer(), factories.tool(), factories.worker()
    made = [customer.submit(tool) for _ in range(5)]
    options = replace(worker, most=3, quick=(tool.current.id,))
    ends = [(task, GOOD) for task in invocations.claim_several(options)]
    proxy.lose_next(END_TOGETHER)
    following = invocations.complete_together(ends, options)
    assert proxy.lost == 1
    assert [task.id for task in following] == made[3:]
    assert [status(each) for each in made] == ["succeeded"] * 3 + ["open"] * 2
    all_is_right()


def test_a_take_whose_answer_is_lost_is_found(proxy: Proxy) -> None:
    customer, worker = factories.customer(), factories.worker()
    made = customer.submit(factories.tool())
    proxy.lose_next(TAKE)
    assert factories.taken(worker).id == made
    assert proxy.lost == 1


@pytest.fixture
def impatient(db: None, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """New connections, whose statements wait 50 ms for a lock; the tests after this one have others."""

    def connect() -> None:
        database.connect(
            settings.database_url, pool_size=20, application_name="test", shared=settings.shares_connections
        )

    with monkeypatch.context() as patched:
        patched.setattr(pool, "LOCK_TIMEOUT_MS", 50)
        connect()
        yield
    connect()


@pytest.mark.parametrize("good", [True, False])
def test_an_end_that_stands_in_the_way_is_written_when_it_can_be(
    impatient: None, settings: Settings, good: bool
) -> None:
    """Refused by the server (a lock): nothing was done, and nothing becomes a failure by that."""
    customer, worker = factories.customer(), factories.worker()
    made = customer.submit(factories.tool())
    task = factories.taken(worker)
    with psycopg.connect(settings.database_url) as blocker:
        blocker.execute("select 1 from queue where id = %s for update", (made,))
        with using(Gap(blocker.rollback)):
            if good:
                invocations.complete(task, GOOD, worker)
            else:
                invocations.retry_later(task, BAD, 30.0, worker)
        assert blocker.info.transaction_status == TransactionStatus.IDLE, "it had to wait"
    assert status(made) == ("succeeded" if good else "open")


# -- cancel and give back ------------------------------------------------------------------------------------------


def test_a_canceled_task_that_is_given_back_ends(db: None) -> None:
    customer, worker = factories.customer(), factories.worker()
    made = customer.submit(factories.tool())
    task = factories.taken(worker)
    assert invocations.cancel(customer.caller, made) is False
    invocations.give_back(task)
    assert status(made) == "canceled"


def test_what_was_shown_of_a_canceled_stream_is_lost_with_its_worker(db: None) -> None:
    """Its log may be lost too, so it decides nothing: nothing is kept, and nothing charged."""
    customer, worker = factories.customer(), factories.worker()
    made = customer.submit(factories.tool())
    task = factories.taken(worker)
    assert invocations.mark_dispatched(task), "before the first part"
    assert invocations.cancel(customer.caller, made) is False
    reclaiming.leave(worker.worker)
    assert sweeping.reap_dead_processes() == 1
    [row] = plain(text("select status, output, charged, basis from invocations"), {})
    assert (row.status, row.output, row.charged, row.basis) == ("canceled", None, 0, None)
    assert ledger.verify().differences == ()


def test_a_task_that_is_given_back_has_not_been_tried(db: None) -> None:
    customer, worker = factories.customer(), factories.worker()
    customer.submit(factories.tool())
    invocations.give_back(factories.taken(worker))
    again = factories.taken(worker)
    assert again.attempt == 1
    invocations.complete(again, GOOD, worker)
    assert ledger.verify().differences == ()


def test_cancel_finds_its_row_however_often_it_changes_sides(db: None) -> None:
    """Between any two questions the row is taken or put back: never is an open one called finished."""
    customer, worker = factories.customer(), factories.worker()
    made = customer.submit(factories.tool())
    task, flips = None, 6

    def is_taken() -> None:
        nonlocal task, flips
        if flips > 0:
            flips, task = flips - 1, factories.taken(worker)

    def is_given_back() -> None:
        nonlocal task, flips
        if task is not None and flips > 0:
            flips -= 1
            invocations.give_back(task)

    with (
        failpoints.calling("cancel.before_queued", is_taken),
        failpoints.calling("cancel.before_running", is_given_back),
    ):
        assert invocations.cancel(customer.caller, made) is True
        flips = 0
        with pytest.raises(AlreadyFinished):
            invocations.cancel(customer.caller, made)
        with pytest.raises(NotFound):
            invocations.cancel(factories.user(), made)
        other = customer.submit(factories.tool())
        flips = 1000
        with pytest.raises(DependencyUnavailable):
            invocations.cancel(customer.caller, other)


# -- a process that lives and has lost sight of a row ----------------------------------------------------------------


@pytest.fixture
def me(monkeypatch: pytest.MonkeyPatch, db: None) -> heartbeat.WorkerProcess:
    monkeypatch.setattr(heartbeat, "ORPHANED_SECONDS", 0.0)
    one = heartbeat.WorkerProcess()
    one._heartbeat()
    return one


def test_a_row_that_no_thread_works_on_is_picked_up(me: heartbeat.WorkerProcess) -> None:
    customer = factories.customer()
    made = customer.submit(factories.tool())
    task = factories.taken(ClaimOptions(me.id))
    running = me.enter(task)
    beat(me)
    assert world.open_rows()[made][0] == task.token, "it is being worked on"
    me.leave(running)
    beat(me)
    assert world.open_rows()[made] == (None, 10, 1)
    world.shift("due_at", [made], -5)
    sweeping.place_waiting([])
    assert factories.taken(ClaimOptions(me.id)).attempt == 2


def test_a_call_that_was_canceled_or_lost_its_row_is_cut_off(me: heartbeat.WorkerProcess) -> None:
    customer, tool = factories.customer(), factories.tool()
    made = [customer.submit(tool) for _ in range(3)]
    running = [me.enter(factories.taken(ClaimOptions(me.id))) for _ in made]
    invocations.cancel(customer.caller, running[0].task.id)
    invocations.take_over(me.id, [running[1].task.token])
    me._heartbeat()
    for each in running[:2]:
        with pytest.raises(Aborted):
            each.call.check()
    running[2].call.check()


def test_claim_options_that_take_nothing_next_claim_nothing(db: None) -> None:
    customer, tool, worker = factories.customer(at_once=1), factories.tool(), factories.worker()
    for _ in range(2):
        customer.submit(tool)
    assert invocations.complete(factories.taken(worker), GOOD, replace(worker, take_next=False)) is None
    assert world.busy()[customer.period_id] == (1, 0), "the successor is ready, nobody runs it"


# -- a worker that wakes while its row is being taken back ------------------------------------------------------------


@pytest.mark.parametrize("calls_first", [False, True])
def test_a_call_that_must_not_be_repeated_is_made_once(db: None, calls_first: bool) -> None:
    """Whoever is first wins: the call that goes out, or the sweep that takes the row over."""
    customer, tool, worker = factories.customer(), factories.tool(idempotent=False), factories.worker()
    made = customer.submit(tool)
    task = factories.taken(worker)
    invocations.leave(worker.worker)
    if calls_first:
        assert invocations.mark_dispatched(task)
        sweeping.reap_dead_processes()
        assert world.ended_rows()[made].status == "failed"
        return
    taken_over = database.execute(reclaiming.TAKE_OVER_LOST, {"limit": 10})
    assert not invocations.mark_dispatched(task), "it is too late for a call"
    reclaiming.requeue_or_fail(taken_over)
    assert world.open_rows()[made] == (None, 10, 1)


def test_a_sweep_that_dies_after_it_took_rows_over_is_followed_by_another(db: None) -> None:
    customer, worker = factories.customer(), factories.worker()
    made = customer.submit(factories.tool())
    factories.taken(worker)
    invocations.leave(worker.worker)
    assert len(database.execute(reclaiming.TAKE_OVER_LOST, {"limit": 10})) == 1
    assert sweeping.reap_dead_processes() == 1
    assert world.open_rows()[made] == (None, 10, 1)

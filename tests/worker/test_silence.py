"""A worker that lives is not silent, whatever else it has to wait for: locks in PostgreSQL, a Redis that is frozen."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import text

from common import budgets, invocations
from common.invocations import GRACE_SECONDS, ClaimOptions, Lease, Task, sweeping
from common.kit import apart, failpoints
from common.kit import db as database
from common.kit.redis import failing
from common.settings import Settings
from dev.servers import Redis
from tests import factories
from tests.factories import GOOD, Customer
from tests.plain import plain
from tests.timing import frozen
from tests.worker.test_batches import eventually, statuses
from worker import heartbeat
from worker.heartbeat import WorkerProcess
from worker.running import Batch, Running, leases

#: Heartbeats that come one after the other are a second apart; one that waits would be much longer in coming.
BEATS, PATIENCE = 2, 15
#: Seconds that a lease has left, to see whether heartbeats renew it.
SHORTLY = 8.0


@pytest.fixture
def me(db: None) -> Iterator[WorkerProcess]:
    one = WorkerProcess()
    one.threads = 10
    one.begin("invocations@test")
    assert one.known()
    yield one
    one.end()


@contextmanager
def locked(settings: Settings, table: str) -> Iterator[None]:
    with psycopg.connect(settings.database_url) as connection:
        connection.execute(f"lock table {table} in access exclusive mode")
        yield


def last_beat(me: WorkerProcess) -> datetime:
    ((at,),) = plain(text("select heartbeat_at from processes where id = :id"), {"id": me.id})
    return at  # type: ignore[no-any-return]


def lease_left(made: UUID, seconds: float) -> None:
    """Have its lease end so soon."""
    moment = text("update queue set lease_expires_at = now() + make_interval(secs => :left) where id = :id returning 1")
    assert plain(moment, {"id": made, "left": seconds}) == [(1,)]


def lease_of(made: UUID) -> float:
    """For how many more seconds it has its lease."""
    left = text("select extract(epoch from lease_expires_at - now())::float8 from queue where id = :id")
    ((seconds,),) = plain(left, {"id": made})
    return float(seconds)


def goes_on(me: WorkerProcess) -> bool:
    """Whether its heartbeats do."""
    seen = {last_beat(me)}

    def has_beaten() -> bool:
        seen.add(last_beat(me))
        return len(seen) > BEATS

    eventually(has_beaten, PATIENCE)
    return True


def claimed(me: WorkerProcess, customer: Customer) -> list[Running]:
    """Three quick calls, claimed together."""
    tool = factories.tool()
    for _ in range(3):
        customer.submit(tool)
    options = ClaimOptions(me.id, most=3, quick=(tool.current.id,))
    return [me.enter(task) for task in invocations.claim_several(options)]


@contextmanager
def stalled(me: WorkerProcess, calls: list[Running]) -> Iterator[Batch]:
    """The first has been answered, the second takes long."""
    with me.batches.begin(calls, me.leave) as batch:
        first = batch.next()
        assert first is not None
        batch.put(first, GOOD)
        batch.next()
        yield batch


def held(count: int) -> tuple[UUID, list[UUID]]:
    """Calls that must not be repeated, and their worker, which will be gone."""
    customer, tool, worker = factories.customer(), factories.tool(idempotent=False), factories.worker()
    made = [customer.submit(tool) for _ in range(count)]
    for _ in made:
        task: Task = factories.taken(worker)
        assert invocations.mark_dispatched(task)
    return worker.worker, made


def lost(count: int) -> list[UUID]:
    worker, made = held(count)
    invocations.leave(worker)
    return made


def test_its_statements_wait_for_a_lock_for_a_moment(db: None, settings: Settings) -> None:
    """Each of them, of which some come one after the other. (A pooler sets what all wait for.)"""
    with database.private("test", heartbeat.LOCK_TIMEOUT_MS):
        waits = plain(text("show lock_timeout"), {})[0][0]
    assert waits == ("5s" if settings.shares_connections else "2s")


@contextmanager
def returning(me: WorkerProcess) -> Iterator[None]:
    """This thread waits for a slot, as its tool has answered."""
    threads = me.limiter._returning_threads
    threads.add(threading.get_ident())
    yield
    threads.discard(threading.get_ident())


def leases_for_long(calls: list[Running]) -> list[Lease]:
    """Of those that may go on for as long as storing a result may take."""
    return [lease for lease in leases(calls) if lease.seconds > GRACE_SECONDS]


# -- batches -------------------------------------------------------------------------------------------------------


def test_while_results_of_a_batch_cannot_be_stored(me: WorkerProcess, settings: Settings) -> None:
    """They keep their leases, and stay its own when the thread that made the calls is through with the others."""
    calls = claimed(me, factories.customer())
    made = [each.task.id for each in calls]
    with locked(settings, "invocations"):
        with stalled(me, calls):
            eventually(lambda: calls[0].is_given_away)
            assert goes_on(me)
            with returning(me):
                assert goes_on(me)
            assert {each.id for each in leases_for_long(calls)} == {made[0], made[2]}
        lease_left(made[0], SHORTLY)  # one that is over already might be taken back before the next heartbeat
        assert goes_on(me)
        assert lease_of(made[0]) > SHORTLY
        assert sweeping.reap_dead_processes() == 0
        assert calls[0] in me.running()
        assert calls[1] not in me.running()
    eventually(lambda: statuses(made) == ["succeeded", "running", "queued"])
    eventually(lambda: me.running() == [])


def test_while_redis_is_frozen_and_many_batches_are_stalled(me: WorkerProcess, redis_server: Redis) -> None:
    batches = [claimed(me, factories.customer()) for _ in range(6)]
    for calls in batches:
        batch = Batch(calls, me.leave)
        first = batch.next()
        assert first is not None
        batch.put(first, GOOD)
        me.batches._batches.add(batch)
    with frozen(redis_server.pid):
        assert goes_on(me)
    eventually(lambda: {each[0] for each in map(statuses_of, batches)} == {"succeeded"})


def statuses_of(calls: list[Running]) -> list[str]:
    return statuses([each.task.id for each in calls])


# -- the sweep -----------------------------------------------------------------------------------------------------


def test_while_its_sweep_waits_for_a_lock(me: WorkerProcess, settings: Settings) -> None:
    worker, made = held(2)
    began, go_on = threading.Event(), threading.Event()

    def hang() -> None:
        began.set()
        go_on.wait(2 * PATIENCE)

    with locked(settings, "usage_logs"), failpoints.calling("reaper.after_select", hang):
        invocations.leave(worker)
        assert began.wait(2 * PATIENCE)
        assert goes_on(me)
        go_on.set()
        assert goes_on(me)
        assert statuses(made) == ["running"] * 2
    eventually(lambda: statuses(made) == ["failed"] * 2, 60)


def test_a_step_of_the_sweep_leaves_time_to_the_others(
    db: None, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each row is tried once, and those for which there was no time are next."""
    monkeypatch.setattr(apart, "SECONDS", 0.0)
    made = lost(2)
    with locked(settings, "usage_logs"):
        assert sweeping.reap_dead_processes() == 0
    for ended in (1, 2):
        assert sweeping.reap_dead_processes() == 1
        assert sorted(statuses(made)).count("failed") == ended


def test_a_walk_goes_on_behind_those_that_took_all_its_time(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "SECONDS", 0.0)
    tool, worker = factories.tool(), factories.worker()
    first, second = sorted((factories.customer(at_once=1) for _ in range(2)), key=lambda each: each.period_id)
    for customer in (first, first, second):
        customer.submit(tool)
    factories.taken(worker)
    plain(text("update queue set due_at = now() - interval '5 s' where slot is null"), {})
    plain(
        text("""update queue set slot = null, start_tag = null, moves = moves + 1, due_at = now() - interval '5 s'
                 where user_id = :user_id"""),
        {"user_id": second.user_id},
    )
    budgets.rebuild(second.user_id, second.period_id)
    assert [sweeping.place_waiting([]) for _ in range(2)] == [0, 1], "the first has no free slot"


def test_a_sweep_waits_for_a_frozen_redis_once(db: None, redis_server: Redis) -> None:
    made = lost(3)
    with frozen(redis_server.pid):
        before = failing.FAILURES._value.get()
        assert sweeping.reap_dead_processes() == 3
        assert failing.FAILURES._value.get() == before + 1
    assert statuses(made) == ["failed"] * 3

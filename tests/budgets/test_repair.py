"""The repair of gates: every figure is compared, one failing account stops nothing, a rebuild of any size ends."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import text

from common import budgets, invocations, subscriptions
from common.budgets import Move, Settlement, comparing, gathering, rebuild_lock, rebuilding
from common.errors import BudgetExhausted, DependencyUnavailable
from common.invocations import sweeping
from common.kit import clock, db, failpoints
from common.kit import redis as redis_kit
from common.operations import ledger
from common.tools import ListedTool
from tests import factories
from tests.factories import GOOD, Customer
from tests.plain import plain
from tests.timing import Gap, once, using

database = db
#: Many more of them: `REBUILD_ROWS=1000000`.
ROWS = int(os.environ.get("REBUILD_ROWS", "40000"))
WAITING = """
with made as (
  insert into invocations (id, user_id, period_id, tool_id, tool_version_id, input, metadata, held, request_id,
                           expires_at)
  select uuid7(), %(user)s, %(period)s, %(tool)s, %(version)s, '{}', '{}', 1, 'test', now() + interval '1 day'
    from generate_series(1, %(number)s) returning id, user_id, period_id, tool_id, tool_version_id, held, expires_at)
insert into queue (id, user_id, period_id, tool_id, tool_version_id, held, timeout_seconds, expires_at)
select id, user_id, period_id, tool_id, tool_version_id, held, 30, expires_at from made
"""


@pytest.fixture(autouse=True)
def _quick(hurried: None) -> None:
    """Nobody waits for what is only on its way."""


def key(customer: Customer) -> str:
    return budgets.budget_key(customer.user_id, customer.period_id)


def repaired() -> int:
    found = budgets.free_orphans(older_than=-1)
    assert ledger.verify().differences == ()
    return found


@contextmanager
def foreign_gate(customer: Customer, **changes: str) -> Iterator[None]:
    """A hash that looks like a gate, of a period that the database does not know."""
    fields = {**budgets.gate(customer.user_id, customer.period_id), **changes}
    foreign = budgets.budget_key(uuid4(), uuid4())
    redis_kit.client().hset(foreign, mapping=dict[Any, Any](fields))
    yield
    assert not redis_kit.client().exists(foreign)


# -- the walk ------------------------------------------------------------------------------------------------------


def test_a_gate_of_an_unknown_period_is_removed_and_keeps_nobody_waiting(db: None) -> None:
    customers = [factories.customer(100) for _ in range(8)]
    for customer in customers:
        budgets.hold(customer.account(), clock.uuid7(), 10)
    with foreign_gate(customers[0]):
        assert repaired() == len(customers) + 1
    assert all(budgets.gate(each.user_id, each.period_id)["held"] == "0" for each in customers)


def test_a_foreign_gate_that_is_spent_keeps_nobody_from_being_told(db: None) -> None:
    customer, worker = factories.customer(10), factories.worker()
    customer.submit(factories.tool())
    with foreign_gate(customer, charged="10", granted="10", held="0"):
        invocations.complete(factories.taken(worker), factories.BAD, worker)
        redis_kit.client().hset(key(customer), "charged", 10)
        for _ in range(3):
            sweeping.record_missed_thresholds()
        assert repaired() == 2


def test_a_walk_that_is_cut_off_goes_on_behind(redis: redis_kit.Client) -> None:
    """Whatever ended it, and although the key of its place is of another type and its place is none."""
    for _ in range(40):
        redis.hset(budgets.budget_key(uuid4(), uuid4()), mapping={"granted": "1", "charged": "1"})
    redis.rpush("walk:spent", "x")
    seen = set()
    for _ in range(20):
        seen.add(next(budgets.spent([1], limit=2)))
    assert len(seen) > 3
    redis.set("walk:spent", "somewhere")
    assert next(budgets.spent([1], limit=2))


@pytest.mark.parametrize("garbage", ["h:x", "charged", "epoch"])
def test_a_gate_that_cannot_be_read_is_rebuilt(db: None, garbage: str) -> None:
    first, second = factories.customer(100), factories.customer(100)
    for customer in (first, second):
        customer.submit(factories.tool())
    redis_kit.client().hset(key(first), garbage, "?")
    budgets.hold(second.account(), clock.uuid7(), 10)
    assert budgets.free_orphans(older_than=-1) == 2
    assert ledger.verify().differences == ()


WRONG: dict[str, Callable[[Customer, redis_kit.Client], object]] = {
    "no hash": lambda customer, client: client.set(key(customer), "x"),
    "epoch": lambda customer, client: client.hset(key(customer), "epoch", "?"),
    "server": lambda customer, client: client.hset(key(customer), "server", "?"),
    "granted": lambda customer, client: client.hset(key(customer), "granted", "?"),
    "rate": lambda customer, client: client.rpush(f"rate:{{{customer.user_id}}}", "x"),
    "rate's count": lambda customer, client: client.set(f"rate:{{{customer.user_id}}}", "x"),
    "allowances": lambda customer, client: client.set(budgets.allowances_key(customer.user_id), "x"),
    "caller": lambda customer, client: (
        client.delete(f"auth:{{{customer.user_id}}}"),
        client.set(f"auth:{{{customer.user_id}}}", "x"),
    ),
    "lock": lambda customer, client: (
        client.delete(key(customer)),
        client.rpush(f"rebuild:{{{customer.user_id}}}:{customer.period_id}", "x"),
    ),
}


@pytest.mark.parametrize("spoil", WRONG.values(), ids=WRONG)
def test_a_submit_forgets_what_it_cannot_read(
    redis: redis_kit.Client, spoil: Callable[[Customer, redis_kit.Client], object]
) -> None:
    customer, tool = factories.keyed(factories.customer(20, per_minute=100), 1_000), factories.tool()
    customer.submit(tool)
    redis.delete(f"rate:{{{customer.user_id}}}", budgets.allowances_key(customer.user_id))
    spoil(customer, redis)
    customer.submit(tool)
    with pytest.raises(BudgetExhausted):
        customer.submit(tool)
    assert ledger.verify().differences == ()


def test_settled_together_one_fails_alone(redis: redis_kit.Client) -> None:
    customers = [factories.customer(100) for _ in range(3)]
    ends = [Settlement(each.user_id, each.period_id, Move(clock.uuid7(), 1, 1), 3) for each in customers]
    for customer, end in zip(customers, ends, strict=True):
        budgets.hold(customer.account(), end.last.invocation_id, 10)
    redis.set(key(customers[0]), "x")
    redis.script_flush()
    assert budgets.settle(ends) == [None, *[budgets.Settled(100, 0, 3)] * 2]


def test_a_key_that_is_no_gate_is_left_alone(db: None) -> None:
    redis_kit.client().set("budget:of-somebody-else", "1")
    assert repaired() == 0
    assert redis_kit.client().get("budget:of-somebody-else") == "1"


# -- every figure --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("figure", "value"), [("granted", 90), ("charged", 0), ("held", 11), ("active", 4), ("epoch", 1)]
)
def test_each_figure_is_compared(db: None, figure: str, value: int) -> None:
    customer, tool, worker = factories.customer(100), factories.tool(), factories.worker()
    for _ in range(2):
        customer.submit(tool)
    invocations.complete(factories.taken(worker), GOOD, factories.worker())
    for _ in range(2):
        budgets.rebuild(customer.user_id, customer.period_id)  # so that 1 is no epoch of it
    assert repaired() == 0
    redis_kit.client().hset(key(customer), figure, value)
    assert repaired() == 1
    assert repaired() == 0


def test_a_hold_that_the_gate_lost_is_found(db: None) -> None:
    customer = factories.customer(100)
    made = customer.submit(factories.tool())
    client = redis_kit.client()
    client.hdel(key(customer), f"h:{made}")
    client.hincrby(key(customer), "held", -10)
    client.hincrby(key(customer), "active", -1)
    assert repaired() == 1


def test_what_is_only_on_its_way_is_no_difference(db: None) -> None:
    """A completion whose settlement reaches the gate between the two looks."""
    customer, worker = factories.customer(100), factories.worker()
    customer.submit(factories.tool())
    task = factories.taken(worker)
    committed, go_on = threading.Event(), threading.Event()

    def on_its_way() -> None:
        committed.set()
        assert go_on.wait(30)

    def arrives() -> None:
        go_on.set()
        completing.join(30)

    completing = threading.Thread(target=invocations.complete, args=(task, GOOD, worker))
    with failpoints.calling("worker.after_commit", on_its_way), using(Gap(arrives)):
        completing.start()
        assert committed.wait(30)
        assert repaired() == 0
    assert go_on.is_set(), "it was a difference at the first look"


def test_a_large_gate_is_compared_by_its_figures(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparing, "WHOLE_MOST", 5)
    customer = factories.customer(100)
    customer.submit(factories.tool())
    assert repaired() == 0
    redis_kit.client().hincrby(key(customer), "charged", 1)
    assert repaired() == 1


# -- a rebuild's lock ----------------------------------------------------------------------------------------------


def left_behind(customer: Customer) -> None:
    """The lock of a rebuild whose process died in it."""
    redis_kit.client().set(f"rebuild:{{{customer.user_id}}}:{customer.period_id}", "somebody 1", px=60_000)


def test_a_grant_beside_a_lock_left_behind_reaches_the_gate(db: None) -> None:
    customer, tool = factories.customer(10), factories.tool()
    customer.submit(tool)
    left_behind(customer)
    subscriptions.grant(customer.user_id, 10, reason="more", actor=factories.admin())
    assert budgets.gate(customer.user_id, customer.period_id) == {}, "dropped: the next submit rebuilds it"
    redis_kit.client().delete(f"rebuild:{{{customer.user_id}}}:{customer.period_id}")
    customer.submit(tool)
    with pytest.raises(BudgetExhausted):
        customer.submit(tool)
    assert ledger.verify().differences == ()


def test_a_lock_is_given_back_by_its_owner_alone(db: None) -> None:
    """The rebuild was so slow that the lock has expired, and somebody else has it."""
    customer = factories.customer(10)
    with failpoints.calling("rebuild.after_read", lambda: left_behind(customer)):
        budgets.rebuild(customer.user_id, customer.period_id)
    lock = f"rebuild:{{{customer.user_id}}}:{customer.period_id}"
    assert redis_kit.client().get(lock) == "somebody 1"


def test_who_waits_for_a_long_rebuild_is_told_how_long(db: None) -> None:
    customer = factories.customer(10)
    tool = factories.tool()
    redis_kit.client().flushall()
    redis_kit.client().set(f"rebuild:{{{customer.user_id}}}:{customer.period_id}", "somebody 21", px=60_000)
    with pytest.raises(DependencyUnavailable) as refused:
        customer.submit(tool)
    assert refused.value.retry_after == 21


@pytest.fixture
def fill(db: None, _sweeper: psycopg.Connection[object], _sweep_statement: bytes) -> Iterator[Callable[..., None]]:
    """Make many open rows of one account at once, past the checks of foreign keys; nothing is left of them."""

    def fill(customer: Customer, tool: ListedTool, number: int) -> None:
        ids = {"user": customer.user_id, "period": customer.period_id, "tool": tool.id, "version": tool.current.id}
        _sweeper.execute("set session_replication_role = replica")
        _sweeper.execute(WAITING, {**ids, "number": number})

    yield fill
    _sweeper.execute(_sweep_statement)
    for table in ("invocations", "queue"):  # plans are made for what an index once had in it, too
        _sweeper.execute(f"vacuum full {table}".encode())


def test_a_large_account_is_rebuilt_while_submits_knock(
    fill: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock is shorter than the rebuild, which renews it; the first one ends, and nobody begins another."""
    monkeypatch.setattr(rebuild_lock, "LOCK_MS", 2_000)
    monkeypatch.setattr(gathering, "PIECE", 500)
    customer, tool = factories.customer(10 * ROWS), factories.tool()
    fill(customer, tool, ROWS)
    before = _epoch(customer)
    redis_kit.client().flushall()
    stop = threading.Event()

    def knock(_number: int) -> int:
        while not stop.is_set():
            try:
                customer.submit(tool)
            except DependencyUnavailable as busy:
                assert busy.retry_after >= 1
            else:
                return 1
        return 0

    with ThreadPoolExecutor(4) as pool:
        accepted = sum(pool.map(knock, range(4), timeout=300))
    assert accepted == 4
    assert _epoch(customer) - before <= 3, (
        "one rebuild, and perhaps another where this machine stood still for a moment"
    )
    assert int(budgets.gate(customer.user_id, customer.period_id)["held"]) == ROWS + 4 * 10
    assert ledger.verify().differences == ()


def _epoch(customer: Customer) -> int:
    rows = plain(text("select epoch from periods where id = :id"), {"id": customer.period_id})
    return int(rows[0].epoch)


def test_completions_that_arrive_during_a_rebuild_count(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ends and moves between its snapshot and its install, in an account of several pieces."""
    monkeypatch.setattr(gathering, "PIECE", 2)
    customer, tool, worker = factories.customer(1_000, at_once=3), factories.tool(), factories.worker()
    for _ in range(7):
        customer.submit(tool)
    task = factories.taken(worker)
    with failpoints.calling("rebuild.after_read", once(lambda: invocations.complete(task, GOOD, worker))):
        budgets.rebuild(customer.user_id, customer.period_id)
    assert repaired() == 0


# -- slow sums -----------------------------------------------------------------------------------------------------


@contextmanager
def slow_sums(database_url: str) -> Iterator[None]:
    """Whoever adds up usage waits, until the end of the block."""
    with psycopg.connect(database_url) as connection:
        connection.execute("lock table usage_logs in access exclusive mode")
        yield


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rebuild_lock, "LOCK_MS", 300)
    monkeypatch.setattr(rebuilding, "OWN_SECONDS", 0.2)
    monkeypatch.setattr(rebuilding, "WAIT_SECONDS", 0.4)


def refused(customer: Customer, tool: ListedTool) -> DependencyUnavailable:
    with pytest.raises(DependencyUnavailable) as error:
        customer.submit(tool)
    return error.value


def accepted_in_the_end(customer: Customer, tool: ListedTool) -> None:
    for _ in range(500):
        with suppress(DependencyUnavailable):
            customer.submit(tool)
            return
        time.sleep(0.02)  # the rebuild goes on in another thread
    pytest.fail("the rebuild has not ended")


def test_a_rebuild_with_slow_sums_goes_on_without_its_submit(db: None, impatient: None, database_url: str) -> None:
    """Who began it is told to come back, and so are the others; it is neither given up nor begun again by them."""
    customer, tool = factories.customer(100), factories.tool()
    customer.submit(tool)
    redis_kit.client().flushall()
    before = _epoch(customer)
    with slow_sums(database_url):
        assert refused(customer, tool).retry_after == rebuilding.SLOW_SECONDS
        for _ in range(4):
            lock = redis_kit.client().get(f"rebuild:{{{customer.user_id}}}:{customer.period_id}")
            time.sleep(rebuild_lock.LOCK_MS / 1_000)  # longer than the lock lives without its owner
            assert refused(customer, tool).retry_after == rebuilding.SLOW_SECONDS
            assert lock == redis_kit.client().get(f"rebuild:{{{customer.user_id}}}:{customer.period_id}")
    accepted_in_the_end(customer, tool)
    assert _epoch(customer) - before == 2, "that of the submit, and that which went on"
    assert ledger.verify().differences == ()


def test_a_change_of_the_rows_does_not_wait_for_a_slow_rebuild(db: None, impatient: None, database_url: str) -> None:
    customer, tool = factories.customer(10), factories.tool()
    subscriptions.grant(customer.user_id, 10, reason="more", actor=factories.admin())
    with slow_sums(database_url):
        budgets.tell(customer.user_id, customer.period_id)
        assert "epoch" not in budgets.gate(customer.user_id, customer.period_id)
    accepted_in_the_end(customer, tool)
    assert budgets.gate(customer.user_id, customer.period_id)["granted"] == "20"


def test_a_process_has_a_few_slow_rebuilds_at_once(db: None, impatient: None, database_url: str) -> None:
    """The next one gives its lock back, for another process or a later submit."""
    customers, tool = [factories.customer(10) for _ in range(rebuilding.AT_ONCE + 1)], factories.tool()
    redis_kit.client().flushall()
    with slow_sums(database_url):
        for customer in customers:
            assert refused(customer, tool).retry_after == rebuilding.SLOW_SECONDS
        locks = redis_kit.client().keys("rebuild:*")
        assert len(locks) == rebuilding.AT_ONCE
    for customer in customers:
        accepted_in_the_end(customer, tool)


def test_the_lock_of_a_process_that_is_gone_ends(db: None, impatient: None) -> None:
    lock = rebuild_lock.RebuildLock("rebuild:a")
    assert lock.take()  # and nobody keeps it
    time.sleep(rebuild_lock.LOCK_MS / 1_000 + 0.1)  # Redis' own time
    assert not lock.renew()
    assert rebuild_lock.seconds_left("rebuild:a") == 0

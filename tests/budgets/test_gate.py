"""The gate against the rows: words that arrive in the wrong order or never, rebuilds that die, clocks of old dumps."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from uuid import UUID

import pytest
from sqlalchemy import text

from common import budgets, invocations, subscriptions
from common.errors import BudgetExhausted, RateLimited
from common.invocations import ClaimOptions, Task, placing, sweeping
from common.kit import clock, db, failpoints
from common.kit import redis as redis_kit
from common.kit.clock import uuid7
from common.models.subscriptions import UNLIMITED_TOKENS
from common.operations import ledger
from common.tools import ListedTool
from dev.servers import Redis
from tests import factories
from tests.budgets import world
from tests.factories import BAD, GOOD, Customer
from tests.plain import plain
from tests.timing import once


@pytest.fixture(autouse=True)
def _quick(hurried: None) -> None:
    """Nobody waits for what is only on its way."""


@pytest.fixture
def office() -> Iterator[world.Post]:
    with world.post() as office:
        yield office


def gate(customer: Customer) -> dict[str, int]:
    fields = budgets.gate(customer.user_id, customer.period_id)
    return {name: int(fields[name]) for name in ("granted", "charged", "held", "active")}


def quiet(worker: ClaimOptions) -> ClaimOptions:
    return replace(worker, take_next=False)


def placed() -> int:
    return sum(placed for placed, _ in world.busy().values())


@contextmanager
def meanwhile(
    *, before: Callable[[], object] = lambda: None, after: Callable[[], object] = lambda: None
) -> Iterator[None]:
    """Inside the block, whoever asks the gate for a slot is overtaken: before the asking, or after it."""
    with failpoints.calling("place.before_slot", before), failpoints.calling("place.after_slot", after):
        yield


def put_back(customer: Customer, tool: ListedTool, worker: ClaimOptions) -> tuple[Task, UUID]:
    """Two slots, one running, and one that was in the other and waits for its second try, which is due."""
    _, again = customer.submit(tool), customer.submit(tool)
    running, failed = factories.taken(worker), factories.taken(worker)
    assert failed.id == again
    invocations.retry_later(failed, BAD, 0.0, quiet(worker))
    world.shift("due_at", [again], -5)
    return running, again


@pytest.mark.parametrize("largest", [0, UNLIMITED_TOKENS])
@pytest.mark.parametrize("ends", ["completed", "canceled", "released"])
def test_every_hold_gives_back_all_that_it_has(db: None, largest: int, ends: str) -> None:
    """A hold of nothing has a slot as well; one of all that there is is exact to the token."""
    customer, worker = factories.keyed(factories.customer(None), UNLIMITED_TOKENS, at_once=1), factories.worker()
    tool = factories.tool(price={"base_tokens": 0, "per_unit": None, "max_tokens": largest})
    if ends == "released":
        account, made = customer.account(), uuid7()
        budgets.hold(account, made, largest)
        assert gate(customer)["active"] == 1
        budgets.release(account, made)
    elif ends == "completed":
        customer.submit(tool)
        invocations.complete(factories.taken(worker), replace(GOOD, cost=0), worker)
    else:
        invocations.cancel(customer.caller, customer.submit(tool))
    left = budgets.gate(customer.user_id, customer.period_id)
    counted = left[f"a:{customer.caller.api_key_id}"]
    assert (left["active"], left["held"], counted) == ("0", "0", "0")
    assert not [name for name in left if name.startswith("h:")]


@pytest.mark.parametrize("verb", ["settle", "release"])
def test_a_script_that_fails_on_the_way_is_called_so_and_leaves_nothing_half_done(
    db: None, redis: redis_kit.Client, verb: str, caplog: pytest.LogCaptureFixture
) -> None:
    customer, worker, made = factories.customer(), factories.worker(), uuid7()
    if verb == "settle":
        customer.submit(factories.tool())
    else:
        budgets.hold(customer.account(), made, 10)
    redis.hset(budgets.budget_key(customer.user_id, customer.period_id), "held", "x")
    if verb == "settle":
        invocations.complete(factories.taken(worker), GOOD, worker)
    else:
        budgets.release(customer.account(), made)
    [said] = [line.msg for line in caplog.records if line.levelname == "ERROR"]
    assert isinstance(said, dict)
    assert (said["event"], said["script"]) == ("Redis script failed", verb)
    assert "not an integer" in said["error"]
    assert (gate(customer)["active"], gate(customer)["held"]) == (0, 0)
    assert ledger.verify().differences == ()


# -- slots --------------------------------------------------------------------------------------------------------


def test_settlements_in_the_wrong_order_leave_no_slot_behind(db: None, office: world.Post) -> None:
    """A ends, B gets its slot and is put back, C gets it: the gate hears of C first."""
    customer, tool, worker = factories.customer(at_once=1), factories.tool(), factories.worker()
    _, b, c = (customer.submit(tool) for _ in range(3))
    with office.sending("late"):
        second = invocations.complete(factories.taken(worker), GOOD, worker)
        assert second is not None and second.id == b
        third = invocations.retry_later(second, BAD, 30.0, worker)
        assert third is not None and third.id == c
    for word in reversed(office.late):
        word()
    invocations.complete(third, GOOD, worker)
    assert gate(customer)["active"] == 0
    assert ledger.verify().differences == ()


def test_a_lost_settlement_does_not_free_a_slot_twice(db: None, office: world.Post) -> None:
    """B's going back to the queue is never told, and then B ends: the slot that it had is C's."""
    customer, tool, worker = factories.customer(at_once=1), factories.tool(), factories.worker()
    b, c, d = (customer.submit(tool) for _ in range(3))
    with office.sending("never"):
        third = invocations.retry_later(factories.taken(worker), BAD, 30.0, quiet(worker))
        assert third is None
    invocations.cancel(customer.caller, b)
    assert gate(customer)["active"] == placed() == 1
    customer.submit(tool)
    assert placed() == 1, (c, d)


def test_a_slot_that_a_completing_neighbour_gave_first(db: None) -> None:
    """The sweep asks for a slot for E; before it can write it down, A ends and E is its successor."""
    customer, tool, worker = factories.customer(at_once=2), factories.tool(), factories.worker()
    _, _, e = (customer.submit(tool) for _ in range(3))
    a, b = factories.taken(worker), factories.taken(worker)
    world.shift("due_at", [e], 60)
    invocations.complete(b, GOOD, quiet(worker))
    world.shift("due_at", [e], -120)
    with meanwhile(after=lambda: invocations.complete(a, GOOD, quiet(worker))):
        sweeping.place_waiting([])
    assert gate(customer)["active"] == placed() == 1


def test_a_slot_is_not_stored_for_a_row_that_has_had_another_since(db: None) -> None:
    """The sweep asks for a slot for B; before it can write it down, B gets A's, fails in it and is put back again."""
    customer, tool, worker = factories.customer(at_once=2), factories.tool(), factories.worker()
    running, again = put_back(customer, tool, worker)

    def overtake() -> None:
        second = invocations.complete(running, GOOD, worker)
        assert second is not None and second.id == again
        invocations.retry_later(second, BAD, 0.0, quiet(worker))
        customer.submit(tool), customer.submit(tool)

    with meanwhile(after=overtake):
        sweeping.place_waiting([])
    assert gate(customer)["active"] == placed() == 2
    assert ledger.verify().differences == ()


def test_a_late_settlement_does_not_free_the_slot_that_was_reserved_since(db: None, office: world.Post) -> None:
    """B is put back; a rebuild sees that before the gate is told; the word comes after the sweep has asked."""
    customer, tool, worker = factories.customer(at_once=2), factories.tool(), factories.worker()
    with office.sending("late"):
        put_back(customer, tool, worker)
    budgets.rebuild(customer.user_id, customer.period_id)

    def overtake() -> None:
        for word in office.late:
            word()
        customer.submit(tool)

    with meanwhile(after=overtake):
        sweeping.place_waiting([])
    assert gate(customer)["active"] == placed() == 2
    assert ledger.verify().differences == ()


def test_a_row_that_is_gone_when_its_slot_is_reserved_is_no_reason_to_rebuild(db: None) -> None:
    """What others hold under the present epoch would be refused for nothing."""
    customer, tool, worker = factories.customer(at_once=2), factories.tool(), factories.worker()
    _, again = put_back(customer, tool, worker)
    epoch = budgets.gate(customer.user_id, customer.period_id)["epoch"]
    with meanwhile(before=lambda: invocations.cancel(customer.caller, again)):
        assert sweeping.place_waiting([]) == 0
    assert budgets.gate(customer.user_id, customer.period_id)["epoch"] == epoch


def test_a_waiting_row_gets_a_slot_although_a_rebuild_died(db: None) -> None:
    """The epoch is ahead of the gate, and nobody submits any more."""
    customer, worker = factories.customer(at_once=1), factories.worker()
    made = customer.submit(factories.tool())
    invocations.retry_later(factories.taken(worker), BAD, 0.0, quiet(worker))
    _bump(customer)
    world.shift("due_at", [made], -5)
    sweeping.place_waiting([])
    sweeping.place_waiting([])
    assert factories.taken(worker).id == made


def test_one_accounts_backlog_does_not_hide_anothers_waiting_row(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placing, "BATCH", 3)
    tool, worker = factories.tool(), factories.worker()
    for _ in range(4):
        flood = factories.customer(at_once=1)
        world.shift("due_at", [flood.submit(tool) for _ in range(4)], -60)
    other = factories.customer(at_once=1)
    made = other.submit(tool)
    while (task := factories.taken(worker)).id != made:
        pass
    invocations.retry_later(task, BAD, 0.0, quiet(worker))
    world.shift("due_at", [made], -5)
    for _ in range(2):
        sweeping.place_waiting([])
    assert factories.taken(worker).id == made


def test_free_slots_are_filled_at_once(db: None) -> None:
    customer, tool = factories.customer(at_once=5), factories.tool()
    made = [customer.submit(tool) for _ in range(8)]
    assert sweeping.unplace_paused([tool.id]) == 5
    assert gate(customer)["active"] == 0
    world.shift("due_at", made, -5)
    assert sweeping.place_waiting([]) == 5
    assert gate(customer)["active"] == placed() == 5


# -- rebuilds ------------------------------------------------------------------------------------------------------


def _bump(customer: Customer) -> int:
    with db.transaction() as session:
        return budgets.bump(session, customer.period_id)


def test_who_tells_of_a_grant_does_not_join_a_rebuild_that_read_before_it(db: None) -> None:
    customer, admin = factories.customer(100), factories.admin()
    read, go_on = threading.Event(), threading.Event()

    def hold_up() -> None:
        if threading.current_thread() is early:
            read.set()
            go_on.wait(10)

    def grant() -> None:
        subscriptions.grant(customer.user_id, 50, reason="", actor=admin)
        granted.set()

    granted = threading.Event()
    early = threading.Thread(target=budgets.rebuild, args=(customer.user_id, customer.period_id))
    late = threading.Thread(target=grant)
    with failpoints.calling("rebuild.after_read", hold_up):
        early.start()
        assert read.wait(10)
        late.start()
        assert not granted.wait(0.3), "it did not wait"
        go_on.set()
        early.join()
        late.join()
    assert gate(customer)["granted"] == 150


@pytest.mark.parametrize("put_back", [False, True])
def test_what_happens_between_the_snapshot_and_the_install_counts(db: None, put_back: bool) -> None:
    customer, tool, worker = factories.customer(at_once=1), factories.tool(), factories.worker()
    for _ in range(3):
        customer.submit(tool)
    task = factories.taken(worker)

    def between() -> None:
        second = invocations.complete(task, replace(GOOD, cost=4), worker)
        assert second is not None
        if put_back:
            invocations.retry_later(second, BAD, 30.0, worker)
        else:
            invocations.complete(second, replace(GOOD, cost=5), worker)

    with failpoints.calling("rebuild.after_read", once(between)):
        budgets.rebuild(customer.user_id, customer.period_id)
    assert gate(customer) == {
        "granted": 1_000_000,
        "charged": 4 if put_back else 9,
        "held": 20 if put_back else 10,
        "active": 1,
    }
    assert ledger.verify().differences == ()


def test_a_gate_from_after_the_backup_that_the_rows_come_from(db: None, redis: redis_kit.Client) -> None:
    """PostgreSQL was restored to an earlier moment, Redis was not: its epoch is ahead."""
    customer, tool = factories.customer(100), factories.tool()
    customer.submit(tool)
    redis.hset(budgets.budget_key(customer.user_id, customer.period_id), "epoch", 77)
    customer.submit(tool)
    assert gate(customer)["held"] == 20


def test_a_redis_that_comes_back_with_an_old_dump(db: None, redis_server: Redis) -> None:
    """For real: SAVE, spend what there is, SIGKILL, start. The dump's gate has room that is long gone."""
    customer, tool = factories.customer(30, at_once=1), factories.tool()
    customer.submit(tool)
    dump = redis_server.directory / "dump.rdb"
    try:
        redis_kit.client().save()
        for _ in range(2):
            customer.submit(tool)
        world.shift("due_at", list(world.open_rows()), -5)
        redis_server.kill()
        redis_server.start()
        redis_server.wait()
        assert redis_kit.client().exists(budgets.budget_key(customer.user_id, customer.period_id)), "nothing restored"
        sweeping.place_waiting([])
        assert placed() == 1
        with pytest.raises(BudgetExhausted):
            customer.submit(tool)
    finally:
        dump.unlink(missing_ok=True)


# -- holds ---------------------------------------------------------------------------------------------------------


def test_a_hold_whose_submitter_died_is_found_and_its_row_can_never_come(db: None) -> None:
    customer, tool = factories.customer(15), factories.tool()
    hold = budgets.hold(customer.account(), clock.uuid7(), 10)
    assert isinstance(hold, budgets.Hold)
    assert budgets.free_orphans(older_than=30) == 0, "it may still be on its way"
    assert budgets.free_orphans(older_than=-1) == 1
    assert gate(customer)["held"] == 0
    customer.submit(tool)
    assert budgets.hold(customer.account(), clock.uuid7(), 5) != hold


def test_what_leaked_is_no_reason_to_refuse(db: None) -> None:
    customer, tool = factories.customer(15), factories.tool()
    budgets.hold(customer.account(), clock.uuid7(), 10)
    customer.submit(tool)
    with pytest.raises(BudgetExhausted) as refused:
        customer.submit(tool)
    assert refused.value.members["available"] == 5
    assert refused.value.members["shortfall"] == 5


def test_every_gate_is_looked_at_in_time(db: None) -> None:
    customers = [factories.customer(100) for _ in range(5)]
    for customer in customers:
        budgets.hold(customer.account(), clock.uuid7(), 10)
    found = sum(budgets.free_orphans(older_than=-1, limit=2) for _ in range(3))
    assert found == 5


def test_a_refused_submit_is_not_counted_in_the_rate(db: None) -> None:
    """Also when a rebuild came between its hold and its release."""
    customer, tool = factories.customer(1000, per_minute=2), factories.tool()
    account = customer.account()
    for gone in (False, True):
        made = clock.uuid7()
        budgets.hold(account, made, 10)
        if gone:
            budgets.rebuild(customer.user_id, customer.period_id)
        budgets.release(account, made)
    customer.submit(tool)
    customer.submit(tool)
    with pytest.raises(RateLimited):
        customer.submit(tool)


# -- thresholds ----------------------------------------------------------------------------------------------------


def thresholds() -> list[tuple[int, int]]:
    """Percentages and how many events tell of each."""
    query = text("""
        select cast(data ->> 'percent' as integer) as percent, count(*) as n from events
         where type = 'budget.threshold' group by 1""")
    return sorted((row.percent, row.n) for row in plain(query, {}))


@pytest.fixture
def spend(db: None) -> Callable[..., Customer]:
    """Spends 100 of 100 tokens in two calls, the first of which costs `first`."""

    def spend(office: world.Post, *, first: int, how: str) -> Customer:
        customer, worker = factories.customer(100), factories.worker()
        tool = factories.tool(price={"base_tokens": 0, "per_unit": None, "max_tokens": 100})
        customer.submit(tool, max_tokens=first)
        invocations.complete(factories.taken(worker), replace(GOOD, cost=first), worker)
        with office.sending(how):
            customer.submit(tool, max_tokens=100 - first)
            invocations.complete(factories.taken(worker), replace(GOOD, cost=100 - first), worker)
        return customer

    return spend


@pytest.mark.parametrize("first", [50, 80, 85])
def test_each_threshold_is_told_of_once(spend: Callable[..., Customer], office: world.Post, first: int) -> None:
    spend(office, first=first, how="at once")
    assert sweeping.record_missed_thresholds() == 0
    assert thresholds() == [(80, 1), (100, 1)]


def test_a_threshold_whose_settlement_was_lost(spend: Callable[..., Customer], office: world.Post) -> None:
    customer = spend(office, first=50, how="never")
    assert thresholds() == []
    budgets.rebuild(customer.user_id, customer.period_id)
    assert sweeping.record_missed_thresholds() == 2
    assert thresholds() == [(80, 1), (100, 1)]


def test_a_gate_that_is_wrong_tells_of_nothing(db: None, redis: redis_kit.Client) -> None:
    customer, worker = factories.customer(100), factories.worker()
    customer.submit(factories.tool())
    redis.hset(budgets.budget_key(customer.user_id, customer.period_id), "charged", 99)
    invocations.complete(factories.taken(worker), GOOD, worker)
    assert thresholds() == []

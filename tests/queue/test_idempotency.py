"""One Idempotency-Key is one invocation, whoever races for it and whoever dies meanwhile."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import psycopg
import pytest
from sqlalchemy import text

from common import budgets, invocations
from common.errors import BudgetExhausted, IdempotencyKeyReused, Invalid
from common.invocations import sweeping
from common.kit import clock, failpoints
from common.kit import db as database
from common.kit import redis as redis_kit
from common.operations import ledger
from tests import factories
from tests.budgets import world
from tests.budgets.test_exactness import begin, results, submitters
from tests.plain import plain
from tests.timing import Fast, Still, once, using

KEY = "order-17"


@pytest.fixture(autouse=True)
def _quick(hurried: None) -> None:
    """Nobody waits for what is only on its way."""


def holds(customer: factories.Customer) -> int:
    return sum(name.startswith("h:") for name in budgets.gate(customer.user_id, customer.period_id))


def test_twenty_at_once_make_one(db: None) -> None:
    """The budget covers one alone: whoever comes second must not even ask for a second hold."""
    customer, tool = factories.customer(10), factories.tool()
    together = Barrier(20, timeout=20)

    def submit(_: int) -> tuple[object, bool]:
        together.wait()
        made = invocations.submit(customer.caller, tool.slug, factories.order(idempotency_key=KEY))
        return made.id, made.replayed

    with ThreadPoolExecutor(20) as pool:
        made = list(pool.map(submit, range(20)))
    assert len({each for each, _ in made}) == 1
    assert sum(not replayed for _, replayed in made) == 1
    assert len(world.open_rows()) == holds(customer) == 1
    assert ledger.verify().differences == ()


def test_at_once_from_several_processes(db: None, environ: dict[str, str]) -> None:
    customer, tool = factories.customer(10), factories.tool()
    with submitters(environ, str(customer.user_id), tool.slug, "10", "5", KEY, processes=3) as children:
        begin(children)
        ends = results(children)
    assert sum(n for said, n in ends.items() if said.startswith("accepted")) == 1
    assert {said.partition(" ")[0] for said in ends} == {"accepted", "replayed"}
    assert len({said.partition(" ")[2] for said in ends}) == len(world.open_rows()) == 1
    assert ledger.verify().differences == ()


def test_another_request_under_the_key_is_refused_without_a_trace(db: None) -> None:
    customer, tool, other = factories.customer(per_minute=5), factories.tool(), factories.tool()
    made = customer.submit(tool, input={"a": 1}, idempotency_key=KEY)
    before = world.dumped()
    with pytest.raises(IdempotencyKeyReused):
        customer.submit(tool, input={"a": 2}, idempotency_key=KEY)
    with pytest.raises(IdempotencyKeyReused):
        customer.submit(other, input={"a": 1}, idempotency_key=KEY)
    assert world.dumped() == before
    assert set(world.open_rows()) == {made}
    assert factories.customer().submit(tool, input={"a": 2}, idempotency_key=KEY) != made, "another account's key"


def test_the_same_request_however_it_is_written(db: None) -> None:
    customer, tool = factories.customer(), factories.tool()
    first = customer.submit(tool, body={"input": {"a": 1, "b": 2.0}}, idempotency_key=KEY)
    again = customer.submit(str(tool.id).upper(), body={"input": {"b": 2.0, "a": 1}}, idempotency_key=KEY)
    assert again == first


def test_a_refused_submit_leaves_its_key_free(db: None) -> None:
    customer, tool = factories.customer(15), factories.tool()
    customer.submit(tool)
    with pytest.raises(BudgetExhausted):
        customer.submit(tool, idempotency_key=KEY)
    with pytest.raises(Invalid):
        customer.submit(tool, max_tokens=0, idempotency_key=KEY)
    assert list(redis_kit.client().scan_iter(match="idem:*")) == []
    assert customer.submit(tool, max_tokens=5, idempotency_key=KEY)


def test_a_key_is_free_again_after_a_day(db: None) -> None:
    customer, tool = factories.customer(), factories.tool()
    first = customer.submit(tool, idempotency_key=KEY)
    database.rowcount(text("update idempotency_keys set created_at = created_at - interval '24 hours'"), {})
    redis_kit.client().flushall()
    assert customer.submit(tool, idempotency_key=KEY) != first


def test_all_old_keys_are_forgotten_however_many_a_minute_brought(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeping, "BATCH", 2)
    customer, tool = factories.customer(), factories.tool()
    for n in range(5):
        customer.submit(tool, idempotency_key=f"{KEY}-{n}")
    database.rowcount(text("update idempotency_keys set created_at = created_at - interval '26 hours'"), {})
    customer.submit(tool, idempotency_key=KEY)
    assert sweeping.forget_old_keys() == 5
    assert [row.key for row in plain(text("select key from idempotency_keys"), {})] == [KEY]


def test_the_maker_of_a_key_died_before_its_row(db: None) -> None:
    """The others wait for it, then go on; two of them at once still make one."""
    customer, tool = factories.customer(), factories.tool()
    budgets.hold(customer.account(), clock.uuid7(), 10, key=KEY)
    with using(Fast()), ThreadPoolExecutor(4) as pool:
        made = set(pool.map(lambda _: customer.submit(tool, idempotency_key=KEY), range(4)))
    assert len(made) == len(world.open_rows()) == 1
    budgets.free_orphans(older_than=-1)
    assert holds(customer) == 1


def test_the_maker_of_a_key_gave_up(db: None) -> None:
    """Whoever waits for it goes on at once, long before its time is up."""
    customer, tool = factories.customer(), factories.tool()
    account, maker = customer.account(), clock.uuid7()
    budgets.hold(account, maker, 10, key=KEY)
    with using(Still(lambda: budgets.release(account, maker, key=KEY))):
        assert customer.submit(tool, idempotency_key=KEY)
    assert holds(customer) == 1


def test_a_wipe_between_the_maker_and_its_row(db: None) -> None:
    """Then the gate knows nothing of the key: the table decides."""
    customer, tool = factories.customer(), factories.tool()
    quicker: list[object] = []

    def another_one() -> None:
        redis_kit.client().flushall()
        quicker.append(customer.submit(tool, idempotency_key=KEY))

    with failpoints.calling("web.before_commit", once(another_one)):
        assert [customer.submit(tool, idempotency_key=KEY)] == quicker
    assert len(world.open_rows()) == holds(customer) == 1
    assert ledger.verify().differences == ()


def test_a_server_process_that_is_killed_in_the_middle(db: None, _sweeper: psycopg.Connection[object]) -> None:
    """The statement waits for a lock when its backend is terminated: asked again, it is stored once."""
    customer, tool = factories.customer(), factories.tool()
    customer.submit(tool)
    with ThreadPoolExecutor(1) as pool, psycopg.connect(_sweeper.info.dsn) as blocker:
        blocker.execute("select 1 from periods where id = %s for update", (customer.period_id,))
        waiting = pool.submit(customer.submit, tool, idempotency_key=KEY)
        query = """select pg_terminate_backend(pid) from pg_stat_activity
                    where wait_event_type = 'Lock' and datname = current_database()
                      and query like '%access_ended_at is null%'"""
        deadline = time.monotonic() + 20
        while not _sweeper.execute(query).fetchone() and time.monotonic() < deadline:
            time.sleep(0.01)
        blocker.rollback()
        made = waiting.result(30)
    assert made in world.open_rows()
    assert customer.submit(tool, idempotency_key=KEY) == made
    assert len(world.open_rows()) == holds(customer) == 2
    assert ledger.verify().differences == ()

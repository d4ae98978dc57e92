"""One account, mail or month that cannot be worked on: each sweep and each step of the second serves the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import text

from common import budgets, invocations, subscriptions, usage
from common.invocations import sweeping
from common.kit import clock, db, memory
from common.kit import redis as redis_kit
from common.kit.clock import uuid7
from common.notifications import mails
from common.operations import account_deletion, ledger
from tests import factories
from tests.factories import Customer
from tests.plain import plain
from tests.subscriptions.accounts import began, expire, last_31st, periods_of
from worker import sweeper

#: A sweep, and whether it has served the good one once it has run twice. One that takes the first so many takes one.
Sweep = tuple[Callable[[], object], Callable[[], bool]]
Scenario = Callable[[Customer, Customer], AbstractContextManager[Sweep]]


USED = text("""
insert into usage_logs (invocation_id, id, user_id, period_id, tool_id, tool_version_id, status, tokens_used, held)
values (:id, uuid7(), uuid7(), uuid7(), uuid7(), uuid7(), 'success', 1, 1)
""")


@contextmanager
def poisoned(table: str, event: str, column: str, value: UUID) -> Iterator[None]:
    """PostgreSQL refuses that event for rows with this value. (Before a delete there is an old row only.)"""
    row = "old" if event == "delete" else "new"
    plain(
        text("create or replace function poison() returns trigger language plpgsql as $$ begin raise 'bad'; end $$"), {}
    )
    plain(
        text(
            f"create trigger poison before {event} on {table} for each row when ({row}.{column} = '{value}')"
            " execute function poison()"
        ),
        {},
    )
    try:
        yield
    finally:
        plain(text(f"drop trigger poison on {table}"), {})


def gate(customer: Customer) -> str:
    return budgets.budget_key(customer.user_id, customer.period_id)


def spoil(customer: Customer) -> None:
    """Its gate is no hash any more."""
    redis_kit.client().set(gate(customer), "x")


def in_queue(column: str, *customers: Customer) -> bool:
    """Whether that holds for the rows of these accounts in the queue."""
    ids = [customer.user_id for customer in customers]
    return all(row[0] for row in plain(text(f"select {column} from queue where user_id = any(:ids)"), {"ids": ids}))


def waiting(*customers: Customer, due: str = "due_at") -> None:
    """Each has one row, which is due and waits, and a gate that has a slot for it."""
    tool = factories.tool()
    for customer in customers:
        customer.submit(tool)
    due = f"{due} = now() - interval '5 s'" + ("" if due == "due_at" else ", due_at = 'infinity'")
    plain(text(f"update queue set slot = null, start_tag = null, moves = moves + 1, {due}"), {})
    for customer in customers:
        budgets.rebuild(customer.user_id, customer.period_id)


# -- each of them --------------------------------------------------------------------------------------------------


@contextmanager
def orphans(bad: Customer, good: Customer) -> Iterator[Sweep]:
    for customer in (bad, good):
        budgets.hold(customer.account(), uuid7(), 5)
    spoil(bad)
    yield lambda: budgets.free_orphans(older_than=-1), lambda: budgets.gate(good.user_id, good.period_id)["held"] == "0"
    assert redis_kit.client().type(gate(bad)) == "hash", "it is a gate again"


@contextmanager
def thresholds(bad: Customer, good: Customer) -> Iterator[Sweep]:
    worker = factories.worker()
    good.submit(factories.tool(price={"base_tokens": 100, "per_unit": None, "max_tokens": 100}))
    invocations.complete(factories.taken(worker), replace(factories.GOOD, cost=100), worker)
    plain(text("delete from budget_thresholds"), {})
    memory.forget()
    spoil(bad)
    yield sweeping.record_missed_thresholds, lambda: bool(plain(text("select from budget_thresholds"), {}))


@contextmanager
def verified(bad: Customer, good: Customer) -> Iterator[Sweep]:
    for customer in (bad, good):
        budgets.rebuild(customer.user_id, customer.period_id)
    redis_kit.client().hset(gate(good), "charged", 5)
    spoil(bad)
    yield (
        ledger.verify,
        lambda: (
            {each.where for each in ledger.verify().differences}
            == {
                str(bad.period_id),
                str(good.period_id),
            }
        ),
    )
    assert ledger.repair() == 2
    assert ledger.verify().differences == ()


@contextmanager
def renewals(bad: Customer, good: Customer) -> Iterator[Sweep]:
    began(bad.user_id, last_31st())
    began(good.user_id, last_31st() + timedelta(days=1))
    with poisoned("periods", "update", "user_id", bad.user_id):
        yield lambda: subscriptions.renew_due(1), lambda: len(periods_of(good.user_id)) > 1


@contextmanager
def remainders(bad: Customer, good: Customer) -> Iterator[Sweep]:
    for customer in (bad, good):
        ends = clock.now() + timedelta(days=1)
        expire(subscriptions.grant(customer.user_id, 5, reason="a gift", actor=factories.admin(), expires_at=ends).id)
    expired = text("select from grants where user_id = :user and kind = 'expiry'")
    with poisoned("grants", "insert", "user_id", bad.user_id):
        yield lambda: subscriptions.settle_remainders(1), lambda: bool(plain(expired, {"user": good.user_id}))


@contextmanager
def letters(bad: Customer, good: Customer) -> Iterator[Sweep]:
    """The first is of a template that this release does not know, the second to nobody."""
    with db.transaction() as session:
        for _ in range(2):
            mails.record(session, "password_reset", "nobody@example.com")
    plain(text("update mails set template = 'newer' where id = (select id from mails order by due_at, id limit 1)"), {})
    yield sweeper.PERIODIC["send-mails"][1], lambda: bool(plain(text("select from mails where outcome = 'nobody'"), {}))


@contextmanager
def deletions(bad: Customer, good: Customer) -> Iterator[Sweep]:
    plain(
        text("update users set deleted_at = now(), is_active = false where id = any(:ids)"),
        {"ids": [bad.user_id, good.user_id]},
    )
    forgotten = text("select from users where id = :user and forgotten_at is not null")
    with poisoned("users", "update", "id", bad.user_id):
        yield account_deletion.finish, lambda: bool(plain(forgotten, {"user": good.user_id}))


@contextmanager
def months(bad: Customer, good: Customer) -> Iterator[Sweep]:
    """Rows of two months without a partition; one of them cannot be moved there."""
    stuck, moved = UUID("01234567-89ab-7000-8000-000000000000"), UUID("01300000-0000-7000-8000-000000000000")
    for id_ in (stuck, moved):
        plain(USED, {"id": id_})
    made = text("select from pg_class where relname = 'usage_logs_2011_05'")
    try:
        with poisoned("usage_logs_default", "delete", "invocation_id", stuck):
            yield lambda: usage.add_months(0), lambda: bool(plain(made, {}))
    finally:
        plain(text("drop table if exists usage_logs_2011_05"), {})


@contextmanager
def deadlines(bad: Customer, good: Customer) -> Iterator[Sweep]:
    waiting(bad, good)
    plain(text("update queue set expires_at = now() - interval '1 s'"), {})
    with poisoned("invocations", "update", "user_id", bad.user_id):
        yield (
            sweeping.expire,
            lambda: not plain(text("select from queue where user_id = :user"), {"user": good.user_id}),
        )


@contextmanager
def slots(bad: Customer, good: Customer) -> Iterator[Sweep]:
    waiting(bad, good)
    spoil(bad)
    yield lambda: sweeping.place_waiting([]), lambda: in_queue("slot is not null", good)


@contextmanager
def admissions(bad: Customer, good: Customer) -> Iterator[Sweep]:
    keyed = [factories.keyed(customer, 100, at_once=1) for customer in (bad, good)]
    waiting(*keyed, due="key_due_at")
    spoil(bad)
    yield lambda: sweeping.admit_waiting([]), lambda: in_queue("key_due_at is null", good)


@contextmanager
def lost_work(bad: Customer, good: Customer) -> Iterator[Sweep]:
    worker, tool = factories.worker(), factories.tool(max_attempts=2)
    made = [customer.submit(tool) for customer in (bad, good)]
    for _ in made:
        factories.taken(worker)
    invocations.leave(worker.worker)
    with poisoned("attempts", "insert", "invocation_id", made[0]):
        yield sweeping.reap_dead_processes, lambda: in_queue("lease_expires_at is null", good)


SCENARIOS = {
    "free-orphaned-holds": orphans,
    "tell-of-thresholds": thresholds,
    "verify-ledger": verified,
    "renew-periods": renewals,
    "settle-remainders": remainders,
    "send-mails": letters,
    "finish-deletions": deletions,
    "add-usage-months": months,
    "expire": deadlines,
    "place_waiting": slots,
    "admit_waiting": admissions,
    "reap_dead_processes": lost_work,
}
#: Sweeps that are statements over many rows, whatever account these are of: they have no loop that one could end.
STATEMENTS = {
    "roll-up-usage",
    "roll-up-failures",
    "forget-old-keys",
    "refresh-tool-latencies",
    "drop-payloads",
    "drop-unused-payloads",
    "measure-payloads",
    "disable-failing-webhooks",
    "prune-events",
    "purge-mails",
    "forget-old-sessions",
    "remove-delegated-keys",
}
#: As `add-usage-months`.
ALIKE = {"retire-usage-months"}


def test_every_sweep_is_among_them() -> None:
    assert {*sweeper.PERIODIC} <= {*SCENARIOS} | STATEMENTS | ALIKE


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)
def test_the_others_are_served(db: None, hurried: None, scenario: Scenario) -> None:
    bad, good = sorted((factories.customer(100) for _ in range(2)), key=lambda each: each.period_id)
    with scenario(bad, good) as (sweep, served):
        for _ in range(2):
            sweep()
        assert served()

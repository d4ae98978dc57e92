"""Allowances of API keys, through every crash, wipe and race."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest

from common import budgets, invocations
from common.errors import BudgetExhausted, DependencyUnavailable
from common.kit import failpoints
from common.kit import redis as redis_kit
from common.kit.clock import uuid7
from common.operations import ledger
from common.subscriptions import for_submit, months, renew_due
from tests import factories
from tests.keys.conftest import Account, Work
from tests.keys.spending import fields, spent, wipe
from tests.subscriptions.accounts import began
from tests.usage.ledger import rolled_up


def test_a_wiped_redis_is_rebuilt_from_rows(account: Account, work: Work) -> None:
    key, tool = account.key(30), factories.tool()
    for _ in range(3):
        key.submit(tool)
    work.end(cost=7)
    for _ in range(2):  # in single rows, and then in sums
        wipe()
        assert key.submit(tool).refusal == (402, "budget_exhausted")
        before = fields(account)
        assert before[f"k:{key.id}"] == "total,0,7,20"
        account.right()
        rolled_up()
    wipe()
    assert key.submit(tool, max_tokens=3).status == 202
    assert spent(key) == (7, 23, 0)
    account.right()


def test_a_hold_that_a_rebuild_has_not_seen_cannot_be_stored(account: Account) -> None:
    """Wiped between hold and row, and others have used the allowance meanwhile: the row is not written."""
    key, tool = account.key(15), factories.tool()

    def meanwhile() -> None:
        wipe()
        assert key.submit(tool).status == 202

    once = [meanwhile]
    with failpoints.calling("web.before_commit", lambda: once and once.pop()()):
        assert key.submit(tool).refusal == (402, "budget_exhausted")
    assert spent(key) == (0, 10, 5)
    account.right()


def test_what_ends_while_it_is_rebuilt_is_counted_once(account: Account, work: Work) -> None:
    key, tool = account.key(40), factories.tool()
    for _ in range(3):
        key.submit(tool)
    with failpoints.calling("rebuild.after_read", lambda: work.end(cost=6)):
        budgets.rebuild(account.customer.user_id, account.customer.period_id)
    assert fields(account)[f"k:{key.id}"] == "total,0,6,20"
    account.right()


def test_what_was_accepted_in_another_period_counts(account: Account, work: Work) -> None:
    """The month ends, and what is open from before ends afterwards: it is told to the hash of the new period's gate."""
    key, tool = account.key(40), factories.tool()
    for _ in range(2):
        key.submit(tool)
    began(account.customer.user_id, months.beginning(datetime.now(UTC), -1) - timedelta(hours=1))
    assert renew_due() == 1
    assert for_submit(account.customer.user_id).period_id != account.customer.period_id
    assert key.submit(tool).status == 202
    assert fields(account)[f"k:{key.id}"] == "total,0,0,30"
    work.end(cost=3)
    assert fields(account)[f"k:{key.id}"] == "total,0,3,20"
    with failpoints.calling("rebuild.after_read", lambda: work.end(cost=3)):
        budgets.rebuild(account.customer.user_id, for_submit(account.customer.user_id).period_id)
    budgets.rebuild(account.customer.user_id, account.customer.period_id)
    assert fields(account)[f"k:{key.id}"] == "total,0,6,10"
    account.right()


def test_the_answer_of_the_commit_may_be_lost(account: Account) -> None:
    """A web process dies between hold and row: the hold counts until the sweep has rebuilt the gate."""
    key, tool = account.key(15), factories.tool()
    keyed = invocations.account_of(key.caller, for_submit(account.customer.user_id))
    assert isinstance(budgets.hold(keyed, uuid7(), 10), budgets.Hold)
    assert fields(account)[f"k:{key.id}"] == "total,0,0,10"
    assert any("of an API key" in each.found for each in ledger.verify().differences)
    assert budgets.free_orphans(older_than=-1) == 1
    account.right()
    assert key.submit(tool).status == 202


@pytest.mark.parametrize(
    ("field", "value"), [("k:{key}", "total,0,90,10"), ("k:{key}", None), ("h:{hold}", None), ("k:{key}", "nonsense")]
)
def test_what_differs_is_found_and_repaired(account: Account, work: Work, field: str, value: str | None) -> None:
    key, tool = account.key(100), factories.tool()
    key.submit(tool)
    work.end(cost=5)
    made = key.submit(tool).data
    hash_, name = budgets.allowances_key(account.customer.user_id), field.format(key=key.id, hold=made["id"])
    before = fields(account)[name]
    redis_kit.client().hset(hash_, name, value) if value else redis_kit.client().hdel(hash_, name)
    assert ledger.verify().differences != ()
    assert budgets.free_orphans(older_than=30) == 1
    account.right()
    assert fields(account)[name].split(",")[0] == before.split(",")[0]


def test_exactly_as_many_as_the_allowance_covers(account: Account, work: Work) -> None:
    """Four threads, wiped all the while."""
    key, tool = account.key(100), factories.tool()
    caller, accepted, stop = key.caller, [], threading.Event()

    def submits() -> None:
        for _ in range(6):
            try:
                accepted.append(invocations.submit(caller, tool.slug, factories.order()).id)
            except (BudgetExhausted, DependencyUnavailable):
                continue

    def wipes() -> None:
        while not stop.wait(0.1):
            wipe()

    wiping = threading.Thread(target=wipes)
    wiping.start()
    threads = [threading.Thread(target=submits) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stop.set()
    wiping.join()
    while key.submit(tool).status == 202:
        pass
    assert spent(key) == (0, 100, 0)
    assert len(accepted) <= 10
    account.right()

"""`max_concurrency` of API keys: how many of its invocations run at once; the others wait, and nothing is refused."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from common import budgets, invocations
from common.invocations import admitting, placing, sweeping
from common.kit import clock
from common.kit import db as db_kit
from common.kit import redis as redis_kit
from common.operations import ledger
from tests import factories
from tests.budgets import world
from tests.keys.conftest import Account, Key, Work, joined
from tests.plain import plain

_ROWS = text("""
select q.id, case when q.token is not null then 'runs' when q.slot is not null then 'ready'
                  when q.key_due_at is not null then 'key' else 'slot' end as state
  from queue q join invocations i on i.id = q.id order by q.id
""")


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sweep leaves nothing to neighbours."""
    monkeypatch.setattr(placing, "BEHIND", 0.0)
    monkeypatch.setattr(admitting, "BEHIND", 0.0)


def states() -> list[str]:
    """What the open invocations wait for, the oldest first: the key, a slot of the account, a worker; or they run."""
    return [row.state for row in plain(_ROWS, {})]


def made(key: Key, tool: Any, **body: Any) -> UUID:
    return UUID(key.submit(tool, **body).data["id"])


def counted(account: Account) -> dict[str, int]:
    """What the gate counts, by key."""
    gate = budgets.gate(account.customer.user_id, account.customer.period_id)
    return {name[2:]: int(value) for name, value in gate.items() if name.startswith("a:") and value != "0"}


def sweep() -> None:
    sweeping.admit_waiting([])
    sweeping.place_waiting([])


def test_it_bounds_what_runs_and_refuses_nothing(account: Account, work: Work) -> None:
    key, tool = account.key(max_concurrency=2), factories.tool()
    assert account.listed(key)["max_concurrency"] == 2
    first, second, third = (made(key, tool) for _ in range(3))
    made(account.session, tool)
    assert states() == ["ready", "ready", "key", "ready"], "others of the account are not concerned"
    assert counted(account) == {key.id: 2}
    waiting = key("GET", f"/invocations/{third}").data["waiting"]
    assert (waiting["reason"], "API key" in waiting["detail"]) == ("slot", True)
    assert key("POST", f"/tools/{tool.slug}/quote", json={"input": {}}).data["waiting"]["reason"] == "slot"
    assert account.session("POST", f"/tools/{tool.slug}/quote", json={"input": {}}).data["waiting"] is None
    assert work.end() == first
    assert states() == ["ready", "ready", "ready"], "the next one has its slot with the end of the first"
    assert [work.end() for _ in range(2)].count(second) == 1
    work.end()
    assert states() == []
    assert counted(account) == {}
    account.right()


def test_what_comes_from_a_key_counts_with_it(account: Account) -> None:
    root = account.key(max_concurrency=2, scopes=["invocations:write", "keys:delegate"])
    child = root("POST", "/keys/delegate", json={"tokens": 100, "expires_in": 600}).data
    tool, below = factories.tool(), Key(account, child["id"], child["key"])
    assert "max_concurrency" not in child
    for key in (below, root, below, root):
        made(key, tool)
    assert states() == ["ready", "ready", "key", "key"]
    assert counted(account) == {root.id: 2}
    account.right()


@pytest.mark.parametrize("wrong", [0, -1, "2", 2**31, True, 1.5])
def test_what_is_no_number_of_invocations(account: Account, wrong: Any) -> None:
    answer = account.session("POST", "/users/me/api-keys", json={"name": "k", "max_concurrency": wrong})
    assert answer.refusal == (422, "validation_failed")
    assert answer.body["errors"][0]["pointer"] == "/max_concurrency"


def test_a_busy_account_serves_its_keys_in_turn(db: None, http: Any, hurried: None, work: Work) -> None:
    """The account is full, and none of the key runs: its first one gets the next slot that is its turn."""
    account = joined(http, factories.customer(1_000, at_once=2))
    key, tool = account.key(max_concurrency=1), factories.tool()
    for _ in range(2):
        made(account.session, tool)
    wanted = [made(key, tool) for _ in range(2)]
    later = made(account.session, tool)
    assert states() == ["ready", "ready", "slot", "key", "slot"]
    assert counted(account) == {key.id: 1}
    work.end()
    assert states() == ["ready", "ready", "key", "slot"], "the key's first came before"
    work.end()
    assert states() == ["ready", "key", "ready"]
    ended = [work.end() for _ in range(3)]
    assert (set(ended), ended.index(wanted[0]) < ended.index(wanted[1])) == ({*wanted, later}, True)
    account.right()


def test_the_sweep_admits_what_no_end_of_the_key_brings(db: None, http: Any, hurried: None, work: Work) -> None:
    """A slot of the key went to an older row of the account; and a row comes back from a failed attempt."""
    account = joined(http, factories.customer(1_000, at_once=1))
    key, tool = account.key(max_concurrency=1), factories.tool()
    made(key, tool)
    made(account.session, tool)
    made(key, tool)
    assert states() == ["ready", "slot", "key"]
    work.end()
    assert states() == ["ready", "key"]
    assert counted(account) == {}
    sweep()
    assert states() == ["ready", "slot"], "admitted by its key, and next in the account"
    assert counted(account) == {key.id: 1}
    account.right()
    work.end()
    task = factories.taken(work.options)
    invocations.retry_later(task, factories.BAD, 0.0, work.options)
    assert states() == ["key"]
    assert counted(account) == {}
    sweep()
    assert states() == ["ready"]
    work.end()
    account.right()


def test_what_is_scheduled_takes_nothing_of_the_key(account: Account, work: Work) -> None:
    key, tool = account.key(max_concurrency=1), factories.tool()
    later = made(key, tool, not_before=clock.rfc3339(datetime.now(UTC) + timedelta(hours=1)))
    assert (states(), counted(account)) == (["key"], {})
    assert key("GET", f"/invocations/{later}").data["waiting"]["reason"] == "scheduled"
    made(key, tool)
    sweep()
    assert states() == ["key", "ready"]
    world.shift("key_due_at", [later], -4000)
    sweep()
    assert states() == ["key", "ready"], "it is due, and the key has no room"
    work.end()
    assert states() == ["ready"]
    account.right()


def test_a_paused_tool_takes_nothing_of_the_key(account: Account) -> None:
    key, tool, other = account.key(max_concurrency=1), factories.tool(), factories.tool()
    made(key, tool)
    made(key, other)
    assert sweeping.unplace_paused([tool.id]) == 1
    assert (states(), counted(account)) == (["key", "key"], {})
    sweeping.admit_waiting([tool.id])
    assert states() == ["key", "ready"]
    account.right()


def _wipe(_account: Account) -> None:
    redis_kit.client().flushall()


def _rebuild(account: Account) -> None:
    budgets.rebuild(account.customer.user_id, account.customer.period_id)


def _restore(_account: Account) -> None:
    world.restored(world.dumped())


@pytest.mark.parametrize("forget", [_wipe, _rebuild, _restore], ids=lambda each: each.__name__)
def test_the_count_is_made_of_rows_again(
    db: None, http: Any, hurried: None, work: Work, forget: Callable[[Account], None]
) -> None:
    account = joined(http, factories.customer(1_000, at_once=3))
    one, two, tool = account.key(max_concurrency=1), account.key(max_concurrency=2), factories.tool()
    for key in (one, one, two, two, two, account.session):
        made(key, tool)
    assert states() == ["ready", "key", "ready", "ready", "key", "slot"]
    factories.taken(work.options)
    forget(account)
    made(one, tool)
    assert states() == ["runs", "key", "ready", "ready", "key", "slot", "key"]
    assert counted(account) == {one.id: 1, two.id: 2}
    account.right()


def test_a_wrong_count_is_found_and_put_right(account: Account) -> None:
    key, tool = account.key(max_concurrency=2), factories.tool()
    made(key, tool)
    gate = budgets.budget_key(account.customer.user_id, account.customer.period_id)
    redis_kit.client().hincrby(gate, f"a:{key.id}", 1)
    found = [each.found for each in ledger.verify().differences]
    assert found == [f"keys: Redis '{key.id}=2', rows '{key.id}=1'"]
    assert budgets.free_orphans(older_than=0) == 1
    account.right()


def test_more_running_than_allowed_is_found(account: Account, work: Work) -> None:
    key, tool = account.key(max_concurrency=2), factories.tool()
    for _ in range(2):
        made(key, tool)
        factories.taken(work.options)
    db_kit.rowcount(text("update api_keys set max_concurrency = 1"), {})
    (found,) = ledger.verify().differences
    assert (found.where, found.found) == (key.id, "2 running, 1 allowed")

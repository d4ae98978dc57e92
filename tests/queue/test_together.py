"""Several invocations are completed by one statement, each as if it were alone; and only quick ones are claimed so."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from common import budgets, invocations
from common.invocations import ClaimOptions, Completion, Task, sweeping
from common.operations import ledger
from common.tools import ListedTool
from tests import factories
from tests.budgets import world
from tests.factories import BAD, GOOD

NUL = replace(GOOD, output={"text": "\0"})


def several(worker: ClaimOptions, *quick: ListedTool, most: int = 8) -> ClaimOptions:
    return replace(worker, most=most, quick=tuple(tool.current.id for tool in quick))


def quiet(worker: ClaimOptions) -> ClaimOptions:
    return replace(worker, take_next=False)


def ended(task: Task) -> tuple[str, int]:
    row = world.ended_rows()[task.id]
    return row.status, row.charged


def all_is_right() -> None:
    assert budgets.free_orphans(older_than=-1) == 0
    assert ledger.verify().differences == ()


def test_each_of_several_is_completed_under_its_token_with_its_own_charge(db: None) -> None:
    """Of two accounts; one was canceled meanwhile, one lost to another worker."""
    accounts, tool, worker = [factories.customer() for _ in range(2)], factories.tool(), factories.worker()
    for number in range(6):
        accounts[number % 2].submit(tool)
    tasks = invocations.claim_several(several(worker, tool))
    assert len(tasks) == 6
    canceled, late, lost, *good = tasks
    for task in (canceled, late):
        owner = next(each for each in accounts if each.user_id == task.user_id)
        invocations.cancel(owner.caller, task.id)
    invocations.take_over(worker.worker, [lost.token])
    ends: list[tuple[Task, Completion]] = [(canceled, BAD), (late, replace(GOOD, cost=9)), (lost, GOOD)]
    ends += [(task, replace(GOOD, cost=cost)) for cost, task in enumerate(good, 2)]
    assert invocations.complete_together(ends, quiet(worker)) == []
    assert ended(canceled) == ("canceled", 0)
    assert ended(late) == ("succeeded", 9)
    assert [ended(task) for task in good] == [("succeeded", 2), ("succeeded", 3), ("succeeded", 4)]
    assert world.open_rows() == {lost.id: (None, 10, 1)}, "it belongs to whoever takes it next"
    all_is_right()


def test_each_free_slot_goes_to_a_row_of_its_account(db: None) -> None:
    one, other = factories.customer(at_once=2), factories.customer(at_once=3)
    tool, worker = factories.tool(), factories.worker()
    made = {customer.period_id: [customer.submit(tool) for _ in range(5)] for customer in (one, other)}
    options = several(worker, tool)
    tasks = invocations.claim_several(options)
    assert world.busy() == {one.period_id: (2, 2), other.period_id: (3, 3)}
    following = invocations.complete_together([(task, GOOD) for task in tasks], options)
    assert world.busy() == {one.period_id: (2, 2), other.period_id: (2, 2)}
    assert {task.id for task in following} == {*made[one.period_id][2:4], *made[other.period_id][3:]}
    last = invocations.complete_together([(task, GOOD) for task in following], options)
    assert [task.id for task in last] == made[one.period_id][4:]
    invocations.complete_together([(task, GOOD) for task in last], options)
    assert world.open_rows() == {}
    all_is_right()


def test_a_slot_of_a_key_stays_the_keys(db: None) -> None:
    """Rows with a `max_concurrency` of their API key are completed one by one; the others with each other."""
    customer, tool, worker = factories.customer(at_once=4), factories.tool(), factories.worker()
    keyed = factories.keyed(customer, 1_000, at_once=2)
    for _ in range(4):
        keyed.submit(tool)
        customer.submit(tool)
    options = several(worker, tool)
    tasks = invocations.claim_several(options)
    while tasks:
        tasks = invocations.complete_together([(task, GOOD) for task in tasks], options)
        tasks = tasks or invocations.claim_several(options)
        assert all(placed <= most for placed, most in world.busy_keys())
    assert world.open_rows() == {}
    all_is_right()


def test_one_that_cannot_be_stored_harms_no_other(db: None) -> None:
    customer, tool, worker = factories.customer(), factories.tool(), factories.worker()
    for _ in range(4):
        customer.submit(tool)
    options = several(worker, tool, most=3)
    bad, *good = invocations.claim_several(options)
    (following,) = invocations.complete_together([(bad, NUL), *((task, GOOD) for task in good)], options)
    assert [ended(task) for task in (bad, *good)] == [("failed", 0), ("succeeded", 1), ("succeeded", 1)]
    invocations.complete(following, GOOD, quiet(worker))
    all_is_right()


def test_only_quick_rows_that_were_never_tried_are_claimed_together(db: None) -> None:
    customer, worker = factories.customer(), factories.worker()
    quick, slow = factories.tool(), factories.tool()
    made = [customer.submit(tool) for tool in (quick, slow, quick, quick)]
    options = several(worker, quick)
    together = invocations.claim_several(options)
    assert [task.id for task in together] == [made[0], made[2], made[3]]
    customer.submit(quick)
    (alone,) = invocations.claim_several(options)
    assert alone.id == made[1], "it had been passed over, and is still the first in line"
    invocations.complete(alone, GOOD, quiet(worker))
    (tried,) = invocations.claim_several(options)
    invocations.give_back(*together)
    invocations.retry_later(tried, BAD, 0.0, quiet(worker))
    world.shift("due_at", [tried.id], -5)
    sweeping.place_waiting([])
    claimed = [invocations.claim_several(options) for _ in range(2)]
    assert sorted(len(tasks) for tasks in claimed) == [1, 3]
    assert {task.attempt for tasks in claimed for task in tasks if len(tasks) == 3} == {1}, "given back is not tried"


def test_rows_that_only_waited_in_a_dead_process_are_tried_again_one_by_one(db: None) -> None:
    customer, tool, worker = factories.customer(), factories.tool(max_attempts=2), factories.worker()
    made = [customer.submit(tool) for _ in range(3)]
    assert len(invocations.claim_several(several(worker, tool))) == 3
    invocations.leave(worker.worker)
    assert sweeping.reap_dead_processes() == 3
    world.shift("due_at", made, -5)
    sweeping.place_waiting([])
    another = several(factories.worker(), tool)
    assert [len(invocations.claim_several(another)) for _ in range(4)] == [1, 1, 1, 0]


def test_results_that_are_stored_together_are_logged_in_one_line(db: None, caplog: pytest.LogCaptureFixture) -> None:
    customer, tool, worker = factories.customer(), factories.tool(), factories.worker()
    made = [customer.submit(tool) for _ in range(4)]
    *several_, one = invocations.claim_several(several(worker, tool))
    caplog.clear()
    invocations.complete_together([(task, replace(GOOD, cost=3)) for task in several_], quiet(worker))
    invocations.complete(one, BAD, quiet(worker))
    lines: list[Any] = [line.msg for line in caplog.records]
    together, alone = [line for line in lines if str(line["event"]).endswith("completed")]
    assert together["event"] == "invocations completed"
    good = {"status": "succeeded", "charged": 3}
    shown = sorted(together["invocations"], key=lambda each: each["invocation_id"])
    assert shown == [{"invocation_id": str(each), **good} for each in made[:3]]
    assert alone["event"] == "invocation completed"
    assert (alone["invocation_id"], alone["status"], alone["charged"]) == (str(made[3]), "failed", 0)


def test_rows_of_paused_tools_are_passed_over(db: None) -> None:
    customer, worker = factories.customer(), factories.worker()
    tools = [factories.tool() for _ in range(3)]
    made = [customer.submit(tool) for tool in tools]
    options = several(replace(worker, paused=(tools[0].id, tools[2].id)), *tools)
    assert [task.id for task in invocations.claim_several(options)] == [made[1]]
    rest = invocations.claim_several(several(worker, *tools))
    assert [task.id for task in rest] == [made[0], made[2]]

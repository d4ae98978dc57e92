"""A 402 that a program can act on: what would be accepted now, and what can be done about it."""

from __future__ import annotations

from typing import Any

from common import subscriptions
from common.identity import audit
from common.subscriptions import plans
from tests import factories
from tests.keys.conftest import Account, Key

Json = dict[str, Any]
PRICE = {"base_tokens": 5, "per_unit": {"pointer": "/n", "tokens": 1, "unit": "x"}, "max_tokens": 800}
MEMBERS = {"required", "available", "shortfall", "budget", "plans", "affordable_max_tokens", "actions"}


def refused(key: Key, tool: Any, **body: Any) -> Json:
    answer = key.submit(tool, **body)
    assert answer.refusal == (402, "budget_exhausted")
    assert set(answer.body) >= MEMBERS
    return answer.body


def actions(problem: Json) -> Json:
    """By what they are."""
    return {action["rel"]: {**action} for action in problem["actions"]}


def test_what_would_be_accepted_now_is_accepted(account: Account) -> None:
    tool = factories.tool(price=PRICE)
    assert account.session.submit(tool).status == 202
    problem = refused(account.session, tool)
    assert (problem["budget"], problem["available"], problem["affordable_max_tokens"]) == ("account", 200, 200)
    retry = actions(problem)["retry_with"]
    assert retry == {"rel": "retry_with", "max_tokens": 200}
    assert refused(account.session, tool, max_tokens=retry["max_tokens"] + 1)["affordable_max_tokens"] == 200
    assert account.session.submit(tool, max_tokens=retry["max_tokens"]).status == 202
    account.right()


def test_below_the_base_price_there_is_nothing_to_retry_with(account: Account) -> None:
    assert account.session.submit(factories.tool(price={**PRICE, "max_tokens": 996}), max_tokens=996).status == 202
    problem = refused(account.session, factories.tool(price=PRICE))
    assert (problem["available"], problem["affordable_max_tokens"]) == (4, None)
    assert "retry_with" not in actions(problem)


def test_waiting_is_offered_where_it_helps(account: Account) -> None:
    user, tool = account.customer.user_id, factories.tool(price=PRICE)
    dear = factories.tool(price={**PRICE, "max_tokens": 1_001})
    assert "wait_until" not in actions(refused(account.session, dear)), "more than any period grants"
    assert account.session.submit(tool).status == 202
    problem = refused(account.session, tool)
    assert actions(problem)["wait_until"] == {"rel": "wait_until", "at": problem["resets_at"]}
    subscriptions.cancel(user)
    assert "wait_until" not in actions(refused(account.session, tool)), "there is no next period"
    subscriptions.subscribe(user, account.customer.plan)
    plans.edit(account.customer.plan, {"monthly_tokens": 700}, actor=audit.OPERATOR)
    assert "wait_until" not in actions(refused(account.session, tool)), "the next period grants less"


def test_each_plan_that_would_do_is_offered_with_a_page_for_a_person(account: Account) -> None:
    tool = factories.tool(price={**PRICE, "max_tokens": 900_000})
    problem = refused(account.session, tool)
    assert problem["plans"] == ["pro", "enterprise"]
    offered = [action for action in problem["actions"] if action["rel"] == "upgrade"]
    assert [(action["plan"], action["href"]) for action in offered] == [
        (plan, f"/console/plan/change?plan={plan}") for plan in problem["plans"]
    ]
    assert account.http.get(offered[0]["href"]).status_code in (200, 303)


def test_a_keys_allowance_refuses_with_the_same_members(account: Account) -> None:
    tool = factories.tool(price=PRICE)
    key, daily = account.key(300), account.key(900, "day")
    problem = refused(key, tool)
    assert (problem["budget"], problem["affordable_max_tokens"], problem["plans"]) == ("api_key", 300, [])
    assert problem["actions"] == [{"rel": "retry_with", "max_tokens": 300}], "it never resets"
    assert key.submit(tool, max_tokens=300).status == 202
    assert daily.submit(tool, max_tokens=600).status == 202
    problem = refused(daily, tool)
    assert problem["available"] == 300
    assert problem["affordable_max_tokens"] == 100, "no more than the account has"
    assert actions(problem)["wait_until"]["at"] == problem["resets_at"]
    assert daily.submit(tool, max_tokens=100).status == 202
    account.right()


def test_the_parent_of_a_delegated_key_counts_too(account: Account) -> None:
    tool, parent = factories.tool(price=PRICE), account.key(600, scopes=["invocations:write", "keys:delegate"])
    made = parent("POST", "/keys/delegate", json={"tokens": 500, "expires_in": 60}).data
    child = Key(account, made["id"], made["key"])
    assert parent.submit(tool, max_tokens=500).status == 202
    problem = refused(child, tool)
    assert (problem["available"], problem["affordable_max_tokens"]) == (500, 100)
    assert child.submit(tool, max_tokens=100).status == 202
    account.right()

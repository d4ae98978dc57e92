"""Allowances of API keys: a cap within the account's budget, by what ended in a window and what is open."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from common import invocations
from common.errors import TokenRevoked
from common.kit import failpoints
from tests import factories
from tests.keys.conftest import Account, Work, joined
from tests.keys.spending import day_after, spent

# -- what it is ----------------------------------------------------------------------------------------------------


def test_a_key_shows_what_is_left_of_its_allowance(account: Account, work: Work) -> None:
    key, tool = account.key(30, "day"), factories.tool()
    for _ in range(2):
        assert key.submit(tool).status == 202
    work.end(cost=4)
    resets_at = day_after(datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    shown = {"tokens": 30, "window": "day", "charged": 4, "held": 10, "available": 16, "resets_at": resets_at}
    assert key.allowance == account.listed(key)["allowance"] == shown
    assert account.key(5).allowance == {
        "tokens": 5, "window": "total", "charged": 0, "held": 0, "available": 5, "resets_at": None,
    }  # fmt: skip
    unlimited = account.key()
    assert unlimited.allowance is account.listed(unlimited)["allowance"] is None
    assert account.session("GET", "/users/me").data["credential"]["allowance"] is None
    account.right()


def test_it_is_a_cap_and_says_which_budget_refused(account: Account) -> None:
    key, tool = account.key(25), factories.tool()
    assert [key.submit(tool).status for _ in range(3)] == [202, 202, 402]
    refused = key.submit(tool).body
    assert {name: refused[name] for name in ("code", "budget", "required", "available", "shortfall")} == {
        "code": "budget_exhausted", "budget": "api_key", "required": 10, "available": 5, "shortfall": 5,
    }  # fmt: skip
    assert (refused["api_key_id"], refused["plans"]) == (key.id, [])
    assert "resets_at" not in refused
    assert key.submit(tool, max_tokens=5).status == 202, "what is left can be used"
    assert account.key().submit(tool).status == account.session.submit(tool).status == 202, "others are not concerned"
    account.right()


def test_more_than_the_account_has_is_refused_by_the_account(account: Account) -> None:
    key = account.key(10_000)
    refused = key.submit(factories.tool(price={"base_tokens": 1, "per_unit": None, "max_tokens": 2_000}))
    assert (refused.refusal, refused.body["budget"], refused.body["available"]) == (
        (402, "budget_exhausted"), "account", 1_000,
    )  # fmt: skip
    assert refused.body["resets_at"] is not None
    assert spent(key) == (0, 0, 10_000)
    account.right()


def test_what_fails_is_given_back(account: Account, work: Work) -> None:
    key, tool = account.key(10), factories.tool()
    made = key.submit(tool).data
    assert key.submit(tool).refusal == (402, "budget_exhausted")
    work.end(good=False)
    assert key.submit(tool).status == 202
    made = account.session("GET", "/invocations").data[0]
    assert account.session("POST", f"/invocations/{made['id']}/cancel").status == 200
    assert spent(key) == (0, 0, 10)
    assert key.submit(tool).status == 202
    account.right()


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("allowance", {"tokens": 0, "window": "day"}),
        ("allowance", {"tokens": -1, "window": "day"}),
        ("allowance", {"tokens": 2**53, "window": "day"}),
        ("allowance", {"tokens": True, "window": "day"}),
        ("allowance", {"tokens": 5}),
        ("allowance", {"tokens": 5, "window": "year"}),
        ("allowance", {"tokens": 5, "window": "day", "charged": 0}),
        ("allowance", 5),
        ("rate_limit_per_minute", 0),
        ("rate_limit_per_minute", 2**31),
        ("tools", []),
        ("tools", ["a tool that nobody has"]),
        ("tools", ["\u0000"]),
        ("tools", "echo"),
    ],
)
def test_limits_that_make_no_sense(account: Account, name: str, wrong: Any) -> None:
    answer = account.session("POST", "/users/me/api-keys", json={"name": "k", name: wrong})
    assert answer.refusal == (422, "validation_failed")
    assert answer.body["errors"][0]["pointer"].startswith(f"/{name}")


def test_null_is_no_limit(account: Account) -> None:
    nothing: Any = {"allowance": None, "rate_limit_per_minute": None, "tools": None}
    key = account.key(**nothing)
    assert {name: account.listed(key)[name] for name in nothing} == nothing
    assert key.submit(factories.tool()).status == 202


def test_a_quote_knows_the_allowance(account: Account) -> None:
    key, tool = account.key(15), factories.tool()
    assert key.submit(tool).status == 202
    quoted = key("POST", f"/tools/{tool.slug}/quote", json={"input": {}}).data
    assert (quoted["available"], quoted["allowed"], quoted["reason"]) == (5, False, "budget_exhausted")
    quoted = key("POST", f"/tools/{tool.slug}/quote", json={"input": {}, "max_tokens": 5}).data
    assert (quoted["available"], quoted["allowed"]) == (5, True)


def test_a_batch_fits_as_far_as_it_fits(account: Account) -> None:
    key, tool = account.key(20), factories.tool()
    items = [{"tool": tool.slug, "input": {}} for _ in range(3)]
    answers = key("POST", "/invocations/batch", json={"items": items}).body["data"]
    assert [each["status"] for each in answers] == [202, 202, 402]
    assert answers[2]["problem"]["budget"] == "api_key"


# -- rates ---------------------------------------------------------------------------------------------------------


def test_a_key_has_a_rate_of_its_own(account: Account) -> None:
    key, tool = account.key(rate_limit_per_minute=2), factories.tool()
    assert [key.submit(tool).status for _ in range(3)] == [202, 202, 429]
    refused = key.submit(tool)
    assert refused.refusal == (429, "rate_limited")
    quoted = key("POST", f"/tools/{tool.slug}/quote", json={"input": {}}).data
    assert (quoted["allowed"], quoted["reason"]) == (False, "rate_limited")
    assert account.session.submit(tool).status == 202


def test_a_refused_submit_does_not_count(account: Account) -> None:
    key, tool = account.key(10, rate_limit_per_minute=2), factories.tool()
    assert [key.submit(tool).status for _ in range(4)] == [202, 402, 402, 402]
    assert key.submit(tool, input=7).status == 422


# -- who may and who sees ------------------------------------------------------------------------------------------


def test_a_revoked_key_stores_nothing(account: Account) -> None:
    """Revoked between its check and its row."""
    key, tool = account.key(30), factories.tool()
    caller = key.caller

    def meanwhile() -> None:
        account.revoke(key)

    once = [meanwhile]
    with (
        failpoints.calling("web.before_commit", lambda: once and once.pop()()),
        pytest.raises(TokenRevoked),
    ):
        invocations.submit(caller, tool.slug, factories.order())
    assert account.session("GET", "/invocations").data == []
    account.right()


def test_the_allowance_reached_is_told_once(account: Account, work: Work) -> None:
    key, tool = account.key(15, "month"), factories.tool()
    key.submit(tool)
    for _ in range(3):
        assert key.submit(tool).status == 402
    told = [event for event in account.session("GET", "/events").data if event["type"] == "api_key.allowance_reached"]
    (event,) = told
    assert event["data"]["api_key_id"] == key.id
    assert (event["data"]["tokens"], event["data"]["window"]) == (15, "month")
    assert (event["data"]["charged"], event["data"]["held"]) == (0, 10)
    hook = {"url": "https://example.com/hook", "events": ["api_key.allowance_reached"]}
    assert account.session("POST", "/webhooks", json=hook).status in (201, 422)


def test_others_do_not_see_or_use_it(account: Account) -> None:
    """Keys of another account are not there, and their allowances do not matter."""
    key = account.key(30)
    stranger = joined(account.http, factories.customer(100))
    assert stranger.session("DELETE", f"/users/me/api-keys/{key.id}").refusal == (404, "not_found")
    assert stranger.session("GET", "/users/me/api-keys").data == []
    assert key("POST", "/users/me/api-keys", json={"name": "k"}).refusal == (403, "forbidden")
    assert stranger.key(10).submit(factories.tool()).status == 202
    assert spent(key) == (0, 0, 30)

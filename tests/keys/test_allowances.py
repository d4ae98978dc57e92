"""Allowances of API keys: a cap within the account's budget, by what ended in a window and what is open."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from common import budgets, invocations
from common.errors import BudgetExhausted, DependencyUnavailable, TokenRevoked
from common.invocations import storing, submitting
from common.invocations.choosing import ChosenTool
from common.kit import db, failpoints
from common.kit import redis as redis_kit
from common.kit.clock import uuid7
from common.operations import ledger
from common.subscriptions import for_submit, months, renew_due
from tests import factories
from tests.budgets import world
from tests.keys.conftest import Account, Key, Work, joined
from tests.subscriptions.accounts import began
from tests.usage.ledger import rolled_up


def day_after(moment: datetime) -> datetime:
    return moment.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)


def wipe() -> None:
    redis_kit.client().flushall()


def spent(key: Key) -> tuple[int, int, int]:
    """What the rows say: charged, held, available."""
    shown = key.allowance
    assert shown is not None
    return shown["charged"], shown["held"], shown["available"]


def fields(account: Account) -> dict[str, str]:
    return redis_kit.mapping(redis_kit.client().hgetall(budgets.allowances_key(account.customer.user_id)))


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


# -- through every crash and wipe ----------------------------------------------------------------------------------


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


# -- windows -------------------------------------------------------------------------------------------------------


def test_windows_are_days_and_months_in_utc() -> None:
    moment = datetime(2028, 2, 29, 23, 59, 59, 999_999, tzinfo=UTC)
    day, month = budgets.window_at("day", moment), budgets.window_at("month", moment)
    assert (day.starts_at, day.ends_at) == (datetime(2028, 2, 29, tzinfo=UTC), datetime(2028, 3, 1, tzinfo=UTC))
    assert (month.starts_at, month.ends_at) == (datetime(2028, 2, 1, tzinfo=UTC), datetime(2028, 3, 1, tzinfo=UTC))
    december = budgets.window_at("month", datetime(2027, 12, 31, tzinfo=UTC))
    assert december.ends_at == datetime(2028, 1, 1, tzinfo=UTC)
    assert budgets.window_at("total", moment).start == 0


@pytest.mark.parametrize("wiped", [False, True])
def test_a_day_ends(account: Account, work: Work, wiped: bool) -> None:
    """What was charged is forgotten, what is open counts on, and ends in the day that it ends in."""
    key, tool = account.key(30, "day"), factories.tool()
    key.submit(tool)
    work.end(cost=9)
    key.submit(tool)
    assert spent(key) == (9, 10, 11)
    world.a_day_passes()
    if wiped:
        wipe()
    assert spent(key) == (0, 10, 20)
    account.right()
    assert [key.submit(tool).status for _ in range(3)] == [202, 202, 402]
    work.end(cost=8)
    assert spent(key) == (8, 20, 2)
    account.right()


def test_an_end_is_counted_in_its_own_day(account: Account, work: Work) -> None:
    """It ends in the new day before anything is submitted in it."""
    key, tool = account.key(30, "day"), factories.tool()
    key.submit(tool)
    work.end(cost=9)
    key.submit(tool)
    world.a_day_passes()
    work.end(cost=8)
    assert spent(key) == (8, 0, 22)
    account.right()


def test_a_hold_is_good_within_its_window_alone(account: Account) -> None:
    """Counted in one day and stored in another: the row is refused, and everything is done again."""
    key, tool = account.key(30, "day"), factories.tool()
    terms = for_submit(account.customer.user_id)
    shares = invocations.account_of(key.caller, terms).keys
    for moment in (terms.now() - timedelta(days=1), terms.now() + timedelta(days=1)):
        window = budgets.window_at("day", moment)
        asked = budgets.Account(
            terms.user_id, terms.period_id, None, None, (budgets.KeyShare(shares[0].key_id, 30, window, None),)
        )
        hold = budgets.hold(asked, uuid7(), 10)
        assert isinstance(hold, budgets.Hold)
        assert hold.window is not None
        assert hold.window.starts_at == window.starts_at
        assert not stored(key, tool, hold), f"stored outside of {window}"
        wipe()
    hold = budgets.hold(invocations.account_of(key.caller, terms), made := uuid7(), 10)
    assert isinstance(hold, budgets.Hold)
    assert stored(key, tool, hold, made)


def stored(key: Key, tool: Any, hold: budgets.Hold, made: Any = None) -> bool:
    account = key.account.customer
    row = submitting._row(key.caller, factories.order(), ChosenTool(tool, 10), account.period_id, hold)
    values = {**row, "id": made or uuid4(), "held": 10, "request_hash": "-"}
    return bool(db.execute(storing.SUBMIT, values))


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

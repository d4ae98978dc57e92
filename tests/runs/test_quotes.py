"""What a quote says beside what would be held: price and version, what such calls cost, and what holds one back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from common import invocations
from common.identity.audit import OPERATOR
from common.invocations import Completion
from common.tools import ListedTool, breakers, editing
from tests import factories
from tests.budgets.world import shift
from tests.runs.conftest import Api, Json

PER_UNIT = {"pointer": "/units", "tokens": 1, "unit": "word"}
PRICE = {"base_tokens": 1, "per_unit": PER_UNIT, "max_tokens": 100}


def quoted(api: Api, tool: ListedTool, **body: Any) -> Json:
    return dict(api.post(f"/tools/{tool.slug}/quote", {"input": {}, **body}))


def charged(customer: factories.Customer, tool: ListedTool, *costs: int, status: str = "succeeded") -> None:
    worker = replace(factories.worker(), take_next=False)
    for cost in costs:
        customer.submit(tool)
        code = None if status == "succeeded" else "tool_failed"
        invocations.complete(factories.taken(worker), Completion(status, {}, cost, code, code, duration_ms=3), worker)


def test_a_quote_names_the_version_and_its_price(api: Api) -> None:
    tool = factories.tool()
    editing.change(OPERATOR, tool.id, {"price": PRICE})
    quote = quoted(api, tool)
    assert (quote["version"], quote["price"]) == (2, {**PRICE, "per_unit": {**PER_UNIT, "tokens": 1.0}})
    assert (quote["expected_tokens"], quote["waiting"], quote["allowed"]) == (None, None, True)


def test_the_expected_charge_is_the_median_of_what_is_charged_at_this_price(api: Api) -> None:
    tool = factories.tool(price=PRICE)
    other = factories.customer()
    charged(other, tool, *range(1, 20))
    charged(other, tool, *[0] * 5, status="failed")
    assert quoted(api, tool)["expected_tokens"] is None
    charged(api.customer, tool, 20)
    assert quoted(api, tool)["expected_tokens"] == 10
    assert quoted(api, tool, max_tokens=4)["expected_tokens"] == 4
    editing.change(OPERATOR, tool.id, {"name": "The same price"})
    assert quoted(api, tool)["expected_tokens"] == 10
    editing.change(OPERATOR, tool.id, {"price": {**PRICE, "base_tokens": 2}})
    assert quoted(api, tool)["expected_tokens"] is None


def test_a_quote_says_what_an_invocation_would_wait_for(api: Api) -> None:
    tool, failing = factories.tool(), factories.tool()
    assert quoted(api, tool)["waiting"] is None
    api.submit(tool)
    factories.taken(replace(factories.worker(), take_next=False))
    said = quoted(api, tool)["waiting"]
    assert (said["reason"], said["until"], said["detail"] != "") == ("slot", None, True)
    assert api.submit(tool)["waiting"] == said
    assert quoted(api.of(factories.customer()), tool)["waiting"] is None, "others have slots of their own"
    breakers._breaker(str(failing.id)).open()
    quote = quoted(api, failing)
    assert (quote["allowed"], quote["reason"]) == (False, "tool_unavailable")
    assert quote["waiting"]["reason"] == "breaker"
    assert quote["waiting"]["until"] is not None


def test_a_quote_says_when_workers_are_behind(api: Api) -> None:
    tool, others = factories.tool(), factories.customer()
    made = others.submit(tool)
    shift("due_at", [made], -30)
    quote = quoted(api, tool)
    assert (quote["waiting"]["reason"], quote["waiting"]["until"]) == ("queue", None)
    assert quote["estimated_wait_seconds"] >= 30
    factories.taken(replace(factories.worker(), take_next=False))
    assert quoted(api, tool)["waiting"] is None


def test_one_who_may_not_submit_is_told_only_that(api: Api) -> None:
    stranger = api.of(factories.Customer(factories.user(), api.customer.period_id, "none"))
    quote = quoted(stranger, factories.tool(price=PRICE))
    assert (quote["allowed"], quote["reason"], quote["waiting"]) == (False, "subscription_required", None)
    assert quote["price"]["max_tokens"] == 100

"""A caller's `max_tokens` is a limit that the call keeps to: a dearer answer is charged the hold, and withheld."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from common.operations import ledger
from tests.client import Client
from tests.outside.receiver import Receiver
from tests.outside.tool import Tool

Offer = Callable[..., str]
TEXT = "x" * 5_000
PRICE = {"base_tokens": 1, "per_unit": {"pointer": "/units", "tokens": 1, "unit": "character"}, "max_tokens": 6_000}
CHAT = {"pointer": "/usage/total_tokens", "tokens": 0.5, "unit": "token"}


def exceeded(ended: dict[str, Any], held: int) -> None:
    assert (ended["status"], ended["error"]["code"], ended["output"]) == ("failed", "cost_exceeded", None)
    billed = {"held": held, "charged": held, "outcome": "charged", "reason": "cost_exceeded"}
    assert ended["billing"].items() >= billed.items()


@pytest.mark.parametrize(("most", "units"), [(1, "0"), (40, "39"), (5_000, "4999")])
def test_a_call_that_costs_more_than_allowed_gives_nothing_away(
    client: Client, offer: Offer, tool: Tool, most: int, units: str
) -> None:
    ended = client.ended(client.invoke(offer(price=PRICE), {"text": TEXT}, max_tokens=most)["id"])
    exceeded(ended, most)
    assert {event["data"]["output"] for event in client.data("GET", "/events")} == {None}
    (call,) = tool.calls(ended["id"])
    assert call.headers["joyfull-max-units"] == units
    assert client.tokens()["charged"] == most
    (entry,) = client.data("GET", "/usage")
    assert (entry["status"], entry["tokens_used"], entry["http_status"]) == ("error", most, 200)
    totals = client.data("GET", "/usage/summary")["totals"]
    assert (totals["tokens_used"], totals["succeeded"], totals["failed"]) == (most, 0, 1)
    assert ledger.verify().differences == ()


@pytest.mark.parametrize("most", [5_001, 6_000, None])
def test_a_call_within_its_limit_is_charged_by_the_price(
    client: Client, offer: Offer, tool: Tool, most: int | None
) -> None:
    limit: dict[str, Any] = {} if most is None else {"max_tokens": most}
    ended = client.ended(client.invoke(offer(price=PRICE), {"text": TEXT}, **limit)["id"])
    assert (ended["status"], ended["billing"]["charged"], ended["billing"]["outcome"]) == (
        "succeeded",
        5_001,
        "charged",
    )
    told = tool.calls(ended["id"])[0].headers.get("joyfull-max-units")
    assert told == (str(most - 1) if most is not None and most < PRICE["max_tokens"] else None)  # type: ignore[operator]


def test_the_prices_own_limit_is_a_promise(client: Client, offer: Offer) -> None:
    """What it costs beyond that, nobody pays; the limit of the caller is above it."""
    slug = offer(price={**PRICE, "max_tokens": 100})
    ended = client.ended(client.invoke(slug, {"text": TEXT}, max_tokens=9_000)["id"])
    assert (ended["status"], ended["billing"]["charged"]) == ("succeeded", 100)
    exceeded(client.ended(client.invoke(slug, {"text": TEXT}, max_tokens=99)["id"]), 99)


def test_no_other_way_out_leads_to_the_output(client: Client, offer: Offer, receiver: Receiver) -> None:
    """Neither a webhook nor an answer that was waited for has it, and an end is an end."""
    body = {"input": {"text": TEXT}, "max_tokens": 7, "webhook_url": f"{receiver.url}/hook"}
    waited = client.call("POST", f"/tools/{offer(price=PRICE)}/invoke", 200, json=body, headers={"Prefer": "wait=30"})
    exceeded(waited.json()["data"], 7)
    (received,) = receiver.wait(1, timeout=15)
    exceeded(json.loads(received.body)["data"], 7)
    refused = client.call("POST", f"/invocations/{waited.json()['data']['id']}/cancel", 409).json()
    assert refused["code"] == "already_finished"


def test_a_tool_that_counts_units_is_never_free(client: Client, offer: Offer, database_url: str) -> None:
    """Nor one that an older release has accepted with a base price of nothing."""
    slug = offer(price=PRICE)
    with psycopg.connect(database_url) as owner:
        owner.execute("alter table tool_versions disable trigger tool_versions_immutable")
        owner.execute("update tool_versions set base_tokens = 0")
        owner.execute("alter table tool_versions enable trigger tool_versions_immutable")
    refused = client.call("POST", f"/tools/{slug}/invoke", 422, json={"input": {"text": TEXT}, "max_tokens": 0}).json()
    assert [fault["pointer"] for fault in refused["errors"]] == ["/max_tokens"]


def test_the_quote_says_what_a_limit_allows(client: Client, offer: Offer) -> None:
    slug, flat = offer(price=PRICE), offer(price={"base_tokens": 2, "max_tokens": 9})
    quote = {"input": {"text": TEXT}}
    assert client.data("POST", f"/tools/{slug}/quote", json={**quote, "max_tokens": 10})["max_units"] == 9
    assert client.data("POST", f"/tools/{slug}/quote", json=quote)["max_units"] == 5_999
    assert client.data("POST", f"/tools/{flat}/quote", json=quote)["max_units"] is None


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, {"max_tokens": 8}),
        ({"max_tokens": 500}, {"max_tokens": 8}),
        ({"max_tokens": 5, "max_completion_tokens": 500}, {"max_tokens": 5, "max_completion_tokens": 8}),
        ({"max_completion_tokens": 99}, {"max_completion_tokens": 8}),
        ({"n": 4}, {"n": 4, "max_tokens": 2}),
    ],
)
def test_a_model_is_asked_for_no_more_than_is_paid_for(
    client: Client, offer: Offer, tool: Tool, given: dict[str, Any], told: dict[str, Any]
) -> None:
    price = {"base_tokens": 1, "per_unit": CHAT, "max_tokens": 100}
    slug = offer("/chat", adapter="chat_completion", price=price, input_schema={"type": "object"})
    ended = client.ended(client.invoke(slug, given, max_tokens=5)["id"])
    assert tool.calls(ended["id"])[0].body == told
    exceeded(ended, 5)
    free = client.ended(client.invoke(slug, given)["id"])
    assert tool.calls(free["id"])[0].body == given
    assert (free["status"], free["billing"]["charged"]) == ("succeeded", 7)

"""`charged` can be recomputed by who pays, from what the invocation says, and by who bills, from the rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import pytest

from common import invocations
from common.identity.audit import OPERATOR
from common.invocations import Completion
from common.tools import editing
from tests import billing, factories
from tests.client import Client
from tests.runs.conftest import Api

Offer = Callable[..., str]
PER_UNIT = {"pointer": "/units", "tokens": 0.3, "unit": "character"}
PRICE = {"base_tokens": 2, "per_unit": PER_UNIT, "max_tokens": 100}


def price(**changes: Any) -> dict[str, Any]:
    return {"price": {**PRICE, **changes}}


@pytest.mark.parametrize(
    ("text", "units", "charged"),
    [("", 0, 2), ("x", 1, 3), ("x" * 10, 10, 5), ("x" * 11, 11, 6), ("x" * 1_000, 1_000, 100)],
)
def test_a_charge_follows_from_price_and_units(
    client: Client, offer: Offer, text: str, units: int, charged: int
) -> None:
    ended = client.ended(client.invoke(offer(**price()), {"text": text})["id"])
    assert (ended["billing"]["price"], ended["billing"]["units"]) == (PRICE, units)
    assert ended["billing"]["charged"] == billing.recomputed(ended) == charged


@pytest.mark.parametrize("said", ["2.5", "1e2", "0.1", "123456789.123456789"])
def test_a_number_with_a_fraction_is_kept_exactly(client: Client, offer: Offer, database_url: str, said: str) -> None:
    body = f'{{"units":{said}}}'
    slug = offer(f"/garbage?body={quote(body)}", **price(max_tokens=9_000))
    ended = client.ended(client.invoke(slug, {"text": ""})["id"])
    assert (ended["status"], ended["billing"]["units"]) == ("succeeded", float(said))
    assert ended["billing"]["charged"] == billing.recomputed(ended)
    assert billing.unexplained(database_url) == []


def test_the_hold_is_charged_where_the_call_cost_more_than_allowed(
    client: Client, offer: Offer, database_url: str
) -> None:
    ended = client.ended(client.invoke(offer(**price()), {"text": "x" * 200}, max_tokens=10)["id"])
    assert ended["error"]["code"] == "cost_exceeded"
    assert (ended["billing"]["units"], ended["billing"]["charged"], billing.recomputed(ended)) == (200, 10, 10)
    assert billing.unexplained(database_url) == []


def test_what_is_free_has_no_units(client: Client, offer: Offer, database_url: str) -> None:
    failed = client.ended(client.invoke(offer("/fail?status=400", **price()), {"text": "x"})["id"])
    flat = client.ended(client.invoke(offer(**price(per_unit=None)), {"text": "x"})["id"])
    assert (failed["billing"]["units"], failed["billing"]["charged"]) == (None, 0)
    assert (flat["billing"]["units"], flat["billing"]["charged"], flat["billing"]["price"]["per_unit"]) == (
        None,
        2,
        None,
    )
    assert billing.unexplained(database_url) == []


def test_the_price_is_that_of_the_version_that_was_used(api: Api) -> None:
    tool = factories.tool(**price())
    before = api.submit(tool)
    assert (before["billing"]["price"], before["billing"]["units"]) == (PRICE, None)
    editing.change(OPERATOR, tool.id, price(base_tokens=9))
    after = api.submit(tool)
    shown = [api.shown(each)["billing"]["price"]["base_tokens"] for each in (before, after)]
    assert shown == [2, 9]
    assert api.get(f"/tools/{tool.slug}")["price"] == after["billing"]["price"]


def test_an_event_from_before_the_end_knows_no_units(api: Api, database_url: str) -> None:
    api.submit(factories.tool(**price()))
    options = replace(factories.worker(), take_next=False)
    invocations.complete(factories.taken(options), Completion("succeeded", {}, 5, units=10), options)
    told = {event["type"]: event["data"]["billing"] for event in api.get("/events")}
    assert [told[f"invocation.{what}"]["units"] for what in ("queued", "running", "succeeded")] == [None, None, 10]
    assert billing.unexplained(database_url) == []

"""A signed quote: version and price hold until it expires, for this account, tool and input, and for nothing else."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text

from common import invocations
from common.identity import signatures
from common.identity.audit import OPERATOR
from common.invocations import Completion, signed_quotes
from common.kit import clock, failpoints
from common.tools import ListedTool, breakers, editing
from examples import verify_receipt
from tests import factories
from tests.plain import plain
from tests.runs.conftest import Api, Json

PER_UNIT = {"pointer": "/units", "tokens": 1.0, "unit": "word"}
PRICE = {"base_tokens": 1, "per_unit": PER_UNIT, "max_tokens": 100}
DEARER = {"base_tokens": 50, "per_unit": {**PER_UNIT, "tokens": 9}, "max_tokens": 900}
INPUT = {"text": "a", "n": [1.0, 1e-7]}


@pytest.fixture
def tool(api: Api) -> ListedTool:
    return factories.tool(price=PRICE)


@pytest.fixture
def later() -> Iterator[Later]:
    """A wall clock that can be put forward."""
    it = Later()
    before = clock.use(it)
    yield it
    clock.use(before)


class Later(clock.Clock):
    seconds = 0.0

    def wall(self) -> float:
        return super().wall() + self.seconds


def quoted(api: Api, tool: ListedTool, value: Any = None, **body: Any) -> str:
    return str(api.post(f"/tools/{tool.slug}/quote", {"input": value or INPUT, **body})["quote"])


def refused(api: Api, tool: ListedTool, status: int = 422, **body: Any) -> str:
    sent = {"input": INPUT, **body}
    code = api.problem("POST", f"/tools/{tool.slug}/invoke", status, json=sent)["code"]
    assert api.get("/invocations") == [], "nothing is created"
    assert api.get("/subscriptions/current")["tokens"]["held"] == 0
    return str(code)


def run(units: int) -> Json:
    """The next invocation is called and reports so many units; what the platform made of it."""
    worker = replace(factories.worker(), take_next=False)
    task = factories.taken(worker)
    version = plain(text("select * from tool_versions where id = :id"), {"id": task.tool_version_id})[0]
    cost = version.base_tokens + int(version.per_unit["tokens"] * units)
    invocations.complete(task, Completion("succeeded", {}, cost, duration_ms=1, units=units), worker)
    return {"version": version.version, "cost": cost}


def test_version_and_price_hold_although_the_tool_was_edited(api: Api, tool: ListedTool) -> None:
    quote = quoted(api, tool)
    schema = {"type": "object", "required": ["another"]}
    editing.change(OPERATOR, tool.id, {"price": DEARER, "input_schema": schema})
    made = api.submit(tool, {"n": [1, 1e-7], "text": "a"}, quote=quote)
    assert (made["tool"]["version"], made["billing"]["price"], made["billing"]["held"]) == (1, PRICE, 100)
    assert run(7) == {"version": 1, "cost": 8}
    said = api.get(f"/invocations/{made['id']}/receipt")["claims"]
    assert (said["charged"], said["tool"]["version"]) == (8, 1)
    assert said["quote"] == signatures.claims_of(quote)["jti"]
    now = api.problem("POST", f"/tools/{tool.slug}/invoke", 422, json={"input": INPUT})
    assert now["code"] == "tool_input_rejected", "without it, the tool as it is now"


def test_anybody_can_check_what_a_quote_says(api: Api, tool: ListedTool) -> None:
    quote = quoted(api, tool, max_tokens=30)
    claims = verify_receipt.verify(quote, api.http.get("/.well-known/jwks.json").get_json(force=True))
    verify_receipt.check_payload(claims, "input", '{"n": [1, 0.0000001], "text": "a"}')
    names = ("sub", "tool", "requested_tool", "max_tokens", "price")
    assert {name: claims[name] for name in names} == {
        "sub": str(api.customer.user_id),
        "tool": {"id": str(tool.id), "version": 1},
        "requested_tool": str(tool.id),
        "max_tokens": 30,
        "price": PRICE,
    }
    assert claims["exp"] - claims["iat"] == signed_quotes.SECONDS == 300


@pytest.mark.parametrize(("asked", "held"), [({}, 30), ({"max_tokens": 20}, 20), ({"max_tokens": 99}, 30)])
def test_at_most_what_was_quoted_is_held(api: Api, tool: ListedTool, asked: Json, held: int) -> None:
    quote = quoted(api, tool, max_tokens=30)
    assert api.submit(tool, INPUT, quote=quote, **asked)["billing"]["held"] == held


def test_a_quote_reserves_nothing_and_may_be_used_again(api: Api, tool: ListedTool) -> None:
    quote = quoted(api, tool)
    assert api.get("/subscriptions/current")["tokens"]["held"] == 0
    assert {api.submit(tool, INPUT, quote=quote)["billing"]["held"] for _ in range(2)} == {100}
    assert run(1)["version"] == 1


def test_it_is_good_for_this_account_tool_and_input_only(api: Api, tool: ListedTool) -> None:
    quote, other = quoted(api, tool), factories.tool(price=PRICE)
    stranger = api.of(factories.customer())
    assert refused(api, tool, input={"text": "b"}, quote=quote) == "quote_invalid"
    assert refused(api, other, quote=quote) == "quote_invalid"
    assert refused(stranger, tool, quote=quote) == "quote_invalid"
    assert refused(api, tool, quote=f"{quote[:-8]}AAAAAAAA") == "quote_invalid"
    for wrong in ("no quote", "a.b.c", quote.rpartition(".")[0] + "."):
        assert refused(api, tool, quote=wrong) == "quote_invalid"
    for kid in ("\0", "x" * 43, "", 7):
        header = base64.urlsafe_b64encode(json.dumps({"alg": "EdDSA", "typ": signed_quotes.TYPE, "kid": kid}).encode())
        forged = ".".join([header.rstrip(b"=").decode(), *quote.split(".")[1:]])
        assert refused(api, tool, quote=forged) == "quote_invalid"
    receipt_of_it = signatures.sign_only("joyfull-receipt+jwt", signatures.claims_of(quote))
    assert refused(api, tool, quote=receipt_of_it) == "quote_invalid"
    assert refused(api, tool, quote=quote, version=2, status=409) == "conflict"
    assert api.submit(tool, INPUT, quote=quote, version=1)["tool"]["version"] == 1


def test_a_tool_that_cannot_be_called_any_more_cannot_be_called_by_a_quote(api: Api, tool: ListedTool) -> None:
    quote = quoted(api, tool)
    editing.change(OPERATOR, tool.id, {"is_active": False})
    assert refused(api, tool, quote=quote) == "quote_invalid"
    editing.change(OPERATOR, tool.id, {"is_active": True})
    assert api.submit(tool, INPUT, quote=quote)["tool"]["version"] == 1
    editing.archive(OPERATOR, tool.id)
    assert api.problem("POST", f"/tools/{tool.slug}/invoke", 422, json={"input": INPUT, "quote": quote})["code"] == (
        "quote_invalid"
    )


def test_it_holds_until_it_expires_and_not_longer(api: Api, tool: ListedTool, later: Later) -> None:
    quote = quoted(api, tool)
    later.seconds = signed_quotes.SECONDS - 10
    sent, key = {"input": INPUT, "quote": quote}, {"Idempotency-Key": "k"}
    first = api.post(f"/tools/{tool.slug}/invoke", sent, 202, headers=key)
    later.seconds = signed_quotes.SECONDS + 1
    assert api.post(f"/tools/{tool.slug}/invoke", sent, 202, headers=key)["id"] == first["id"], "a repeat ends before"
    assert api.problem("POST", f"/tools/{tool.slug}/invoke", 422, json=sent)["code"] == "quote_expired"


def test_the_insert_itself_refuses_a_tool_that_was_disabled_after_the_check(api: Api, tool: ListedTool) -> None:
    quote = quoted(api, tool)
    with failpoints.calling("web.before_commit", lambda: editing.change(OPERATOR, tool.id, {"is_active": False})):
        assert refused(api, tool, quote=quote) == "quote_invalid"


def test_an_edit_between_the_check_and_the_insert_changes_nothing(api: Api, tool: ListedTool) -> None:
    quote = quoted(api, tool)
    with failpoints.calling("web.before_commit", lambda: editing.change(OPERATOR, tool.id, {"price": DEARER})):
        assert api.submit(tool, INPUT, quote=quote)["billing"]["price"] == PRICE
    assert run(3) == {"version": 1, "cost": 4}


def test_the_databases_clock_decides_when_a_quote_expires(api: Api, tool: ListedTool, later: Later) -> None:
    """A web process whose clock is slow takes it for a good one; the row is refused all the same."""
    later.seconds = -signed_quotes.SECONDS - 60
    assert refused(api, tool, quote=quoted(api, tool)) == "quote_expired"


def test_a_quote_of_the_fallback_holds_for_the_tool_that_was_asked_for(api: Api) -> None:
    other = factories.tool(price=DEARER)
    tool = factories.tool(price=PRICE, fallback=other.slug)
    breakers._breaker(str(tool.id)).open()
    quote = quoted(api, tool)
    breakers.close(tool.id)
    made = api.submit(tool, INPUT, quote=quote)
    assert (made["tool"]["slug"], made["requested_tool"]["slug"]) == (other.slug, tool.slug)
    assert (made["billing"]["price"], made["billing"]["held"]) == (DEARER, 900)
    assert api.problem("POST", f"/tools/{other.slug}/invoke", 422, json={"input": INPUT, "quote": quote})["code"] == (
        "quote_invalid"
    )


def test_an_open_breaker_is_not_got_round(api: Api, tool: ListedTool) -> None:
    quote = quoted(api, tool)
    breakers._breaker(str(tool.id)).open()
    assert refused(api, tool, 503, quote=quote) == "tool_unavailable"


def test_an_input_beyond_doubles_gets_no_quote(api: Api, tool: ListedTool) -> None:
    sent = {"input": {"n": 10**400}}
    assert api.post(f"/tools/{tool.slug}/quote", sent)["quote"] is None
    assert refused(api, tool, input={"n": 10**400}, quote=quoted(api, tool)) == "quote_invalid"


def test_items_of_a_batch_take_quotes(api: Api, tool: ListedTool) -> None:
    quote = quoted(api, tool)
    editing.change(OPERATOR, tool.id, {"price": DEARER})
    items = [{"tool": tool.slug, "input": INPUT, "quote": each} for each in (quote, "no quote")]
    done = api.post("/invocations/batch", {"items": items}, 207)
    assert done[0]["invocation"]["tool"]["version"] == 1
    assert done[1]["problem"]["code"] == "quote_invalid"


def test_a_quote_may_come_in_a_header(api: Api, tool: ListedTool) -> None:
    """It is the same request as with the quote in its body; two quotes are none."""
    path, body = f"/tools/{tool.slug}/invoke", {"input": INPUT, "max_tokens": 30}
    quote, other = quoted(api, tool, max_tokens=20), quoted(api, tool)
    refusal = api.problem("POST", path, 400, json={**body, "quote": other}, headers={"Joyfull-Quote": quote})
    assert refusal["code"] == "invalid_header"
    assert api.problem("POST", path, 422, json=body, headers={"Joyfull-Quote": "nonsense"})["code"] == "quote_invalid"
    once = {"Idempotency-Key": "once"}
    made = api.post(path, body, 202, headers={"Joyfull-Quote": quote, **once})
    again = api.post(path, {**body, "quote": quote}, 202, headers=once)
    assert (made["id"], made["billing"]["held"]) == (again["id"], 20)

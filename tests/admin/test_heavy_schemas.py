"""An expensive schema is refused, or slows down only invocations of its own tool."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http.client import HTTPConnection
from select import select
from typing import Any
from urllib.parse import urlsplit

import pytest

from common.tools import drafts
from dev.platform import Platform
from tests.admin.conftest import Admin
from tests.client import Client

Json = dict[str, Any]
Offer = Callable[..., str]
PRICE = {"base_tokens": 1, "max_tokens": 1}


def twice(keyword: str, definitions: int = 31, **last: Any) -> Json:
    """Each definition refers to the next one twice."""
    named: Json = {f"d{n}": {keyword: [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(definitions)}
    return {"$defs": {**named, f"d{definitions}": last or {"type": "integer"}}, "$ref": "#/$defs/d0"}


HEAVY = {
    "anyOf": twice("anyOf"),
    "allOf": twice("allOf"),
    "oneOf": twice("oneOf"),
    "a property of a property": {
        "$defs": {
            **{
                f"d{n}": {"properties": {"a": {"$ref": f"#/$defs/d{n + 1}"}, "b": {"$ref": f"#/$defs/d{n + 1}"}}}
                for n in range(40)
            },
            "d40": {"const": 1},
        },
        "$ref": "#/$defs/d0",
    },
    "by its name": {
        "$defs": {
            **{f"d{n}": {"$anchor": f"d{n}", "anyOf": [{"$ref": f"#d{n + 1}"}] * 2} for n in range(31)},
            "d31": {"$anchor": "d31", "const": 1},
        },
        "$ref": "#d0",
    },
    "recursion in arrays": {
        "anyOf": [{"type": "array", "items": {"$ref": "#"}, "minItems": n} for n in (1, 1, 1, 1)] + [{"const": 7}]
    },
    "recursion in objects": {
        "anyOf": [{"type": "object", "properties": {"a": {"$ref": "#"}}, "minProperties": 1}] * 4 + [{"const": 7}]
    },
    "patterns": {"anyOf": [{"pattern": f"(?:[^{chr(97 + n % 26)}]{{0,{900 - n}}}x){{0,9}}y"} for n in range(900)]},
}
LIGHT = {
    "a tree": {"type": "object", "properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}}},
    "itself": {"allOf": [{"$ref": "#"}]},
    "a UUID": {"type": "object", "properties": {"text": {"pattern": "^[0-9a-f]{8}-[0-9a-f]{4}$"}}},
    "three thousand references": {
        "$defs": {**{f"d{n}": {"$ref": f"#/$defs/d{n + 1}"} for n in range(3_000)}, "d3000": {}},
        "$ref": "#/$defs/d0",
    },
}


def entry(slug: str, **fields: Any) -> Json:
    plain = {"slug": slug, "name": slug, "endpoint_url": "http://127.0.0.1:9/", "price": PRICE, "input_schema": {}}
    return {**plain, **fields}


@pytest.fixture
def pids(hub: Platform) -> Iterator[None]:
    """No process of the platform crashes in the test."""

    def now() -> dict[str, int]:
        return {name: child.pid for name, child in hub.supervisor.children.items()}

    before = now()
    yield
    assert now() == before
    assert Client(hub.url).http.get(f"{hub.url}/ready", timeout=90).status_code == 200


def accepted_before(offer: Offer, **fields: Any) -> str:
    """A tool as an older release could have stored it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drafts, "_schema_fault", lambda *_: None)
        return offer(**fields)


@pytest.mark.parametrize(
    ("part", "name"),
    [*(("input_schema", name) for name in HEAVY), ("output_schema", "anyOf"), ("output_schema", "patterns")],
)
def test_what_takes_too_long_is_refused(admin: Admin, pids: None, part: str, name: str) -> None:
    refused = admin.call("POST", "/admin/tools", 422, json=entry("heavy", **{part: HEAVY[name]})).json()
    assert [fault["pointer"] for fault in refused["errors"]] == [f"/{part}"]


@pytest.mark.parametrize("name", LIGHT)
def test_what_only_looks_like_it_is_not(admin: Admin, pids: None, name: str) -> None:
    answer = admin.call("POST", "/admin/tools", (201, 422), json=entry("light", input_schema=LIGHT[name]))
    assert answer.status_code == 201 or name.startswith("three"), answer.text


@pytest.mark.parametrize("name", ["anyOf", "oneOf", "by its name"])
def test_a_tool_that_was_accepted_before_holds_up_nobody(client: Client, offer: Offer, pids: None, name: str) -> None:
    heavy, good = accepted_before(offer, input_schema=HEAVY[name]), offer()
    with ThreadPoolExecutor(2) as pool:
        others = [Client(client.base_url).join() for _ in range(2)]
        invoked = [
            pool.submit(each.call, "POST", f"/tools/{heavy}/invoke", (422, 503), json={"input": "x"}) for each in others
        ]
        for _ in range(20):
            client.data("GET", "/tools")
        client.invoke(good, {"text": "x"})
        assert not all(each.done() for each in invoked), "other tools are not delayed"
        codes = {each.result().json()["code"] for each in invoked}
        assert "tool_input_rejected" in codes <= {"tool_input_rejected", "dependency_unavailable"}


def test_nor_do_its_outputs(client: Client, offer: Offer, pids: None) -> None:
    heavy, good = accepted_before(offer, output_schema=HEAVY["anyOf"]), offer()
    made = [client.invoke(heavy, {"text": "x"})["id"] for _ in range(3)]
    assert client.ended(client.invoke(good, {"text": "x"})["id"])["status"] == "succeeded"
    ends = [client.ended(each) for each in made]
    assert {end["error"]["code"] for end in ends} == {"output_rejected"}


def sent(client: Client, path: str, body: Json) -> HTTPConnection:
    """A request of which the answer is not waited for."""
    target, tokens = urlsplit(client.api), client.login.store.read()
    assert tokens is not None
    connection = HTTPConnection(str(target.hostname), target.port, timeout=90)
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {tokens.access_token}"}
    connection.request("POST", target.path + path, json.dumps(body), headers)
    return connection


def test_checks_of_one_account_do_not_delay_those_of_another(client: Client, offer: Offer, pids: None) -> None:
    """In the order of arrival this check would come after more than it waits for, and be refused."""
    heavy, slow = accepted_before(offer, input_schema=HEAVY["anyOf"]), offer(input_schema={"uniqueItems": True})
    attacker = Client(client.base_url).join()
    with ExitStack() as stack:

        def attack() -> list[HTTPConnection]:
            sent_now = [sent(attacker, f"/tools/{heavy}/invoke", {"input": "x"}) for _ in range(12)]
            for each in sent_now:
                stack.callback(each.close)
            return sent_now

        first = attack()
        answered, _, _ = select([each.sock for each in first], [], [], 90)
        assert next(each for each in first if each.sock in answered).getresponse().status == 422
        attack()  # those that came first give up before they are waited for
        client.invoke(slow, [{"n": n} for n in range(60_000)])


def test_it_can_still_be_changed_and_taken_out(admin: Admin, offer: Offer) -> None:
    heavy = accepted_before(offer, input_schema=HEAVY["anyOf"])
    id_ = admin.data("GET", "/admin/tools", params={"q": heavy})[0]["id"]
    assert admin.data("PATCH", f"/admin/tools/{id_}", json={"is_active": False})["is_active"] is False
    admin.call("PATCH", f"/admin/tools/{id_}", 422, json={"input_schema": HEAVY["oneOf"]})


def test_large_values_are_checked_all_the_same(client: Client, offer: Offer) -> None:
    schema = {
        "type": "array",
        "uniqueItems": True,
        "items": {"type": "object", "properties": {"n": {"type": "integer"}}},
    }
    slug = offer(input_schema=schema)
    many = [{"n": n} for n in range(60_000)]
    client.invoke(slug, many)
    for wrong, at in (([*many, {"n": "x"}], "/input/60000/n"), ([*many, {"n": 1}], "/input")):
        refused = client.call("POST", f"/tools/{slug}/invoke", 422, json={"input": wrong}).json()
        assert refused["errors"][0]["pointer"] == at

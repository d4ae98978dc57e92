"""Invalid requests to the product's routes: each gets its error and leaves no rows behind.

Framing, JSON and field types are covered by `test_bad_inputs.py` and `test_wire.py`. Each test goes through its whole
table and reports every row that fails.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple
from uuid import uuid4

import psycopg
import pytest
import requests

from common.identity import audit
from common.tools import editing
from tests.web.conftest import Service, serving

API = "/api/v1"
PASSWORD = "a quiet green river"
JSON = {"Content-Type": "application/json"}
NOBODY = "0190abcd-0000-7000-8000-000000000000"


class Row(NamedTuple):
    """A request, and the response that it must get."""

    entry: str
    method: str
    path: str
    status: int
    code: str
    sent: dict[str, Any] = {}  # noqa: RUF012


@pytest.fixture(scope="module")
def product(environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The product without workers, which may connect to public addresses only."""
    directory = tmp_path_factory.mktemp("bad-inputs")
    with serving(environ, directory, "wsgi:app", OUTBOUND_ALLOW="203.0.113.0/24") as running:
        yield running


class Caller:
    """An account with the free plan, and a client for it."""

    def __init__(self, product: Service, plan: str | None = "free") -> None:
        self.product, self.email = product, f"{uuid4().hex[:12]}@example.com"
        person = {"email": self.email, "password": PASSWORD}
        assert product("POST", f"{API}/auth/register", json={**person, "name": "Thrower"}).status_code == 201
        self.pair = product("POST", f"{API}/auth/login", json=person).json()["data"]
        if plan:
            assert self("POST", "/subscriptions/subscribe", json={"plan": plan}).status_code == 201

    def __call__(self, method: str, path: str, **sent: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {self.pair['access_token']}", **sent.pop("headers", {})}
        return self.product(method, f"{API}{path}", headers=headers, **sent)


@pytest.fixture
def caller(db: None, product: Service) -> Caller:
    return Caller(product)


@pytest.fixture
def tool(db: None) -> str:
    """A tool that costs up to 50 tokens and is never called: no worker runs."""
    price = {"base_tokens": 1, "per_unit": {"pointer": "/units", "tokens": 1, "unit": "character"}, "max_tokens": 50}
    schema = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
    entry = {"slug": "echo", "name": "Echo", "endpoint_url": "https://203.0.113.1/", "input_schema": schema}
    editing.create(audit.PLATFORM, editing.Draft.of({**entry, "price": price}))
    return "echo"


def wrong_of(ask: Any, rows: list[Row]) -> list[str]:
    """Every row whose response is not the expected one."""
    return [f"{row.entry}: {told}" for row in rows if (told := _wrong(ask(row.method, row.path, **row.sent), row))]


def _wrong(response: requests.Response, row: Row) -> str:
    if response.status_code != row.status:
        return f"{response.status_code} {response.text[:200]}"
    if row.status < 400:
        return ""
    problem = response.json()
    if response.headers["Content-Type"] != "application/problem+json" or problem["status"] != row.status:
        return f"no problem: {response.text[:200]}"
    if problem["request_id"] != response.headers["X-Request-ID"]:
        return "another request id"
    return "" if problem["code"] == row.code else f"code {problem['code']}"


def counted(database_url: str) -> dict[str, int]:
    """Number of rows in the tables that a refused request must not write to."""
    tables = ("invocations", "queue", "events", "deliveries", "webhook_endpoints", "grants", "usage_logs", "tools")
    with psycopg.connect(database_url) as connection:
        found = {name: connection.execute(f"select count(*) from {name}").fetchone() for name in tables}
    return {name: int(row[0]) for name, row in found.items() if row}


# -- accounts ------------------------------------------------------------------------------------------------------


def registering(entry: str, status: int, code: str, **body: Any) -> Row:
    person = {"email": f"{uuid4().hex}@example.com", "password": PASSWORD, "name": "A"}
    return Row(entry, "POST", f"{API}/auth/register", status, code, {"json": {**person, **body}})


def test_who_registers(db: None, product: Service) -> None:
    assert registering_as(product, "Ada@Example.com") == 201
    invalid = "validation_failed"
    rows = [
        registering("another case", 409, "email_taken", email="ada@EXAMPLE.com"),
        registering("a header in a name", 422, invalid, name="a\r\nBcc: x@example.com"),
        registering("no dot", 422, invalid, email="a@b"),
        registering("two ats", 422, invalid, email="a@b@example.com"),
        registering("too long", 422, invalid, email=f"{'a' * 250}@example.com"),
        registering("a header", 422, invalid, email="a@example.com\r\nBcc: b@example.com"),
        registering("an address literal", 422, invalid, email="a@[127.0.0.1]"),
        registering("a space", 422, invalid, email="a b@example.com"),
        registering("nine characters", 422, "weak_password", password="q7#Vz!p2L"),
        registering("ten characters", 201, "", password="q7#Vz!p2Lx"),
        registering("64 characters", 201, "", password="q7#Vz!p2" * 8),
        registering("73 characters", 201, "", password="q7#Vz!p2" * 9 + "x"),
        registering("128 characters", 201, "", password="q7#Vz!p2" * 16),
        registering("129 characters", 422, "weak_password", password="q7#Vz!p2" * 16 + "x"),
        registering("NUL inside", 201, "", password="q7#Vz\0!p2Lx"),
        registering("1 MB", 413, "payload_too_large", password="x" * 2**20),
        registering("a role", 422, invalid, role="admin"),
    ]
    assert not wrong_of(product, rows)


def registering_as(product: Service, email: str) -> int:
    body = {"email": email, "password": PASSWORD, "name": "A"}
    return product("POST", f"{API}/auth/register", json=body).status_code


def test_twenty_at_once_for_one_address(db: None, product: Service) -> None:
    with ThreadPoolExecutor(20) as pool:
        statuses = sorted(pool.map(lambda _: registering_as(product, "one@example.com"), range(20)))
    assert statuses == [201] + [409] * 19


def encoded(claims: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()


def test_credentials_that_are_none(caller: Caller, product: Service) -> None:
    """All are 401 in the same form, never 422 or 500."""
    token = caller.pair["access_token"]
    header, claims, signature = token.split(".")
    key = caller("POST", "/users/me/api-keys", json={"name": "k"}).json()["data"]["key"]
    altered = f"{key[:-1]}{'a' if key[-1] != 'a' else 'b'}"
    sent: dict[str, dict[str, str | bytes]] = {
        "none": {},
        "empty": {"Authorization": ""},
        "no token": {"Authorization": "Bearer"},
        "a space": {"Authorization": "Bearer "},
        "basic": {"Authorization": "Basic dXNlcjpwYXNz"},
        "no algorithm": {"Authorization": f"Bearer {encoded({'alg': 'none', 'typ': 'JWT'})}.{claims}."},
        "another signature": {"Authorization": f"Bearer {header}.{claims}.{signature[:-4]}AAAA"},
        "other claims": {"Authorization": f"Bearer {header}.{encoded({'sub': NOBODY})}.{signature}"},
        "a refresh token": {"Authorization": f"Bearer {caller.pair['refresh_token']}"},
        "another prefix": {"X-API-Key": f"sk_{key[3:]}"},
        "another checksum": {"X-API-Key": altered},
        "in lower case": {"X-API-Key": key.lower()},
        "an empty key": {"X-API-Key": ""},
        "not ASCII": {"Authorization": "Bearer é".encode()},
        "8,000 characters": {"Authorization": f"Bearer {'a' * 4000}"},
    }
    rows = [Row(name, "GET", f"{API}/users/me", 401, "unauthenticated", {"headers": h}) for name, h in sent.items()]
    assert not wrong_of(product, rows)
    answer = product("GET", f"{API}/users/me")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer ")
    assert product("GET", f"{API}/users/me", headers={"X-API-Key": key}).status_code == 200


def test_what_a_key_may_not(caller: Caller, product: Service) -> None:
    """A scope means the same whichever header carries the key."""
    key = caller("POST", "/users/me/api-keys", json={"name": "k", "scopes": ["usage:read"]}).json()["data"]["key"]
    both = {"X-API-Key": key, "Authorization": f"Bearer {key}"}
    rows = [
        Row("tools", "GET", f"{API}/tools", 403, "scope_missing", {"headers": {"X-API-Key": key}}),
        Row(
            "as bearer",
            "GET",
            f"{API}/tools",
            403,
            "scope_missing",
            {"headers": {"Authorization": f"Bearer {key}"}},
        ),
        Row("admin", "GET", f"{API}/admin/users", 403, "forbidden", {"headers": {"X-API-Key": key}}),
        Row("keys", "GET", f"{API}/users/me/api-keys", 403, "forbidden", {"headers": {"X-API-Key": key}}),
        Row("two at once", "GET", f"{API}/usage", 400, "invalid_header", {"headers": both}),
        Row("its scope", "GET", f"{API}/usage", 200, "", {"headers": {"X-API-Key": key}}),
    ]
    assert not wrong_of(product, rows)


def test_links_and_tokens_that_lead_nowhere(db: None, product: Service) -> None:
    new = {"json": {"password": PASSWORD}}
    body = {"json": {"refresh_token": "nonsense"}}
    unknown = {"json": {"email": "nobody@example.com", "password": PASSWORD}}
    rows = [
        Row("unknown", "POST", f"{API}/auth/password-reset/unknown", 400, "invalid_link", new),
        Row("long", "POST", f"{API}/auth/password-reset/{'a' * 2000}", 400, "invalid_link", new),
        Row("too long for a URL", "POST", f"{API}/auth/password-reset/{'a' * 9000}", 414, "uri_too_long", new),
        Row("verification", "POST", f"{API}/auth/verify-email/unknown", 400, "invalid_link"),
        Row("no refresh token", "POST", f"{API}/auth/refresh", 401, "unauthenticated", body),
        *[Row("unknown", "POST", f"{API}/auth/login", 401, "invalid_credentials", unknown)] * 10,
        Row("once more", "POST", f"{API}/auth/login", 429, "too_many_attempts", unknown),
    ]
    assert not wrong_of(product, rows)


def test_where_a_request_says_it_comes_from(caller: Caller, product: Service) -> None:
    for value in ("127.0.0.1", ", ".join(["10.0.0.1"] * 100), "garbage", "::1\x01"):
        assert caller("GET", "/users/me", headers={"X-Forwarded-For": value}).status_code in (200, 400), value
    answer = caller("POST", "/users/me/api-keys", json={"name": "k"}, headers={"X-Forwarded-Host": "evil.example"})
    assert answer.headers["Location"].startswith(f"http://localhost:{product.port}/")


# -- submitting ----------------------------------------------------------------------------------------------------

GOOD = {"input": {"text": "x"}}


def submit(entry: str, status: int, code: str, tool: str = "echo", **sent: Any) -> Row:
    return Row(entry, "POST", f"/tools/{tool}/invoke", status, code, {"json": GOOD, **sent})


def test_submits_that_are_refused_leave_no_trace(caller: Caller, tool: str, database_url: str) -> None:
    before = counted(database_url)
    bad, key = "validation_failed", "Idempotency-Key"
    rows = [
        submit("empty", 400, "invalid_header", headers={key: ""}),
        submit("only spaces", 400, "invalid_header", headers={key: '"  "'}),
        submit("empty quotes", 400, "invalid_header", headers={key: '""'}),
        submit("a control character", 400, "malformed_request", headers={key: "a\x7f"}),
        submit("256 characters", 400, "invalid_header", headers={key: "a" * 256}),
        submit("not ASCII", 400, "invalid_header", headers={key: "é".encode()}),
        submit("unknown tool", 404, "not_found", "nothing"),
        submit("unknown id", 404, "not_found", NOBODY),
        submit("not by the schema", 422, "tool_input_rejected", json={"input": {"text": 4}}),
        submit("nothing", 422, "tool_input_rejected", json={"input": None}),
        submit("no input", 422, bad, json={}),
        submit("below the base", 422, bad, json={**GOOD, "max_tokens": 0}),
        submit("negative", 422, bad, json={**GOOD, "max_tokens": -1}),
        submit("2^60", 422, bad, json={**GOOD, "max_tokens": 2**60}),
        submit("a flag", 422, bad, json={**GOOD, "max_tokens": True}),
        submit("a fraction", 422, bad, json={**GOOD, "max_tokens": 1.5}),
        submit("deadline 0", 422, bad, json={**GOOD, "expires_in": 0}),
        submit("deadline beyond a week", 422, bad, json={**GOOD, "expires_in": 604_801}),
        submit("17 labels", 422, bad, json={**GOOD, "metadata": {str(n): "x" for n in range(17)}}),
        submit("a label of another kind", 422, bad, json={**GOOD, "metadata": {"a": 1}}),
        submit("NUL", 422, bad, data=b'{"input":{"text":"a\\u0000b"}}', headers=JSON, json=None),
        submit("half a character", 422, bad, data=b'{"input":{"text":"\\ud800"}}', headers=JSON, json=None),
        submit("NaN", 400, "malformed_json", data=b'{"input":{"text":NaN}}', headers=JSON, json=None),
        submit("webhook to ourselves", 422, "url_refused", json={**GOOD, "webhook_url": "http://127.0.0.1/"}),
        submit("unknown event", 422, bad, json={**GOOD, "webhook_events": ["nothing"]}),
        submit("no event", 422, bad, json={**GOOD, "webhook_events": []}),
        submit("events, and nobody to tell", 422, bad, json={**GOOD, "webhook_events": ["completed"]}),
        *(
            submit(f"no event of an invocation: {name}", 422, bad, json={**GOOD, **told, "webhook_events": [name]})
            for name in ("budget.threshold", "webhook.test")
            for told in ({}, {"webhook_url": "https://203.0.113.1/hook"})
        ),
        submit("unknown field", 422, bad, json={**GOOD, "price": 0}),
        Row("no items", "POST", "/invocations/batch", 422, bad, {"json": {"items": []}}),
        Row("101 items", "POST", "/invocations/batch", 422, bad, {"json": {"items": [{"tool": tool, **GOOD}] * 101}}),
        Row("swapped", "GET", "/usage?from=2027-01-02T00:00:00Z&to=2027-01-01T00:00:00Z", 422, bad),
        Row("ages by the hour", "GET", "/usage/summary?from=1927-01-01T00:00:00Z&bucket=hour", 422, bad),
        Row("unknown order", "GET", "/invocations?sort=-input", 422, bad),
        Row("somebody's cursor", "GET", "/invocations?cursor=AAAAAAAAAAAAAAAAAAAAAAAAAAAA", 400, "invalid_cursor"),
        Row("nobody's", "POST", f"/invocations/{NOBODY}/cancel", 404, "not_found"),
        Row("unknown plan", "POST", "/subscriptions/subscribe", 422, bad, {"json": {"plan": "gratis"}}),
    ]
    assert not wrong_of(caller, rows)
    assert counted(database_url) == before
    tokens = caller("GET", "/subscriptions/current").json()["data"]["tokens"]
    assert (tokens["held"], tokens["charged"], tokens["available"]) == (0, 0, 10_000)


def test_in_a_batch_each_item_is_refused_for_itself(caller: Caller, tool: str, database_url: str) -> None:
    before = counted(database_url)
    items: list[Any] = [None, [], "x", {}, {"tool": tool}, {"tool": "nothing", **GOOD}, {"tool": tool, "input": 1}]
    items.append({"tool": tool, **GOOD, "webhook_url": "file:///etc/passwd"})
    answer = caller("POST", "/invocations/batch", json={"items": items})
    assert answer.status_code == 207
    codes = [item["problem"]["code"] for item in answer.json()["data"]]
    bad = "validation_failed"
    assert codes == [bad] * 5 + ["not_found", "tool_input_rejected", "url_refused"]
    assert counted(database_url) == before


HOOK = {"webhook_url": "https://203.0.113.1/hook"}
#: What is asked to be told of, with what is wrong with it.
NOTHING_TO_TELL: dict[str, dict[str, Any]] = {
    "nobody to tell": {"webhook_events": ["completed"]},
    "nobody to tell of several": {"webhook_events": ["invocation.running", "invocation.failed"]},
    "nobody, in so many words": {"webhook_url": None, "webhook_events": ["completed"]},
    "of no invocation": {**HOOK, "webhook_events": ["budget.threshold"]},
    "of no invocation, beside one that is": {**HOOK, "webhook_events": ["completed", "webhook.test"]},
    "unknown": {**HOOK, "webhook_events": ["invocation.done"]},
    "in other letters": {**HOOK, "webhook_events": ["Completed"]},
    "of nothing": {**HOOK, "webhook_events": []},
    "twice the same": {**HOOK, "webhook_events": ["completed", "completed"]},
    "no list": {**HOOK, "webhook_events": "completed"},
    "null": {**HOOK, "webhook_events": None},
    "null, and nobody to tell": {"webhook_events": None},
}


@pytest.mark.parametrize("way", ["submit", "batch"])
def test_events_that_nobody_would_be_told_of(caller: Caller, tool: str, database_url: str, way: str) -> None:
    """What would be ignored is refused, by both ways in alike; a key that came with it may be used again."""
    before = counted(database_url)["invocations"]
    wrong = [{**GOOD, **told} for told in NOTHING_TO_TELL.values()]
    right = {**GOOD, **HOOK, "webhook_events": ["completed", "invocation.queued"]}
    *refused, accepted = _each(caller, tool, [*wrong, right], way)
    for sent, (status, answer) in zip(wrong, refused, strict=True):
        assert (status, answer.get("code")) == (422, "validation_failed"), sent
        assert {fault["pointer"].split("/")[1] for fault in answer["errors"]} <= {"webhook_events", "webhook_url"}, sent
    again = _each(caller, tool, [right] * len(wrong), way)
    assert {(status, answer["status"]) for status, answer in (accepted, *again)} == {(202, "queued")}
    assert counted(database_url)["invocations"] == before + 1 + len(wrong)


def _each(caller: Caller, tool: str, orders: list[Any], way: str) -> list[tuple[int, Any]]:
    """What each is answered, sent one by one or in one batch. The nth has the nth key in either."""
    keys = [f"key-{n}" for n in range(len(orders))]
    if way == "submit":
        path = f"/tools/{tool}/invoke"
        sent = [caller("POST", path, json=o, headers={"Idempotency-Key": k}) for o, k in zip(orders, keys, strict=True)]
        return [(each.status_code, each.json().get("data", each.json())) for each in sent]
    items = [{"tool": tool, "idempotency_key": key, **order} for order, key in zip(orders, keys, strict=True)]
    answer = caller("POST", "/invocations/batch", json={"items": items})
    assert answer.status_code == 207
    return [(item["status"], item.get("invocation") or item["problem"]) for item in answer.json()["data"]]


def test_keys_of_idempotency(caller: Caller, tool: str, product: Service) -> None:
    key = {"headers": {"Idempotency-Key": "k-1"}}
    refused = caller("POST", f"/tools/{tool}/invoke", json={"input": 4}, **key)
    assert refused.status_code == 422

    def once(_: int) -> tuple[int, str]:
        answer = caller("POST", f"/tools/{tool}/invoke", json=GOOD, **key)
        return answer.status_code, answer.json()["data"]["id"]

    with ThreadPoolExecutor(10) as pool:
        assert len(set(pool.map(once, range(20)))) == 1
    other = {"input": {"text": "y"}}
    rows = [
        submit("another body", 422, "idempotency_key_reused", json=other, headers=key["headers"]),
        submit("in quotes", 422, "idempotency_key_reused", json=other, headers={"Idempotency-Key": '"k-1"'}),
    ]
    assert not wrong_of(caller, rows)
    somebody = Caller(product)
    assert somebody("POST", f"/tools/{tool}/invoke", json=other, **key).status_code == 202
    assert caller("GET", "/subscriptions/current").json()["data"]["tokens"]["held"] == 50


def test_canceling_twice_and_somebody_elses(caller: Caller, tool: str, product: Service) -> None:
    path = f"/invocations/{caller('POST', f'/tools/{tool}/invoke', json=GOOD).json()['data']['id']}"
    somebody = Caller(product, plan=None)
    theirs = [
        Row("foreign", "POST", f"{path}/cancel", 404, "not_found"),
        Row("read", "GET", path, 404, "not_found"),
    ]
    assert not wrong_of(somebody, theirs)
    rows = [
        Row("queued", "POST", f"{path}/cancel", 200, ""),
        Row("twice", "POST", f"{path}/cancel", 409, "already_finished"),
        Row("upper case", "GET", path.upper().replace("/INVOCATIONS", "/invocations"), 404, "not_found"),
    ]
    assert not wrong_of(caller, rows)
    assert caller("GET", "/subscriptions/current").json()["data"]["tokens"]["available"] == 10_000


def test_a_budget_that_is_just_enough_and_then_is_not(caller: Caller, tool: str) -> None:
    for _ in range(200):
        assert caller("POST", f"/tools/{tool}/invoke", json=GOOD).status_code == 202
    refused = caller("POST", f"/tools/{tool}/invoke", json={**GOOD, "max_tokens": 1})
    problem = refused.json()
    assert (refused.status_code, problem["code"]) == (402, "budget_exhausted")
    assert (problem["required"], problem["available"], problem["shortfall"]) == (1, 0, 1)
    assert "pro" in problem["plans"]


# -- addresses -----------------------------------------------------------------------------------------------------

_ADDRESSES = r"""
http://127.0.0.1/ http://localhost/ http://[::1]/ https://127.0.0.1/ https://localhost/ https://[::1]/
https://127.1/ https://0/ https://0x7f000001/ https://2130706433/ https://017700000001/ https://0177.0.0.1/
https://①②⑦.⓪.⓪.①/ https://[::ffff:127.0.0.1]/ https://[::ffff:a9fe:a9fe]/ https://[::127.0.0.1]/
https://[64:ff9b::a9fe:a9fe]/ https://[2002:7f00:1::]/ https://[fec0::1]/ https://[fe80::1%25eth0]/
https://[fd00:ec2::254]/ https://169.254.169.254/latest/meta-data/ https://100.100.100.200/ https://168.63.129.16/
https://10.0.0.1/ https://172.16.0.1/ https://192.168.1.1/ https://100.64.0.1/ https://198.18.0.1/ https://0.0.0.0/
https://255.255.255.255/ https://224.0.0.1/ https://240.0.0.1/ http://8.8.8.8/
https://good.example@127.0.0.1/ https://user:pw@8.8.8.8/ https://127.0.0.1#@8.8.8.8/ https://a.example:80@127.0.0.1:22/
http:/\127.0.0.1/ http:///x http:// //8.8.8.8/ 8.8.8.8
file:///etc/passwd gopher://127.0.0.1:6379/_x ftp://8.8.8.8/ data:text/plain,x javascript:alert(1) unix:/tmp/x
https://8.8.8.8:22/ https://8.8.8.8:6379/ https://8.8.8.8:5432/ https://8.8.8.8:0/ https://8.8.8.8:65536/
https://8.8.8.8:80%20/ https://foo.example%00.evil.example/
"""
REFUSED_URLS = _ADDRESSES.split()


def test_addresses_that_are_refused_wherever_one_is_given(caller: Caller, tool: str, database_url: str) -> None:
    before = counted(database_url)
    rows = [
        row
        for url in REFUSED_URLS
        for row in (
            Row(f"webhook {url}", "POST", "/webhooks", 422, "url_refused", {"json": {"url": url}}),
            submit(f"per call {url}", 422, "url_refused", json={**GOOD, "webhook_url": url}),
        )
    ]
    rows.append(
        Row(
            "3 kB",
            "POST",
            "/webhooks",
            422,
            "url_refused",
            {"json": {"url": f"https://8.8.8.8/{'a' * 3000}"}},
        )
    )
    assert not wrong_of(caller, rows)
    assert counted(database_url) == before


def test_what_an_endpoint_may_be(caller: Caller) -> None:
    url, bad = "https://8.8.8.8/hooks", "validation_failed"

    def made(entry: str, status: int, **body: Any) -> Row:
        return Row(entry, "POST", "/webhooks", status, "" if status == 201 else bad, {"json": {"url": url, **body}})

    rows = [
        made("public", 201),
        made("unknown event", 422, events=["invocation.exploded"]),
        made("none", 422, events=[]),
        made("1,000", 422, events=["completed"] * 1000),
        made("twice", 422, events=["completed", "completed"]),
        made("null", 422, url=None),
        made("array", 422, url=[url]),
    ]
    assert not wrong_of(caller, rows)
    path = f"/webhooks/{caller('GET', '/webhooks').json()['data'][0]['id']}"
    change = {"json": {"url": "https://10.0.0.1/"}}
    assert not wrong_of(caller, [Row("by a change", "PATCH", path, 422, "url_refused", change)])

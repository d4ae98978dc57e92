"""Tools and invocations: every documented status and code is produced over HTTP.

Each table row is compared with its response, and all of them with `docs/openapi.json`: a code that is documented for
these routes and not produced here is an error, unless `ELSEWHERE` names the test that produces it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from common import invocations
from common.identity import audit
from common.kit import redis as redis_kit
from common.tools import breaker_cache, editing
from tests import factories
from tests.factories import GOOD
from tests.web.conftest import ROOT, Service, serving
from tests.web.test_bad_inputs_product import API, JSON, NOBODY, Caller, Row, wrong_of
from tests.web.test_bad_inputs_product import GOOD as ORDER

#: Codes that need a hung server, a slow client or a bug, or that end the connection, and the tests that produce them.
ELSEWHERE = {
    (401, "token_expired"): "tests/accounts/test_tokens.py",
    (402, "storage_exhausted"): "tests/queue/test_storage.py",
    (403, "email_not_verified"): "tests/accounts/test_recovery.py",
    (408, "request_timeout"): "tests/web/test_wire.py",
    (422, "quote_expired"): "tests/runs/test_signed_quotes.py",
    (422, "quote_invalid"): "tests/runs/test_signed_quotes.py",
    (422, "streaming_unsupported"): "tests/runs/test_streams.py",
    (500, "internal_error"): "tests/web/test_frame.py",
    (503, "dependency_unavailable"): "tests/web/test_operations.py",
}
Answer = tuple[int, str]


@pytest.fixture(scope="module")
def product(environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The product without workers."""
    directory = tmp_path_factory.mktemp("codes")
    with serving(environ, directory, "wsgi:app", OUTBOUND_ALLOW="203.0.113.0/24") as running:
        yield running


def listed(slug: str, most: int) -> str:
    price = {"base_tokens": 1, "per_unit": None, "max_tokens": most}
    schema = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
    entry = {"slug": slug, "name": slug, "endpoint_url": "https://203.0.113.1/", "input_schema": schema, "price": price}
    return str(editing.create(audit.PLATFORM, editing.Draft.of(entry)).id)


@pytest.fixture
def tools(db: None) -> None:
    """Tools: `echo`, `dear` (costs more than the free plan has) and `broken` (its breaker is open)."""
    listed("echo", 10)
    listed("dear", 20_000)
    opened, _ = redis_kit.client().time()
    redis_kit.client().hset(breaker_cache.OPEN, listed("broken", 10), opened)


def documented() -> set[Answer]:
    """Every status, and for errors the code, that the committed document has for these routes."""
    spec = json.loads((ROOT / "docs" / "openapi.json").read_text(encoding="utf-8"))
    found: set[Answer] = set()
    for path, item in spec["paths"].items():
        if path.startswith((f"{API}/tools", f"{API}/invocations")):
            for method in {"get", "post"} & set(item):
                for status, answer in item[method]["responses"].items():
                    found |= {(int(status), code) for code in _codes(answer, spec)}
    return found


def _codes(answer: dict[str, Any], spec: dict[str, Any]) -> list[str]:
    if "$ref" not in answer:
        return [""]
    content = spec["components"]["responses"][answer["$ref"].rpartition("/")[2]]["content"]
    return list(content["application/problem+json"]["examples"])


def invoke(entry: str, status: int, code: str, tool: str = "echo", **sent: Any) -> Row:
    return Row(entry, "POST", f"/tools/{tool}/invoke", status, code, {"json": ORDER, **sent})


def raw(entry: str, status: int, code: str, body: bytes, kind: str = "application/json") -> Row:
    return invoke(entry, status, code, json=None, data=body, headers={**JSON, "Content-Type": kind})


REFUSED = [
    raw("no body", 400, "body_required", b""),
    raw("the same name twice", 400, "duplicate_key", b'{"input": {}, "input": {}}'),
    raw("no JSON", 400, "malformed_json", b"{"),
    raw("too deep", 400, "too_deep", b'{"input":' + b"[" * 200 + b"]" * 200 + b"}"),
    raw("another media type", 415, "unsupported_media_type", b"<a/>", "application/xml"),
    raw("too large", 413, "payload_too_large", b" " * 1_100_000),
    Row("no cursor of ours", "GET", "/tools?cursor=AAAA", 400, "invalid_cursor"),
    invoke("a key of nothing", 400, "invalid_header", headers={"Idempotency-Key": ""}),
    invoke("a key that no header holds", 400, "malformed_request", headers={"Idempotency-Key": "a\x7f"}),
    invoke("more than there is", 402, "budget_exhausted", "dear"),
    invoke("no such tool", 404, "not_found", "nothing"),
    Row("nobody's, read", "GET", f"/invocations/{NOBODY}", 404, "not_found"),
    Row("nobody's, followed", "GET", f"/invocations/{NOBODY}/events", 404, "not_found"),
    Row("nobody's, canceled", "POST", f"/invocations/{NOBODY}/cancel", 404, "not_found"),
    Row("another number of them", "POST", "/invocations/cancel", 409, "conflict", {"json": {"confirm": 999}}),
    Row("a method too many", "DELETE", "/tools/echo", 405, "method_not_allowed"),
    Row("nothing that we speak", "GET", "/tools", 406, "not_acceptable", {"headers": {"Accept": "image/png"}}),
    Row("a long address", "GET", f"/tools?q={'a' * 9_000}", 414, "uri_too_long"),
    invoke("not by the schema", 422, "tool_input_rejected", json={"input": {}}),
    Row("a price of that", "POST", "/tools/echo/quote", 422, "tool_input_rejected", {"json": {"input": {}}}),
    invoke("a webhook to ourselves", 422, "url_refused", json={**ORDER, "webhook_url": "http://127.0.0.1/"}),
    invoke("an unknown field", 422, "validation_failed", json={**ORDER, "price": 0}),
    Row("an unknown status", "GET", "/invocations?status=lost", 422, "validation_failed"),
    Row("a long wait", "GET", f"/invocations/{NOBODY}?wait=61", 422, "validation_failed"),
    Row("a long header", "GET", "/tools", 431, "headers_too_large", {"headers": {"X-A": "a" * 20_000}}),
    invoke("a tool that fails", 503, "tool_unavailable", "broken"),
]


def test_every_documented_answer_is_given(tools: None, product: Service) -> None:
    given = {(row.status, row.code) for row in REFUSED} | set(ELSEWHERE)
    caller = Caller(product)
    assert not wrong_of(caller, REFUSED)
    for story in (_life, _running, _credentials, _without_a_plan, _too_many):
        rows = story(product)
        given |= set(rows)
    assert documented() - given == set()


def seen(answer: Any) -> Answer:
    return answer.status_code, "" if answer.status_code < 400 else answer.json()["code"]


def _life(product: Service) -> list[Answer]:
    """Submit, repeat, read, list and cancel, each twice."""
    caller, key = Caller(product), {"Idempotency-Key": "k"}
    first = caller("POST", "/tools/echo/invoke", json=ORDER, headers=key)
    path = f"/invocations/{first.json()['data']['id']}"
    tag = {"If-None-Match": caller("GET", path).headers["ETag"]}
    asked = [
        first,
        caller("POST", "/tools/echo/invoke", json={"input": {"text": "y"}}, headers=key),
        caller("GET", path),
        caller("GET", path, headers=tag),
        caller("POST", "/invocations/batch", json={"items": [{"tool": "echo", **ORDER}]}),
        caller("POST", f"{path}/cancel"),
        caller("POST", f"{path}/cancel"),
        caller("GET", f"{path}/events"),
        caller("POST", "/tools/echo/invoke", json=ORDER, headers=key),
    ]
    expected = [(202, ""), (422, "idempotency_key_reused"), (200, ""), (304, ""), (207, ""), (200, "")]
    expected += [(409, "already_finished"), (200, ""), (200, "")]
    assert [seen(each) for each in asked] == expected
    return expected


def _running(product: Service) -> list[Answer]:
    """Cancel while it runs, again, and after it has ended."""
    caller, worker = Caller(product), factories.worker()
    made = caller("POST", "/tools/echo/invoke", json=ORDER).json()["data"]["id"]
    task = factories.taken(worker)
    while str(task.id) != made:  # left by the requests before
        invocations.complete(task, GOOD, worker)
        task = factories.taken(worker)
    answers = [seen(caller("POST", f"/invocations/{made}/cancel")) for _ in range(2)]
    invocations.complete(task, GOOD, worker)
    answers.append(seen(caller("POST", f"/invocations/{made}/cancel")))
    assert answers == [(202, ""), (202, ""), (409, "already_finished")]
    return answers


def _credentials(product: Service) -> list[Answer]:
    caller = Caller(product)
    key = caller("POST", "/users/me/api-keys", json={"name": "k", "scopes": ["usage:read"]}).json()["data"]["key"]
    gone = {"refresh_token": caller.pair["refresh_token"]}
    answers = []
    for path in ("/tools", "/invocations"):
        answers.append(seen(product("GET", f"{API}{path}")))
        answers.append(seen(product("GET", f"{API}{path}", headers={"X-API-Key": key})))
    assert caller("POST", "/auth/logout", json=gone).status_code == 204
    answers.append(seen(caller("POST", "/tools/echo/invoke", json=ORDER)))
    assert answers == [(401, "unauthenticated"), (403, "scope_missing")] * 2 + [(401, "token_revoked")]
    return answers


def _without_a_plan(product: Service) -> list[Answer]:
    answer = seen(Caller(product, plan=None)("POST", "/tools/echo/invoke", json=ORDER))
    assert answer == (403, "subscription_required")
    return [answer]


def _too_many(product: Service) -> list[Answer]:
    """A plan with one submit a minute; a minute can end between two of three submits, but not twice."""
    caller = Caller(product, factories.plan(1_000, per_minute=1))
    answers = [caller("POST", "/tools/echo/invoke", json=ORDER) for _ in range(3)]
    told = {seen(each): each for each in answers}
    assert set(told) == {(202, ""), (429, "rate_limited")}
    assert 1 <= int(told[429, "rate_limited"].headers["Retry-After"]) <= 60
    reset = told[429, "rate_limited"].headers["Retry-After"]
    assert told[429, "rate_limited"].headers["RateLimit-Policy"] == '"submits";q=1;w=60'
    assert told[429, "rate_limited"].headers["RateLimit"] == f'"submits";r=0;t={reset}'
    batch = caller("POST", "/invocations/batch", json={"items": [{"tool": "echo", **ORDER}]})
    assert [item["status"] for item in batch.json()["data"]] == [429]
    assert batch.headers["RateLimit"].startswith('"submits";r=0;')
    return list(told)


@pytest.mark.parametrize(("answer", "file"), ELSEWHERE.items(), ids=[code for _, code in ELSEWHERE])
def test_what_is_shown_elsewhere_is(answer: Answer, file: str) -> None:
    assert f'"{answer[1]}"' in (ROOT / file).read_text(encoding="utf-8")

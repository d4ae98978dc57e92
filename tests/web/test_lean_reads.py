"""The short way of reading an invocation answers byte for byte as the application does, and counts as it does."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import pytest
from flask import Flask
from werkzeug.datastructures import Headers
from werkzeug.test import EnvironBuilder, run_wsgi_app

from common import invocations
from common.identity import keys
from common.identity.audit import OPERATOR
from common.settings import Settings
from tests import factories
from web.api.lean import ENDPOINT, MOST, ROUTE, Lean
from web.app import create_app
from web.http import quotas

USUAL = {"X-Request-ID": "usual", "User-Agent": "test", "Accept": "*/*", "Accept-Encoding": "gzip", "Cookie": "a=b"}
ORIGIN = "https://app.example.com"
#: What is left of the quota is one less each time; a second may pass between two answers.
_LEFT = re.compile(r"r=(\d+);t=\d+")


class Raw(NamedTuple):
    """An answer, its headers in order; without `left` of the quota, which they have shown (None: they did not)."""

    status: str
    headers: list[tuple[str, str]]
    body: bytes
    left: int | None


class Ways:
    """Both ways to one application. `passed`: how often the short one has left a request to the other."""

    def __init__(self, app: Flask) -> None:
        short = app.wsgi_app
        assert isinstance(short, Lean)
        self.app, self.long, self.passed = app, short._rest, 0
        app.wsgi_app = self._pass  # type: ignore[method-assign]
        self.short = Lean(app)

    def _pass(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        self.passed += 1
        return self.long(environ, start_response)

    def ask(self, way: Any, path: str, method: str, headers: dict[str, str], **more: str) -> Raw:
        path, _, query = path.partition("?")
        environ = EnvironBuilder(path, method=method, headers=Headers(headers), query_string=query).get_environ()
        answer, status, sent = run_wsgi_app(way, environ | more)
        found = _LEFT.search(sent.get("RateLimit", ""))
        shown = [(name, _LEFT.sub("r=…;t=…", value)) for name, value in sent]
        return Raw(status, shown, b"".join(answer), None if found is None else int(found[1]))

    def same(self, path: str, headers: dict[str, str], *, method: str = "GET", short: bool = False, **more: str) -> Raw:
        """The answer, which is the same both ways. `short`: it needs nobody else."""
        given, before = {**USUAL, **headers}, self.passed
        quickly = self.ask(self.short, path, method, given, **more)
        assert self.passed == before + (not short)
        slowly = self.ask(self.long, path, method, given, **more)
        assert quickly._replace(left=None) == slowly._replace(left=None)
        if slowly.left:
            assert quickly.left == slowly.left + 1, "each is counted once"
        return quickly


@pytest.fixture
def ways(db: None, settings: Settings) -> Iterator[Ways]:
    yield Ways(create_app(replace(settings, cors_origins=(ORIGIN,))))


class Caller(NamedTuple):
    user_id: UUID
    headers: dict[str, str]
    path: str
    customer: factories.Customer


@pytest.fixture
def caller(ways: Ways) -> Caller:
    customer = factories.customer()
    key = keys.create(customer.user_id, "reading", actor=OPERATOR)[1]
    return Caller(customer.user_id, {"X-API-Key": key}, read(customer.submit(factories.tool())), customer)


def read(invocation_id: UUID) -> str:
    return f"/api/v1/invocations/{invocation_id}"


def test_it_is_logged_and_counted_as_the_route_that_it_is(ways: Ways) -> None:
    assert [rule.rule for rule in ways.app.url_map.iter_rules(ENDPOINT)] == [ROUTE]


def test_what_is_there_and_what_has_not_changed(ways: Ways, caller: Caller) -> None:
    for _ in ("queued", "succeeded"):
        found = ways.same(caller.path, caller.headers, short=True)
        assert found.status == "200 OK"
        tag = dict(found.headers)["ETag"]
        for sent in (tag, f"W/{tag}", f'"other", {tag}', "*"):
            assert ways.same(caller.path, {**caller.headers, "If-None-Match": sent}, short=True).status[:3] == "304"
        for sent in ('"other"', "nonsense", ""):
            assert ways.same(caller.path, {**caller.headers, "If-None-Match": sent}, short=True).status == "200 OK"
        if not json.loads(found.body)["data"]["finished_at"]:
            invocations.complete(factories.taken(factories.worker()), factories.GOOD, factories.worker())


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_how_it_came_and_with_which_credential(ways: Ways, caller: Caller, scheme: str) -> None:
    bearer = {"Authorization": f"Bearer {caller.headers['X-API-Key']}"}
    more = {"wsgi.url_scheme": scheme}
    found = ways.same(caller.path, bearer, short=True, **more)
    assert ("Strict-Transport-Security" in dict(found.headers)) == (scheme == "https")
    for sent in ("x" * 129, "ünusual"):  # then each way makes an id of its own
        ids = [ways.ask(way, caller.path, "GET", {**bearer, "X-Request-ID": sent}) for way in (ways.short, ways.long)]
        assert [answer.status for answer in ids] == ["200 OK"] * 2


def test_what_is_refused(ways: Ways, caller: Caller) -> None:
    stranger = factories.customer()
    weak = keys.create(caller.user_id, "weak", actor=OPERATOR, scopes=["tools:read"])[1]
    theirs = {"X-API-Key": keys.create(stranger.user_id, "theirs", actor=OPERATOR)[1]}
    key = caller.headers
    refused = [
        ways.same(caller.path, {}),
        ways.same(caller.path, {"X-API-Key": "jh_wrong"}),
        ways.same(caller.path, {"Authorization": "Bearer nonsense"}),
        ways.same(caller.path, {"Authorization": "Bearer x", **key}),
        ways.same(caller.path, {"X-API-Key": weak}),
        ways.same(caller.path, theirs),
        ways.same(read(uuid4()), key),
        ways.same(caller.path.upper().replace("/API/V1/INVOCATIONS", "/api/v1/invocations"), key),
        ways.same(f"{caller.path}/", key),
        ways.same(f"{caller.path}?wait=x", key),
        ways.same(f"{caller.path}?wait=0", key),
        ways.same(f"{caller.path}?unknown=1", key),
        ways.same(caller.path, {**key, "Idempotency-Key": "once"}),
        ways.same(caller.path, {**key, "Accept": "text/html"}),
        ways.same(caller.path, {**key, "Host": "not a host"}),
        ways.same(caller.path, key, method="DELETE"),
    ]
    codes = [answer.status[:3] for answer in refused]
    assert codes == ["401"] * 3 + ["400", "403"] + ["404"] * 4 + ["422"] * 3 + ["400", "406", "400", "405"]


def test_what_is_unusual_is_left_to_the_application(ways: Ways, caller: Caller) -> None:
    key = caller.headers
    for headers in (
        {"Accept": "application/*;q=0.5"},
        {"Origin": ORIGIN},
        {"Origin": "https://elsewhere.example.com"},
        {"Range": "bytes=0-1"},
    ):
        assert ways.same(caller.path, {**key, **headers}).status == "200 OK"
    assert ways.same(caller.path, key, SERVER_PROTOCOL="HTTP/1.0").status == "200 OK"
    assert ways.same(caller.path, key, method="HEAD").body == b""
    assert ways.same(caller.path, key, method="OPTIONS").status[:3] == "204"


def test_large_payloads_are_left_to_be_paced(ways: Ways, caller: Caller) -> None:
    made = caller.customer.submit(factories.tool(), input={"text": "x" * MOST})
    assert len(ways.same(read(made), caller.headers).body) > MOST


def test_a_quota_is_never_exceeded(ways: Ways, caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quotas.reads, "quota", 20)
    codes = [ways.ask(ways.short, caller.path, "GET", {**USUAL, **caller.headers}).status[:3] for _ in range(23)]
    assert codes == ["200"] * 20 + ["429"] * 3
    assert ways.same(caller.path, caller.headers).status[:3] == "429"

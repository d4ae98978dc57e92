"""The short way of a submit answers byte for byte as the application does, and takes the caller's word for nothing."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import pytest
from flask import Flask
from werkzeug.datastructures import Headers
from werkzeug.test import EnvironBuilder, run_wsgi_app

from common import invocations
from common.identity import accounts, keys
from common.identity.audit import OPERATOR
from common.invocations import overload
from common.kit import clock, db, failpoints, memory, redis
from common.kit.admission import Admission, LineTooLong
from common.kit.clock import Clock
from common.settings import Settings
from common.tools import editing
from tests import factories
from web.api.lean_submits import ENDPOINT, ROUTE, LeanSubmits
from web.app import create_app
from web.http import large_reads
from web.http.body import PUBLIC_BYTES

USUAL = {"X-Request-ID": "usual", "User-Agent": "test", "Accept": "*/*", "Content-Type": "application/json"}
ORDER = {"input": {"text": "x", "n": 1.50}, "metadata": {"job": "1"}}
#: What two submits, one after the other, differ in.
_OWN = re.compile(
    rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|\d{4}-\d\d-\d\dT[\d:.]+Z|r=\d+;t=\d+|\"retry_after\":\d+"
    rb"|(?<=\"poll_after_ms\":)\d+"
)


class GivenAnswer(NamedTuple):
    """An answer, its headers in order."""

    status: str
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def code(self) -> str:
        found: dict[str, str] = json.loads(self.body)
        return found.get("code", self.status[:3])

    def plain(self) -> tuple[str, list[tuple[str, str]], bytes]:
        """Without what differs from one submit to the next. A length is that of the body, or else shown."""
        right = ("Content-Length", str(len(self.body)))
        own = [field for field in self.headers if field != right]
        shown = [(name, _OWN.sub(b"~", value.encode()).decode()) for name, value in own]
        shown = [(name, value) for name, value in shown if name != "Retry-After" or value == "1"]
        return self.status, shown, _OWN.sub(b"~", self.body)


class WaysToSubmit:
    """Both ways to one application. `passed`: how often the short one has left a request to the other."""

    def __init__(self, app: Flask) -> None:
        self.app, self.long, self.passed = app, partial(Flask.wsgi_app, app), 0
        app.wsgi_app = self._pass  # type: ignore[method-assign]
        self.short = LeanSubmits(app)

    def _pass(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        self.passed += 1
        return self.long(environ, start_response)

    def ask(self, way: Any, path: str, headers: Mapping[str, str], order: object, **more: Any) -> GivenAnswer:
        path, _, query = path.partition("?")
        data = order if isinstance(order, bytes) else json.dumps(order).encode()
        method = str(more.pop("method", "POST"))
        built = EnvironBuilder(path, method=method, headers=Headers(headers), query_string=query, data=data)
        answer, status, sent = run_wsgi_app(way, built.get_environ() | more, buffered=True)
        return GivenAnswer(status, list(sent), b"".join(answer))


@pytest.fixture
def ways(db: None, settings: Settings) -> Iterator[WaysToSubmit]:
    yield WaysToSubmit(create_app(settings))


class Submitter:
    """An account with a key, which the process remembers, and a tool."""

    def __init__(self, ways: WaysToSubmit, customer: factories.Customer | None = None, **key: Any) -> None:
        self.ways, self.customer = ways, customer or factories.customer()
        self.tool = factories.tool(input_schema={"type": "object"})
        self.key, text = keys.create(self.customer.user_id, "submitting", actor=OPERATOR, **key)
        self.headers = {"X-API-Key": text}
        self.look_up()

    @property
    def path(self) -> str:
        return f"/api/v1/tools/{self.tool.slug}/invoke"

    def look_up(self) -> None:
        """As other requests of the caller do: by the first one Redis knows them, by the second one this process."""
        for _ in range(2):
            self.ways.app.test_client().get("/api/v1/tools", headers=self.headers)
        self.ways.passed = 0

    def short(self, order: object = ORDER, headers: Mapping[str, str] | None = None, **more: Any) -> GivenAnswer:
        path = str(more.pop("path", self.path))
        return self.ways.ask(self.ways.short, path, {**USUAL, **self.headers, **(headers or {})}, order, **more)

    def same(
        self, order: object = ORDER, headers: Mapping[str, str] | None = None, *, left: bool, **more: Any
    ) -> GivenAnswer:
        """The answer, which is the same both ways. `left`: the short one leaves it to the other."""
        before, make = self.ways.passed, dict(more)
        quickly = self.short(order, headers, **more)
        assert self.ways.passed == before + left, quickly
        path = str(make.pop("path", self.path))
        slowly = self.ways.ask(self.ways.long, path, {**USUAL, **self.headers, **(headers or {})}, order, **make)
        assert quickly.plain() == slowly.plain()
        return quickly

    def made(self) -> int:
        with db.transaction() as session:
            rows: int = (
                session.connection()
                .exec_driver_sql("select count(*) from invocations where user_id = %s", (self.customer.user_id,))
                .scalar_one()
            )
        return rows


@pytest.fixture
def me(ways: WaysToSubmit) -> Submitter:
    return Submitter(ways)


def test_it_is_logged_and_counted_as_the_route_that_it_is(ways: WaysToSubmit) -> None:
    assert [rule.rule for rule in ways.app.url_map.iter_rules(ENDPOINT)] == [ROUTE]


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"metadata": {"é": "ü"}, "end_user": "somebody", "max_tokens": 7, "expires_in": 60, "priority": 1},
        {"not_before": "2199-01-01T00:00:00Z", "input": [1.0, 1e2, "\u00e9", {"b": 1, "a": 2}]},
        {"version": 1, "stream": False},
        {"webhook_url": "https://93.184.215.14/hook", "webhook_events": ["invocation.succeeded"]},
    ],
)
def test_what_is_accepted(me: Submitter, more: dict[str, object]) -> None:
    order = ORDER | more
    if "not_before" in more:
        order["not_before"] = clock.rfc3339(clock.now() + timedelta(days=1))
        me.tool = factories.tool(input_schema={})
    bearer = {"Authorization": f"Bearer {me.headers['X-API-Key']}"}
    before = me.made()
    assert me.same(order, left=False).status == "202 ACCEPTED"
    assert me.same(order, left=False, CONTENT_TYPE="application/json; charset=utf-8").status == "202 ACCEPTED"
    assert me.same(order, None, left=False, **{"wsgi.url_scheme": "https"}).status == "202 ACCEPTED"
    me.headers = bearer
    assert me.same(order, left=False).status == "202 ACCEPTED"
    assert me.made() == before + 8


def test_rates_and_slots_are_told(ways: WaysToSubmit) -> None:
    me = Submitter(ways, factories.customer(at_once=1, per_minute=3))
    assert me.short().code == "202"
    answer = me.same(left=False)
    assert '"submits";q=3' in dict(answer.headers)["RateLimit-Policy"]
    assert json.loads(answer.body)["data"]["waiting"]["reason"] == "slot"
    assert me.same(left=True).code == "rate_limited"
    assert me.made() == 3


def test_a_key_makes_one_invocation(me: Submitter) -> None:
    once = {"Idempotency-Key": '"first"'}
    first = me.short(ORDER, once)
    assert (first.code, me.ways.passed) == ("202", 0)
    again = me.same(ORDER, once, left=True)
    assert dict(again.headers)["Idempotent-Replayed"] == "true"
    assert json.loads(again.body)["data"]["id"] == json.loads(first.body)["data"]["id"]
    assert me.same({"input": {}}, once, left=True).code == "idempotency_key_reused"
    assert me.same(ORDER, {"Idempotency-Key": "é"}, left=True).code == "invalid_header"
    assert me.made() == 1


def test_what_is_refused(me: Submitter) -> None:
    weak = keys.create(me.customer.user_id, "weak", actor=OPERATOR, scopes=["tools:read"])[1]
    nobody = Submitter(me.ways, factories.Customer(factories.user(), UUID(int=0), ""))
    poor = Submitter(me.ways, factories.customer(15))
    assert poor.short().code == "202"
    left = partial(me.same, left=True)
    refused = [
        left(ORDER, {"X-API-Key": weak}),
        left(ORDER, {"X-API-Key": "jh_wrong"}),
        left(ORDER, {"Authorization": "Bearer x"}),
        left(b"{"),
        left(b"[]"),
        left({}),
        left(ORDER | {"unknown": 1}),
        left(ORDER | {"webhook_events": ["completed"]}),
        left(ORDER | {"input": "not an object"}),
        left(ORDER | {"version": 2}),
        left(ORDER | {"quote": "x"}),
        left(ORDER, path="/api/v1/tools/unknown/invoke"),
        left(ORDER, {"Idempotency-Key": " "}),
        nobody.same(left=True),
        poor.same(left=True),
    ]
    assert [answer.code for answer in refused] == [
        *(
            "scope_missing",
            "unauthenticated",
            "invalid_header",
            "malformed_json",
            "validation_failed",
            "validation_failed",
            "validation_failed",
        ),
        *("validation_failed", "tool_input_rejected", "conflict", "quote_invalid", "not_found", "invalid_header"),
        *("subscription_required", "budget_exhausted"),
    ]
    assert (me.made(), nobody.made(), poor.made()) == (0, 0, 1)


def test_what_is_unusual_is_left_to_the_application(me: Submitter) -> None:
    for headers in (
        {"Accept": "application/*;q=0.5"},
        {"Origin": "https://elsewhere.example.com"},
        {"Prefer": "respond-async"},
        {"Content-Type": "application/json;charset=UTF-8"},
    ):
        assert me.same(ORDER, headers, left=True).code == "202"
    assert me.same(ORDER, left=True, SERVER_PROTOCOL="HTTP/1.0").code == "202"
    assert me.same(ORDER, left=True, path=f"{me.path}?x=1").code == "validation_failed"
    assert me.same(ORDER, {"Content-Type": "text/plain"}, left=True).code == "unsupported_media_type"
    assert me.same({"input": {"text": "x" * PUBLIC_BYTES}}, left=True).code == "202"
    assert me.same(ORDER, left=True, method="PUT").code == "method_not_allowed"


class Ending(io.BytesIO):
    """A body that ends, or does not come, in the middle."""

    def __init__(self, error: OSError | None) -> None:
        super().__init__(b'{"input":')
        self._error = error

    def read(self, size: int | None = -1) -> bytes:
        found = super().read(size)
        if not found and self._error:
            raise self._error
        return found


@pytest.mark.parametrize(
    ("error", "code"),
    [(None, "malformed_request"), (TimeoutError(), "request_timeout"), (OSError(), "malformed_request")],
)
def test_a_body_that_does_not_arrive(me: Submitter, error: OSError | None, code: str) -> None:
    answers = [
        me.ways.ask(way, me.path, USUAL | me.headers, ORDER, **{"wsgi.input": Ending(error)})
        for way in (me.ways.short, me.ways.long)
    ]
    assert [answer.code for answer in answers] == [code] * 2
    assert answers[0].plain() == answers[1].plain()


class Coming(io.BytesIO):
    """A body during which something happens."""

    def __init__(self, data: bytes, happens: Callable[[], object]) -> None:
        super().__init__(data)
        self._happens = happens

    def read(self, size: int | None = -1) -> bytes:
        self._happens()
        return super().read(size)


class Ahead(Clock):
    """Six minutes later."""

    def wall(self) -> float:
        return super().wall() + 360


class Crowded(Admission):
    """A line that everybody else has joined by now."""

    def is_busy(self) -> bool:
        return True

    def _refuse_if_too_long(self) -> None:
        raise LineTooLong(2.5)


def test_a_line_that_has_become_too_long_meanwhile(me: Submitter) -> None:
    memory.current().parts[overload._line] = Crowded(overload.AT_ONCE, overload.PATIENCE)
    try:
        refused = me.same(left=True)
    finally:
        memory.forget()
    assert (refused.status, refused.code) == ("503 SERVICE UNAVAILABLE", "dependency_unavailable")
    assert "Retry-After" in dict(refused.headers)
    assert me.made() == 0


def test_a_credential_that_ends_while_the_body_arrives(ways: WaysToSubmit) -> None:
    me = Submitter(ways, expires_at=clock.now() + timedelta(minutes=5))
    data = json.dumps(ORDER).encode()
    before = clock.use(Clock())
    try:
        answer = me.short(data, None, **{"wsgi.input": Coming(data, lambda: clock.use(Ahead()))})
    finally:
        clock.use(before)
    assert answer.code == "token_revoked"
    assert me.made() == 0


def test_a_smaller_limit_of_bodies_holds(settings: Settings, db: None) -> None:
    ways = WaysToSubmit(create_app(replace(settings, max_body_bytes=1024)))
    answer = Submitter(ways).same({"input": {"text": "x" * 2_000}}, left=True)
    assert answer.code == "payload_too_large"


# -- the caller is remembered, and confirmed ---------------------------------------------------------------------


def _revoke(me: Submitter) -> None:
    keys.revoke(me.customer.user_id, me.key.id, actor=OPERATOR)


def _disable(me: Submitter) -> None:
    accounts.administer(me.customer.user_id, is_active=False, actor=OPERATOR)


@pytest.mark.parametrize(("change", "code"), [(_revoke, "token_revoked"), (_disable, "token_revoked")])
def test_a_caller_who_has_lost_their_rights_is_refused_at_once(
    me: Submitter, change: Callable[[Submitter], None], code: str
) -> None:
    assert (me.short().code, me.ways.passed) == ("202", 0)
    change(me)
    assert me.same(left=True).code == code
    assert me.made() == 1


def test_what_is_not_remembered_or_not_known_is_looked_up(me: Submitter, settings: Settings) -> None:
    redis.client().flushdb()
    assert (me.short().code, me.ways.passed) == ("202", 1), "Redis knows nothing"
    me.look_up()
    assert (me.short().code, me.ways.passed) == ("202", 0)
    redis.client().hset(f"auth:{{{me.customer.user_id}}}", f"key:{me.key.id}", "something else")
    assert (me.short().code, me.ways.passed) == ("202", 1), "Redis knows something else"
    other = Submitter.__new__(Submitter)
    other.__dict__ |= me.__dict__ | {"ways": WaysToSubmit(create_app(settings))}
    assert (other.short().code, other.ways.passed) == ("202", 1), "a process that has just begun"
    other.look_up()
    assert (other.short().code, other.ways.passed) == ("202", 0)


# -- what fails after the hold was asked for is told, and not tried again ------------------------------------------


@pytest.mark.parametrize("point", ["web.before_commit", "web.after_commit"])
def test_what_has_failed_is_not_tried_again(me: Submitter, point: str) -> None:
    tried: list[int] = []

    def fail() -> None:
        tried.append(1)
        raise db.Unreachable("away")

    with failpoints.calling(point, fail):
        answers = [me.short(), me.ways.ask(me.ways.long, me.path, USUAL | me.headers, ORDER)]
    assert len(tried) == 2
    assert [answer.code for answer in answers] == ["dependency_unavailable"] * 2
    assert answers[0].plain() == answers[1].plain()
    assert me.made() == (2 if point == "web.after_commit" else 0)


def test_an_unknown_tool_is_looked_up_again_by_the_application(me: Submitter) -> None:
    """A refusal before the hold rests on a caller who was only remembered."""
    path = f"/api/v1/tools/{uuid4()}/invoke"
    assert me.same(left=True, path=path).code == "not_found"
    editing.archive(OPERATOR, me.tool.id)
    assert me.same(left=True).code == "not_found"


# -- waiting for the end -------------------------------------------------------------------------------------------


def _ending_with(output: object) -> Callable[[], None]:
    """Whoever calls it, when the row is there, ends it before it is waited for."""
    worker = replace(factories.worker(), take_next=False)

    def end() -> None:
        invocations.complete(factories.taken(worker), replace(factories.GOOD, output=output), worker)

    return end


def _reading(me: Submitter) -> int:
    """How many large reads of the account are under way."""
    permits = large_reads._pacer._accounts.get(me.customer.user_id)
    return 0 if permits is None else large_reads.READS_AT_ONCE - permits.free


@pytest.mark.parametrize("prefer", ["wait=1", "wait=9", "wait=999999999", "wait=0"])
@pytest.mark.parametrize("size", [1, large_reads.SMALL_BYTES])
def test_waiting_for_the_end(me: Submitter, prefer: str, size: int) -> None:
    with failpoints.calling("web.after_commit", _ending_with("x" * size)):
        answer = me.same(ORDER, {"Prefer": prefer}, left=False)
    assert (answer.status, json.loads(answer.body)["data"]["output"]) == ("200 OK", "x" * size)
    applied = {"wait=999999999": "wait=60", "wait=0": "wait=1"}.get(prefer, prefer)
    assert dict(answer.headers)["Preference-Applied"] == applied
    assert _reading(me) == 0


def test_an_end_that_does_not_come_in_time(me: Submitter) -> None:
    answer = me.same(ORDER, {"Prefer": "wait=1"}, left=False)
    assert (answer.status, dict(answer.headers)["Retry-After"]) == ("202 ACCEPTED", "1")
    assert "Preference-Applied" not in dict(answer.headers)
    assert _reading(me) == 0


@pytest.mark.parametrize("size", [1, large_reads.SMALL_BYTES])
def test_a_large_answer_is_a_large_read_until_it_is_sent(me: Submitter, size: int) -> None:
    builder = EnvironBuilder(me.path, method="POST", headers=Headers(USUAL | me.headers | {"Prefer": "wait=1"}))
    builder.input_stream = io.BytesIO(json.dumps(ORDER).encode())
    builder.content_length = len(json.dumps(ORDER))
    with failpoints.calling("web.after_commit", _ending_with("x" * size)):
        pieces, _, _ = run_wsgi_app(me.ways.short, builder.get_environ())
    while_sending = _reading(me)
    getattr(pieces, "close", int)()
    assert me.ways.passed == 0
    assert (while_sending, _reading(me)) == (size > 1, 0)


def test_an_invocation_that_is_gone_while_it_is_waited_for(me: Submitter) -> None:
    def forget() -> None:
        with db.transaction() as session:
            session.connection().exec_driver_sql("truncate invocations cascade")

    with failpoints.calling("web.after_commit", forget):
        assert me.short(ORDER, {"Prefer": "wait=5"}).code == "not_found"
        assert _reading(me) == 0
        assert me.same(ORDER, {"Prefer": "wait=5"}, left=True).code == "not_found"


def test_a_read_that_is_refused_does_not_take_the_acceptance_back(me: Submitter) -> None:
    me.customer.submit(me.tool)
    owner = me.customer.user_id
    for _ in range(large_reads.READS_AT_ONCE):
        large_reads.acquire(owner)
    try:
        assert me.same(ORDER, {"Prefer": "wait=1"}, left=False).status == "202 ACCEPTED"
    finally:
        for _ in range(large_reads.READS_AT_ONCE):
            large_reads.release(owner)

"""While the platform is overloaded a submit is refused before it is looked at, in the shape of its face."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest
from flask import Flask
from werkzeug.datastructures import Headers
from werkzeug.test import EnvironBuilder, run_wsgi_app

from common.identity import keys
from common.identity.audit import OPERATOR
from common.invocations import overload
from common.kit import memory
from common.kit.admission import Admission, LineTooLong
from common.settings import Settings
from tests import factories
from web.api.lean import Lean
from web.api.overload import ROUTE, EarlyRefusals
from web.app import create_app
from web.http.body import PUBLIC_BYTES

INVOKE = "/api/v1/tools/echo/invoke"
ORIGIN = "https://app.example.com"
RUN = "/api/v1/invocations/01a22ad0-369f-72a8-8cef-318c6a23403a"
HEADERS = {"X-Request-ID": "usual", "Content-Type": "application/json"}


class Full(Admission):
    """There is no permit."""

    def _refuse_if_too_long(self) -> None:
        raise LineTooLong(2.5)


class Ways:
    """To one application: the short one, and the one behind it."""

    def __init__(self, app: Flask) -> None:
        lean = app.wsgi_app
        assert isinstance(lean, Lean)
        assert isinstance(lean._rest, EarlyRefusals)
        self.app, self.short, self.long = app, lean, lean._rest._app

    def ask(
        self,
        path: str,
        headers: Mapping[str, str] = MappingProxyType({}),
        *,
        long: bool = False,
        data: bytes = b"{",
        body: io.BytesIO | None = None,
    ) -> tuple[str, dict[str, str], bytes]:
        given, sent_as = Headers({**HEADERS, **headers}), body or io.BytesIO(data)
        environ = EnvironBuilder(path, method="POST", headers=given, input_stream=sent_as).get_environ()
        environ.setdefault("CONTENT_LENGTH", str(len(data)))
        answer, status, sent = run_wsgi_app(self.long if long else self.short, environ)
        return status, dict(sent), b"".join(answer)


@pytest.fixture
def ways(db: None, settings: Settings) -> Iterator[Ways]:
    ways = Ways(create_app(replace(settings, cors_origins=(ORIGIN,))))
    memory.current().parts[overload._line] = Full(overload.AT_ONCE, overload.PATIENCE)
    yield ways
    memory.forget()


def test_both_ways_answer_byte_for_byte(ways: Ways) -> None:
    """Without a credential and with half a body: neither is looked at."""
    assert [rule.rule for rule in ways.app.url_map.iter_rules("tools.invoke")] == [ROUTE]
    status, headers, body = quickly = ways.ask(INVOKE)
    assert quickly == ways.ask(INVOKE, long=True)
    assert (status, headers["Retry-After"]) == ("503 SERVICE UNAVAILABLE", "3")
    assert json.loads(body)["code"] == "dependency_unavailable"
    assert json.loads(body)["detail"] == "The platform is overloaded. Nothing was done; retry."


def test_every_refusal_is_counted_once(ways: Ways) -> None:
    before = overload.REFUSED._value.get()
    ways.ask(INVOKE)
    ways.ask(INVOKE, long=True)
    assert overload.REFUSED._value.get() == before + 2


@pytest.mark.parametrize("path", ["/api/v1/invocations/batch", f"{RUN}/rerun", "/v1/chat/completions"])
def test_other_ways_to_submit_refuse_in_their_own_shape(ways: Ways, path: str) -> None:
    status, headers, body = ways.ask(path)
    assert (status[:3], headers["Retry-After"]) == ("503", "3")
    said: dict[str, Any] = json.loads(body)
    assert (said.get("error") or said)["code"] == "dependency_unavailable"
    assert ("error" in said) == path.startswith("/v1")


def test_a_submit_without_json_is_refused_too(ways: Ways) -> None:
    """To run something again takes no body."""
    assert ways.ask(f"{RUN}/rerun", {"Content-Type": "text/plain"}, data=b"")[0].startswith("503")


@pytest.mark.parametrize("path", ["/api/v1/auth/login", "/api/v1/invocations/batch/", "/api/v1/tools/echo/quote"])
def test_what_does_not_submit_is_looked_at(ways: Ways, path: str) -> None:
    assert ways.ask(path)[0].startswith("4")


def test_pages_of_other_origins_may_read_it(ways: Ways) -> None:
    status, headers, _ = ways.ask(INVOKE, {"Origin": ORIGIN})
    assert (status[:3], headers["Access-Control-Allow-Origin"]) == ("503", ORIGIN)


def test_without_overload_a_submit_is_looked_at(ways: Ways) -> None:
    memory.forget()
    assert ways.ask(INVOKE)[0] == "401 UNAUTHORIZED"


class Busy(Admission):
    """Somebody waits, but not for long. `most`: how many were announced at once."""

    most = 0

    def _expected(self, _now: float) -> float:
        return 0.01

    def announce(self, piece: object) -> None:
        super().announce(piece)
        self.most = max(self.most, len(self._announced))


@pytest.fixture
def busy(ways: Ways) -> Busy:
    busy = memory.current().parts[overload._line] = Busy(overload.AT_ONCE, overload.PATIENCE)
    return busy


@pytest.fixture
def key(ways: Ways) -> dict[str, str]:
    return {"X-API-Key": keys.create(factories.customer().user_id, "k", actor=OPERATOR)[1]}


@pytest.mark.parametrize("path", [INVOKE, "/v1/chat/completions", "/api/v1/invocations/batch"])
def test_who_is_refused_for_another_reason_leaves_the_line(
    ways: Ways, busy: Busy, key: dict[str, str], path: str
) -> None:
    assert ways.ask(path, key)[0].startswith("4")
    assert (busy.most, len(busy._announced)) == (1, 0)


@pytest.mark.parametrize("sent", [{}, {"X-API-Key": "jh_nothing"}, {"Authorization": "Bearer nothing"}])
def test_who_has_no_credential_leaves_the_line(ways: Ways, busy: Busy, sent: dict[str, str]) -> None:
    assert ways.ask(INVOKE, sent)[0].startswith("401")
    assert (busy.most, len(busy._announced)) == (1, 0)


def test_a_body_that_is_read_ahead_is_the_body(ways: Ways, busy: Busy, key: dict[str, str]) -> None:
    path = f"/api/v1/tools/{factories.tool().slug}/invoke"
    for data, status in ((b'{"input": {"text": "x"}}', "202"), (b"{", "400"), (b"", "400")):
        assert ways.ask(path, key, data=data)[0].startswith(status)
    assert (busy.most, len(busy._announced)) == (1, 0)


def test_who_sends_slowly_takes_no_place(ways: Ways, busy: Busy, key: dict[str, str]) -> None:
    """A large body, or one whose end has not arrived, may take long to come."""
    seen = list[int]()

    class Slow(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            seen.append(len(busy._announced))
            return super().read(size)

    def ask(size: int, sent: dict[str, str]) -> int:
        busy.most = 0
        ways.ask(INVOKE, {**sent, "Content-Length": str(size)}, body=Slow(b"{" + b" " * (size - 1)))
        return busy.most

    assert ask(PUBLIC_BYTES + 1, {}) == 0
    assert seen == [], "nobody's large body is not received at all"
    assert [ask(size, key) for size in (PUBLIC_BYTES + 1, 100)] == [1, 1], "when they have arrived"
    assert set(seen) == {0}


def test_a_form_of_the_console_is_looked_at(ways: Ways) -> None:
    """If there is no permit it is shown again as it was filled in."""
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert ways.ask("/console/tools/echo/run", form)[0].startswith("403"), "it has no token"

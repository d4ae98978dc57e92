"""A client of `/mcp` as its specification says, while the test itself is the worker."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from common.identity import keys
from common.identity.audit import OPERATOR
from common.identity.keys import NewLimits
from common.kit import sse
from common.settings import Settings, load
from tests import factories
from tests.factories import Customer
from tests.working import working
from web.app import create_app
from worker.heartbeat import WorkerProcess

Json = dict[str, Any]

VERSION = "2026-07-28"
PREFIX = "io.modelcontextprotocol/"
TASKS: Json = {"extensions": {f"{PREFIX}tasks": {}}}
_ids = count(1)


def envelope(capabilities: Json | None = None, version: str = VERSION) -> Json:
    """What every modern request has in `_meta`."""
    return {f"{PREFIX}protocolVersion": version, f"{PREFIX}clientCapabilities": capabilities or {}}


def message(method: str, params: Json | None = None) -> Json:
    return {"jsonrpc": "2.0", "id": next(_ids), "method": method, **({} if params is None else {"params": params})}


@dataclass(frozen=True, slots=True)
class Mcp:
    """`/mcp`, asked with a key of a customer."""

    http: FlaskClient
    customer: Customer
    key: str

    def send(self, body: Any, headers: Json | None = None, method: str = "POST") -> TestResponse:
        given = {"Authorization": f"Bearer {self.key}", **(headers or {})}
        known = {name: value for name, value in given.items() if value is not None}
        options = {"data": body} if isinstance(body, bytes) else {"json": body}
        return self.http.open("/mcp", method=method, headers=known, **options)

    def modern(
        self, method: str, params: Json | None = None, *, meta: Json | None = None, headers: Json | None = None
    ) -> TestResponse:
        """A request of the modern revision, with the headers that it needs; None in `headers`: without one."""
        params = params or {}
        whole = {**params, "_meta": {**envelope(), **(meta or {})}}
        name = params.get("taskId", params.get("name"))
        told = {"MCP-Protocol-Version": VERSION, "Mcp-Method": method, "Mcp-Name": name}
        return self.send(message(method, whole), {**told, **(headers or {})})

    def handshake(self, method: str, params: Json | None = None, version: str | None = "2025-11-25") -> TestResponse:
        """A request of a revision that begins with `initialize`."""
        return self.send(message(method, params), {"MCP-Protocol-Version": version})

    def result(self, method: str, params: Json | None = None, **options: Any) -> Json:
        """Of a modern request."""
        response = self.modern(method, params, **options)
        assert response.status_code == 200, response.text
        return dict(response.json["result"])  # type: ignore[index]

    def call(self, name: str, arguments: Json | None = None, capabilities: Json | None = None, **meta: Any) -> Json:
        """The result of `tools/call`."""
        given = {f"com.joyfullhub/{key.replace('_', '-')}": value for key, value in meta.items()}
        return self.result(
            "tools/call", {"name": name, "arguments": arguments or {}}, meta=envelope(capabilities) | given
        )

    def stream(self, name: str, arguments: Json | None = None, **meta: Any) -> TestResponse:
        """The response to a call that takes longer."""
        response = self.modern("tools/call", {"name": name, "arguments": arguments or {}}, meta=meta)
        assert response.mimetype == "text/event-stream", response.text
        return response

    def key_with(self, *scopes: str, tools: list[str] | None = None) -> Mcp:
        """The same with another key."""
        asked, limits = scopes or None, NewLimits(tools=tools)
        _, text = keys.create(self.customer.user_id, "another", actor=OPERATOR, scopes=asked, limits=limits)
        return Mcp(self.http, self.customer, text)


def events(response: TestResponse) -> Iterator[Json]:
    """The messages of a stream, as they come."""
    parser = sse.Parser()
    for piece in response.iter_encoded():
        for event in parser.feed(piece):
            yield json.loads(event.data)


def error(response: TestResponse) -> tuple[int, int]:
    """HTTP status, and the code of JSON-RPC."""
    assert response.json is not None, response.text
    assert response.json["jsonrpc"] == "2.0"
    return response.status_code, response.json["error"]["code"]


@pytest.fixture
def mcp(db: None, settings: Settings) -> Mcp:
    customer = factories.customer()
    _, text = keys.create(customer.user_id, "a key", actor=OPERATOR)
    return Mcp(create_app(settings).test_client(), customer, text)


@pytest.fixture
def worker(mcp: Mcp) -> Iterator[WorkerProcess]:
    """A worker that runs one invocation after the other. The books are right at the end."""
    with working() as process:
        yield process


@pytest.fixture
def settings_with(mcp: Mcp, environ: dict[str, str]) -> Callable[..., Mcp]:
    """The same customer at a platform with other settings."""
    return lambda **changes: Mcp(create_app(load({**environ, **changes})).test_client(), mcp.customer, mcp.key)

"""The application behind a real socket, a worker, a tool that misbehaves on demand, and the official client.

All in this process, so that a test costs a fraction of a second.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import openai
import pytest
from werkzeug.serving import WSGIRequestHandler, make_server

from common.identity import keys
from common.identity.audit import OPERATOR
from common.kit import db as database
from common.settings import Settings
from common.tools import ListedTool
from tests import factories
from tests.client import eventually
from tests.factories import Customer
from tests.outside.tool import Tool
from tests.working import working
from web.app import create_app
from web.http import output_waiting
from worker.heartbeat import WorkerProcess

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

TOKENS = {"pointer": "/usage/total_tokens", "tokens": 2, "unit": "token"}
METER = {"chars_per_unit": 4, "input": True}
MESSAGES: Any = [{"role": "user", "content": "How are you?"}]


class Quiet(WSGIRequestHandler):
    """Keeps connections alive, and says nothing."""

    protocol_version = "HTTP/1.1"

    def log(self, *_: object) -> None:
        pass


@dataclass(frozen=True, slots=True)
class Stage:
    """Where it is served, a customer with a key, the tool, and a worker process whose threads are the test's."""

    url: str
    customer: Customer
    key: str
    tool: Tool
    me: WorkerProcess

    def client(self, **options: Any) -> openai.OpenAI:
        """The official client, as its users make it; it does not repeat by itself unless told to."""
        return openai.OpenAI(**{"base_url": self.url, "api_key": self.key, "max_retries": 0, **options})

    def chat(self, path: str = "/chat/completions", **changes: Any) -> str:
        """A chat model; returns its slug. `/stream?…` streams."""
        price = {"base_tokens": 1, "per_unit": TOKENS, "max_tokens": 1_000, "metered": METER}
        given = {"adapter": "chat_completion", "streaming": True, "price": price, **changes}
        return self.offer(f"{path}", **given).slug

    def offer(self, path: str, **changes: Any) -> ListedTool:
        return factories.tool(endpoint_url=f"{self.tool.url}{path}", **changes)


def closing(app: WSGIApplication) -> WSGIApplication:
    """Werkzeug's server, unlike others, does not close the answer of a client that has reset its connection."""

    def called(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        answer = app(environ, start_response)
        try:
            yield from map(bytes, answer)
        finally:
            getattr(answer, "close", int)()

    return called


@pytest.fixture(scope="module")
def served(_connected: None, settings: Settings) -> Iterator[str]:
    """The application, for as long as a module of tests; its state is in the servers, which each test has anew."""
    app = closing(create_app(settings))
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.port}/v1"
    server.shutdown()
    thread.join(60)
    server.server_close()
    eventually("all readers of streams have left", 20, lambda: not output_waiting.readers._all())


@pytest.fixture
def front(db: None, served: str, tool: Tool) -> Stage:
    """Without a worker."""
    customer = factories.customer()
    _, key = keys.create(customer.user_id, "a key", actor=OPERATOR)
    return Stage(served, customer, key, tool, WorkerProcess())


@pytest.fixture
def stage(front: Stage) -> Iterator[Stage]:
    with working() as process:
        yield replace(front, me=process)


def charges() -> list[int]:
    """What every invocation that has ended was charged."""
    with database.read_only() as session:
        rows = session.connection().exec_driver_sql("select charged from invocations where charged is not null")
        return [row[0] for row in rows]

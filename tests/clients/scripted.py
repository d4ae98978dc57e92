"""A server that answers by a script, and a clock that only sleeping moves: for both drivers of the Python client."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from joyfull import AsyncClient, Client
from joyfull.credentials import Session
from joyfull.surface import AsyncPages

URL = "http://hub.test"
KEY = "jh_secret_of_the_test"
Json = dict[str, Any]


class Broken(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body that is cut off, or falls silent."""

    def __init__(self, parts: Iterable[bytes], error: type[httpx.TransportError] | None) -> None:
        self.parts = list(parts)
        self.error = error

    def __iter__(self) -> Iterator[bytes]:
        yield from self.parts
        if self.error is not None:
            raise self.error("cut")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self:
            yield part


@dataclass(frozen=True)
class Reply:
    """What the server does with one request."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    #: Instead of an answer; with `parts`, after them.
    error: type[httpx.TransportError] | None = None
    parts: tuple[bytes, ...] | None = None

    def made(self) -> httpx.Response:
        if self.parts is not None:
            return httpx.Response(self.status, headers=self.headers, stream=Broken(self.parts, self.error))
        if self.error is not None:
            raise self.error("scripted")
        content = b"" if self.body is None else json.dumps(self.body).encode()
        return httpx.Response(self.status, headers=self.headers, content=content)


REFUSED = Reply(error=httpx.ConnectError)
RESET = Reply(error=httpx.ReadError)
SILENT = Reply(error=httpx.ReadTimeout)
CUT = Reply(parts=(b'{"data": ',), error=httpx.RemoteProtocolError)


def ok(data: Any, status: int = 200, meta: Any = None, **headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, {"data": data} | ({} if meta is None else {"meta": meta}), named)


def problem(status: int, code: str, retry_after: int | None = None, **members: Any) -> Reply:
    body = {
        "type": f"{URL}/docs/errors#{code}",
        "title": code,
        "status": status,
        "detail": f"It is {code}.",
        "instance": "/",
        "code": code,
        "request_id": "r-1",
        **members,
    }
    return Reply(status, body, {} if retry_after is None else {"Retry-After": str(retry_after)})


def invocation(status: str = "succeeded", **changes: Any) -> Json:
    return {
        "id": "01a2",
        "status": status,
        "tool": {"id": "01a1", "slug": "echo", "name": "Echo", "version": 1},
        "input": {},
        "output": {"echo": 1} if status == "succeeded" else None,
        "error": None,
        "metadata": {},
        "attempts": 1,
        "billing": {"held": 5, "charged": 1, "outcome": "charged", "reason": None, "price": None, "units": None},
        "request_id": "r-1",
        "created_at": "2026-11-29T07:00:00Z",
        "expires_at": "2026-11-30T07:00:00Z",
        "poll_after_ms": 500,
        "links": {"self": "/", "cancel": "/", "events": "/"},
        **changes,
    }


class Stage:
    """A client of one kind, the script of its server, and what came of it."""

    def __init__(self, kind: str, *replies: Reply, tmp: Path | None = None, session: Session | None = None) -> None:
        self.replies = list(replies)
        self.sent: list[httpx.Request] = []
        self.slept: list[float] = []
        self.time = 0.0
        self.keys = 0
        #: Seconds that the server takes for each answer.
        self.slow = 0.0
        options: Json = {"base_url": URL, "session": session, "api_key": None if session else KEY}
        options["journal"] = tmp and tmp / "journal.sqlite"
        transport = httpx.MockTransport(self._answer)
        self.client: Any
        if kind == "sync":
            self.client = Client(http=httpx.Client(transport=transport), **options)
        else:
            self.client = AsyncClient(http=httpx.AsyncClient(transport=transport), **options)
        driver = self.client._driver
        driver.sleep = self._sleep if kind == "sync" else self._async_sleep
        driver.context.now = lambda: self.time
        driver.context.today = lambda: datetime(2026, 11, 29, tzinfo=UTC) + timedelta(seconds=self.time)
        driver.context.chance = lambda: 1.0
        driver.context.new_key = self._new_key

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.sent.append(request)
        self.time += self.slow
        assert self.replies, f"more requests than replies: {request.method} {request.url}"
        return self.replies.pop(0).made()

    def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds

    async def _async_sleep(self, seconds: float) -> None:
        self._sleep(seconds)

    def _new_key(self) -> str:
        self.keys += 1
        return f"key-{self.keys}"

    def do(self, call: Callable[[Any], Any]) -> Any:
        """What a call returns; of an iterator, the list of its items."""
        return asyncio.run(self._awaited(call(self.client))) if self._is_async else _listed(call(self.client))

    @property
    def _is_async(self) -> bool:
        return isinstance(self.client, AsyncClient)

    async def _awaited(self, found: Any) -> Any:
        if inspect.isawaitable(found):
            return await found
        if isinstance(found, AsyncPages) or hasattr(found, "__aiter__"):
            return [item async for item in found]
        return found

    @property
    def bytes_sent(self) -> list[tuple[str, str, list[tuple[bytes, bytes]], bytes]]:
        return [(each.method, str(each.url), sorted(each.headers.raw), each.content) for each in self.sent]


def _listed(found: Any) -> Any:
    return list(found) if hasattr(found, "__iter__") and not isinstance(found, dict | str | tuple | list) else found

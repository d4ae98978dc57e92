"""A receiver of webhooks: keeps every request verbatim and answers by a script."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import defaultdict, deque
from dataclasses import dataclass, field

from tests.outside.server import Request, Server, answer


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer: `after` seconds, not before the test says so (`when`), or never (`hang`)."""

    status: int = 204
    after: float = 0.0
    when: threading.Event | None = None
    hang: bool = False
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


class Receiver(Server):
    """Each path is a receiver of its own. Without a script it says 204."""

    def __init__(self, port: int = 0) -> None:
        super().__init__(self._answer, port)
        self._requests: list[Request] = []
        self._scripts: defaultdict[str, deque[Reply]] = defaultdict(deque)
        self._always: dict[str, Reply] = {}

    def __enter__(self) -> Receiver:
        super().__enter__()
        return self

    def script(self, path: str, *replies: Reply | int) -> None:
        """Answer the next requests to `path` with these (an int is a status), one each."""
        self._scripts[path].extend(map(_reply, replies))

    def always(self, path: str, reply: Reply | int) -> None:
        """Answer `path` with this whenever its script is over."""
        self._always[path] = _reply(reply)

    def requests(self, path: str | None = None) -> list[Request]:
        """What came so far, in order; with `path` only what came there."""
        return [request for request in list(self._requests) if path is None or request.path == path]

    def wait(self, count: int, path: str | None = None, timeout: float = 30.0) -> list[Request]:
        """The requests, as soon as there are `count`. Raises `TimeoutError`."""
        deadline = time.monotonic() + timeout
        while len(found := self.requests(path)) < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(found)} of {count} requests came to {path or 'anywhere'} in {timeout} s")
            time.sleep(0.01)
        return found

    async def _answer(self, request: Request, writer: asyncio.StreamWriter) -> None:
        self._requests.append(request)
        script = self._scripts[request.path]
        reply = script.popleft() if script else self._always.get(request.path, Reply())
        await asyncio.sleep(3600 if reply.hang else reply.after)
        while reply.when is not None and not reply.when.is_set():
            await asyncio.sleep(0.01)
        writer.write(answer(reply.status, reply.body, headers=reply.headers))


def _reply(reply: Reply | int) -> Reply:
    return Reply(reply) if isinstance(reply, int) else reply

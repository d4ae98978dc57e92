"""A tool that misbehaves on demand. The path says how, the query says how much:

| path | what it does |
|---|---|
| `/echo` | 200 with `{"echo": <body>, "units": <len of "text" or 1>}` |
| `/chat/completions` | a chat's answer that took 3 + 9 tokens |
| `/stream?words=3` | so many words of a chat's answer, as a stream. `hold=1,2`: after so many of them it waits for
  `let_go`; `every=20`: ms between them; `usage=0`: reports none; `end=break`: breaks off before it is finished |
| `/fail?status=503&times=2` | that status for the first calls of each Idempotency-Key (default: all), then `/echo` |
| `/hang` | reads the request, never answers |
| `/drip-headers`, `/drip-body` | one byte every `every` ms (default 100), for ever |
| `/endless` | a body without end |
| `/gzip-bomb?mb=100` | so many MB, packed 1 : 1000 |
| `/lying-length` | announces 1000 bytes, sends 10, closes |
| `/reset`, `/reset-before` | RST in the middle of the body, or instead of an answer |
| `/redirect?to=URL` | 302 |
| `/type?is=text/html` | a proper JSON body under a wrong Content-Type |
| `/garbage?body=…&status=200&is=application/json` | that body (default: not JSON), word for word |
| `/many?of={}&mb=5` | so many MB of a list of that value |
| `/large?size=…` | 200 `{"text": "xxx…"}` with a text of that length |
| `/informational` | 100 Continue for ever |
| `/headers` | one header of 1 MB |

Everywhere: `after=<ms>` waits first, `retry_after=<text>` adds the header. Each call is two lines of the log, written
when it starts and when it ends with one `write` each: they outlive whoever is killed.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import struct
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from socket import SO_LINGER, SOL_SOCKET
from time import time
from typing import Any

from tests.outside.server import Request, Server, answer

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@dataclass(slots=True)
class Call:
    """One call: `key` is its Idempotency-Key (an invocation's id), times are wall-clock seconds; unended: None.
    Names of `headers` are in lower case.
    """

    key: str | None
    path: str
    request_id: str | None
    body: Any
    started: float
    ended: float | None = None
    headers: dict[str, str] = field(default_factory=dict)


class Tool(Server):
    """The server, and what it was asked."""

    def __init__(self, log: Path, port: int = 0) -> None:
        super().__init__(self._answer, port)
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._path = log
        self._calls: list[Call] = []
        self._tries: Counter[tuple[str, str | None]] = Counter()
        self._let_go = 0

    def __enter__(self) -> Tool:
        super().__enter__()
        return self

    def calls(self, key: str | None = None) -> list[Call]:
        """The calls so far, in the order in which they started; with `key` those of one invocation."""
        return [call for call in list(self._calls) if key is None or call.key == key]

    def let_go(self) -> None:
        """Let the streams that wait go on to where they wait next."""
        self._let_go += 1

    def forget(self) -> None:
        """Empty the memory of calls and tries; the log file stays."""
        self._let_go = 0
        self._calls.clear()
        self._tries.clear()

    async def _answer(self, request: Request, writer: asyncio.StreamWriter) -> None:
        call = Call(
            request.header("Idempotency-Key"),
            request.path,
            request.header("X-Request-ID"),
            _body(request),
            time(),
            headers={name.lower(): value for name, value in request.headers},
        )
        self._calls.append(call)
        self._write("start", call)
        try:
            await asyncio.sleep(int(request.query.get("after", "0")) / 1000)
            await self._behave(request, writer)
        finally:
            call.ended = time()
            self._write("end", call)

    def _write(self, what: str, call: Call) -> None:
        line = {"what": what, "key": call.key, "path": call.path, "started": call.started, "ended": call.ended}
        os.write(self._log, json.dumps(line).encode() + b"\n")

    async def _behave(self, request: Request, writer: asyncio.StreamWriter) -> None:
        behaviour = request.path.strip("/").partition("/")[0].replace("-", "_") or "echo"
        method = getattr(self, f"on_{behaviour}", None)
        if method is None:
            writer.write(answer(404, b'{"error": "no such behaviour"}'))
        else:
            await method(request, writer)

    # -- behaviours ----------------------------------------------------------------------------------------------

    async def on_echo(self, request: Request, writer: asyncio.StreamWriter) -> None:
        body = _body(request)
        text = body.get("text") if isinstance(body, dict) else None
        units = len(text) if isinstance(text, str) else 1
        writer.write(answer(200, json.dumps({"echo": body, "units": units}).encode(), headers=_extra(request)))

    async def on_chat(self, request: Request, writer: asyncio.StreamWriter) -> None:
        usage = {"prompt_tokens": 3, "completion_tokens": 9}
        said = {"choices": [{"message": {"content": "a long answer"}}], "usage": usage}
        writer.write(answer(200, json.dumps(said).encode()))

    async def on_stream(self, request: Request, writer: asyncio.StreamWriter) -> None:
        query, written = request.query, 0
        count, every = int(query.get("words", "3")), int(query.get("every", "0")) / 1000
        holds = [int(each) for each in query.get("hold", "").split(",") if each]
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
        for number in range(count + 1):
            if number in holds:
                while self._let_go <= holds.index(number):
                    await asyncio.sleep(0.005)
            if number < count:
                writer.write(_event({"index": 0, "delta": {"role": "assistant", "content": f"wörd{number} "}}))
                await writer.drain()
                await asyncio.sleep(every)
                written += 1
        if query.get("end") != "break":
            usage = {"prompt_tokens": 3, "completion_tokens": written}
            writer.write(_event({"index": 0, "delta": {}, "finish_reason": "stop"}))
            writer.write(b"" if query.get("usage") == "0" else _event(usage=usage))
            writer.write(b"data: [DONE]\n\n")
        await writer.drain()
        writer.close()

    async def on_fail(self, request: Request, writer: asyncio.StreamWriter) -> None:
        tried = (request.path, request.header("Idempotency-Key"))
        self._tries[tried] += 1
        if self._tries[tried] > int(request.query.get("times", "1000000")):
            return await self.on_echo(request, writer)
        status = int(request.query.get("status", "500"))
        writer.write(answer(status, b'{"error": "told to fail"}', headers=_extra(request)))
        return None

    async def on_hang(self, request: Request, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(3600)

    async def on_drip_headers(self, request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + b"X-Slow: ")
        await self._drip(request, writer)

    async def on_drip_body(self, request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + b"Content-Length: 1000000\r\n\r\n")
        await self._drip(request, writer)

    async def _drip(self, request: Request, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"1")
            await writer.drain()
            await asyncio.sleep(int(request.query.get("every", "100")) / 1000)

    async def on_endless(self, request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + b"Connection: close\r\n\r\n[")
        while True:
            writer.write(b"1," * 8192)
            await writer.drain()

    async def on_gzip_bomb(self, request: Request, writer: asyncio.StreamWriter) -> None:
        megabyte = gzip.compress(b" " * 1_000_000, 9)  # members may follow each other: so many make one body
        packed = megabyte * int(request.query.get("mb", "100"))
        writer.write(answer(200, packed, headers={"Content-Encoding": "gzip"}))

    async def on_lying_length(self, request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + b'Content-Length: 1000\r\n\r\n{"a": "bcd')
        writer.close()

    async def on_reset(self, request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + b'Content-Length: 1000\r\n\r\n{"a":')
        await writer.drain()
        await asyncio.sleep(0.05)
        _reset(writer)

    async def on_reset_before(self, request: Request, writer: asyncio.StreamWriter) -> None:
        _reset(writer)

    async def on_redirect(self, request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(302, headers={"Location": request.query.get("to", f"{self.url}/echo")}))

    async def on_type(self, request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(200, b'{"a": 1}', request.query.get("is", "text/html")))

    async def on_garbage(self, request: Request, writer: asyncio.StreamWriter) -> None:
        body = request.query.get("body", "<html>not JSON</html>").encode()
        status, is_ = int(request.query.get("status", "200")), request.query.get("is", "application/json")
        writer.write(answer(status, body, is_))

    async def on_many(self, request: Request, writer: asyncio.StreamWriter) -> None:
        value = request.query.get("of", "{}").encode()
        count = int(float(request.query.get("mb", "5")) * 1024 * 1024 - 2) // (len(value) + 1)
        writer.write(answer(200, b"[" + b",".join([value] * count) + b"]"))

    async def on_large(self, request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(200, json.dumps({"text": "x" * int(request.query["size"])}).encode()))

    async def on_informational(self, request: Request, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            await writer.drain()
            await asyncio.sleep(0.001)

    async def on_headers(self, request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(200, b"{}", headers={"X-Long": "x" * 1_000_000}))


def _body(request: Request) -> Any:
    try:
        return json.loads(request.body) if request.body else dict(request.query)
    except ValueError:
        return request.body.decode("utf-8", "replace")


def _event(*choices: Any, **members: Any) -> bytes:
    chunk = {"id": "c-1", "object": "chat.completion.chunk", "choices": choices, **members}
    return f"data: {json.dumps(chunk)}\n\n".encode()


def _extra(request: Request) -> dict[str, str]:
    return {"Retry-After": request.query["retry_after"]} if "retry_after" in request.query else {}


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST instead of FIN."""
    writer.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()

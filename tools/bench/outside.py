"""The benchmark's own tool and sink: one asyncio process each, so that they are never the bottleneck.

`python -m tools.bench.outside PORT` answers every POST with a small JSON object. `/tool` answers at once, `/tool/1000`
after 1,000 ms, `/hang` never, `/many/1000` with a list of so many `{}`, `/stream/25/500` with a chat completion of 500
chunks, 25 a second, the first after a second; each says when it was written (seconds of the epoch), and
`/stream/25/500/100` says it a hundred times. `GET /count` tells how many POSTs have been answered since the last time
it was asked with `?reset`. The answer is prepared: a call costs about 30 µs.
`python -m tools.bench.outside PORT elsewhere` stands for a machine of its own (`run_elsewhere`).
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import threading
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Final, cast

#: The lowest priority.
LOWEST: Final = 19

_BODY = b'{"answer":"some words that a tool would say","units":7}'
#: For `/v1/chat/completions`: the same words as an OpenAI-compatible answer.
_CHAT_BODY = (
    b'{"id":"chatcmpl-1","object":"chat.completion","created":1700000000,"model":"tool","choices":[{"index":0,"message":'
    b'{"role":"assistant","content":"some words that a tool would say"},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":2,"completion_tokens":7,"total_tokens":9}}'
)
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
_EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
_CHUNK = b'data: {"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"%b"}}]}\n\n'
_LAST = (
    b'data: {"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
    b'data: {"id":"c","choices":[],"usage":{"total_tokens":9}}\n\ndata: [DONE]\n\n'
)
_ANSWER = _HEAD % len(_BODY) + _BODY
_CHAT_ANSWER = _HEAD % len(_CHAT_BODY) + _CHAT_BODY


class Outside(asyncio.Protocol):
    """HTTP/1.1 as far as well-behaved clients go: one request after the other, bodies with a length."""

    answered = 0
    _transport: asyncio.Transport

    def __init__(self) -> None:
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end]
            length = _content_length(head)
            if len(self._buffer) < end + 4 + length:
                return
            self._buffer = self._buffer[end + 4 + length :]
            self._react(head.split(b" ", 2)[1])

    def _react(self, path: bytes) -> None:
        if path.startswith(b"/count"):
            self._tell(path)
        elif path.startswith(b"/hang"):
            return
        elif path.startswith(b"/many/"):
            self._answer(_many(int(path.removeprefix(b"/many/"))))
        elif path.startswith(b"/stream/"):
            rate, count, times, *_ = *(int(each) for each in path.split(b"/") if each.isdigit()), 1
            Stream(self._transport, rate, count, times).begin()
        elif (delay := path.rpartition(b"/")[2]).isdigit() and delay != b"0":
            asyncio.get_running_loop().call_later(int(delay) / 1000, self._answer)
        else:
            self._answer(_CHAT_ANSWER if path.startswith(b"/v1/") else _ANSWER)

    def _answer(self, answer: bytes = _ANSWER) -> None:
        Outside.answered += 1
        if not self._transport.is_closing():
            self._transport.write(answer)

    def _tell(self, path: bytes) -> None:
        body = json.dumps({"answered": Outside.answered}).encode()
        if path.endswith(b"reset"):
            Outside.answered = 0
        self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


class Stream:
    """A chat completion, chunk by chunk."""

    def __init__(self, transport: asyncio.Transport, rate: int, count: int, times: int) -> None:
        self._transport, self._rate, self._left, self._times = transport, rate, count, times
        self._loop = asyncio.get_running_loop()

    def begin(self) -> None:
        self._transport.write(_EVENTS)
        self._due = self._loop.time() + 1.0
        self._loop.call_at(self._due, self._write)

    def _write(self) -> None:
        if self._transport.is_closing():
            return
        if not self._left:
            self._transport.write(_LAST)
            self._transport.close()
            return
        self._transport.write(_CHUNK % ((b"%.4f " % time.time()) * self._times))
        self._left -= 1
        self._due += 1 / self._rate
        self._loop.call_at(self._due, self._write)


@cache
def _many(count: int) -> bytes:
    body = b"[" + b",".join([b"{}"] * count) + b"]"
    return _HEAD % len(body) + body


def _content_length(head: bytes) -> int:
    at = head.lower().find(b"content-length:")
    return int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0


def run_elsewhere() -> None:
    """Let this process have only CPU time that nobody else wants, as if it were on another machine.

    The kernel weighs sessions against each other (man 7 sched, "The autogroup feature"): without one of its own, it
    would take part in what the platform gets, against PostgreSQL. Before there are threads.
    """
    if os.getpgrp() == os.getpid():
        _go_on_in_a_child()
    os.setsid()
    with suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(LOWEST))
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def _go_on_in_a_child() -> None:
    """The leader of a process group cannot begin a session. It waits, and its child ends with it."""
    watched, held = os.pipe()
    if child := os.fork():
        os.close(watched)
        os.waitpid(child, 0)
        os._exit(0)
    os.close(held)
    threading.Thread(target=_end_after, args=(watched,), daemon=True).start()


def _end_after(watched: int) -> None:
    os.read(watched, 1)
    os._exit(0)


async def serve(port: int) -> None:
    """Until the process is ended."""
    listener = socket.create_server(("127.0.0.1", port), backlog=2048)
    server = await asyncio.get_running_loop().create_server(Outside, sock=listener, backlog=2048)
    await server.serve_forever()


if __name__ == "__main__":
    if "elsewhere" in sys.argv:
        run_elsewhere()
    asyncio.run(serve(int(sys.argv[1])))

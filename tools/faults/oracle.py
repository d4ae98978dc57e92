"""A tool and a receiver of webhooks that write down all they see: `python -m tools.faults.oracle PORT LOG`.

| path | what it does |
|---|---|
| `/tool/echo?after=MS` | 200 `{"units": …}` after so long |
| `/tool/flaky`, `/tool/fails`, `/tool/busy` | 503, 500, 429 at the first call of each key, then as `echo` |
| `/tool/switch` | as `echo`, or the status last put with `PUT /control/tool` |
| `/tool/hang`, `/tool/drip`, `/tool/garbage`, `/tool/huge`, `/tool/redirect`, `/tool/reset` | what they say |
| `/hook/…` | 204, or the status last put with `PUT /control/hook` |

Each call is a line at its start and one at its end, each written with one `write` before the answer goes out: what a
killed worker was told is in the log. The log is synced to the disk five times a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

SYNC_SECONDS = 0.2
HUGE = 8 * 1024 * 1024
#: What the first call of each key is answered with.
FIRST = {"flaky": 503, "fails": 500, "busy": 429}


class Oracle:
    """Serves on a loopback port and appends to `log`."""

    def __init__(self, log: Path) -> None:
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._status = {"tool": 200, "hook": 204}
        self._seen: set[str] = set()

    async def serve(self, port: int) -> None:
        server = await asyncio.start_server(self._connection, "127.0.0.1", port, backlog=1024)
        async with server:
            while True:
                await asyncio.sleep(SYNC_SECONDS)
                os.fsync(self._log)

    def _write(self, **line: object) -> None:
        os.write(self._log, json.dumps({"at": time.time(), **line}).encode() + b"\n")

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            while not writer.is_closing():
                await self._exchange(reader, writer)
        writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        _, target, _ = head[0].split(" ", 2)
        pairs = (line.partition(":") for line in head[1:] if line)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        url = urlsplit(target)
        _, kind, name, *_ = [*url.path.split("/"), "", ""]
        if kind == "control":
            self._status[name] = int(body)
            _answer(writer, 204)
        elif kind == "hook":
            self._hook(url.path, headers, body, writer)
        else:
            await self._tool(name, headers, body, parse_qs(url.query), writer)

    def _hook(self, path: str, headers: dict[str, str], body: bytes, writer: asyncio.StreamWriter) -> None:
        status = self._status["hook"]
        signed = {name: headers.get(f"webhook-{name}", "") for name in ("id", "timestamp", "signature")}
        self._write(what="hook", path=path, status=status, body=body.decode("latin-1"), **signed)
        _answer(writer, status)

    async def _tool(
        self,
        name: str,
        headers: dict[str, str],
        body: bytes,
        query: dict[str, list[str]],
        writer: asyncio.StreamWriter,
    ) -> None:
        key = headers.get("idempotency-key", "")
        self._write(what="start", name=name, key=key, bytes=len(body))
        await asyncio.sleep(int(query.get("after", ["0"])[0]) / 1000)
        status, units = self._behaviour(name, key), 1 + len(body) % 7
        self._write(what="end", name=name, key=key, status=status, units=units)
        if status:
            _answer(writer, status, json.dumps({"units": units}).encode())
        else:
            await _misbehave(name, writer)

    def _behaviour(self, name: str, key: str) -> int:
        """The status to answer with; 0: something that is no proper answer."""
        if name == "switch":
            return self._status["tool"]
        if name in FIRST and key not in self._seen:
            self._seen.add(key)
            return FIRST[name]
        return 200 if name == "echo" or name in FIRST else 0


async def _misbehave(name: str, writer: asyncio.StreamWriter) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
    if name == "garbage":
        _answer(writer, 200, b"<html>not JSON</html>")
    elif name == "redirect":
        writer.write(b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n")
    elif name == "reset":
        writer.write(head + b'Content-Length: 1000\r\n\r\n{"units":')
        await writer.drain()
        writer.transport.abort()
    elif name == "huge":
        writer.write(head + f"Content-Length: {HUGE}\r\n\r\n".encode())
        for _ in range(HUGE // 65536):
            writer.write(b"[" * 65536)
            await writer.drain()
    elif name == "drip":
        writer.write(head + b"Content-Length: 100000\r\n\r\n")
        while not writer.is_closing():
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.2)
    else:
        await asyncio.sleep(3600)


def _answer(writer: asyncio.StreamWriter, status: int, body: bytes = b"") -> None:
    head = f"HTTP/1.1 {status} Said\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)


if __name__ == "__main__":
    asyncio.run(Oracle(Path(sys.argv[2])).serve(int(sys.argv[1])))

"""Clients that follow streamed answers as server-sent events, and see how old each part is when it comes.

The benchmark's tool writes the time into each of its chunks. Clients and tool share a clock.
"""

from __future__ import annotations

import asyncio
import re
from time import time
from typing import cast

_CONTENT = re.compile(rb'"content":"([0-9. ]*)"')
_SNAPSHOT = b"event: output.snapshot"
_ENDED = b"event: invocation.succeeded"


class Follower(asyncio.Protocol):
    """One client. `chunks` so far; `first`: how late the first one was, `ages`: of each part's oldest, in seconds."""

    def __init__(self, *, stalled: bool) -> None:
        self.chunks = 0
        self.first: float | None = None
        self.ages: list[float] = []
        self.ended = False
        self.closed = asyncio.Event()
        self._stalled, self._buffer = stalled, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        if self._stalled:
            self._transport.pause_reading()

    def connection_lost(self, _error: Exception | None) -> None:
        self.closed.set()

    def data_received(self, data: bytes) -> None:
        *events, self._buffer = (self._buffer + data).split(b"\n\n")
        now = time()
        for event in events:
            self._take(event, now)

    def _take(self, event: bytes, now: float) -> None:
        if _ENDED in event:
            self.ended = True
            self._transport.close()
            return
        if b"event: output." not in event:
            return
        written = [float(each) for text in _CONTENT.findall(event) for each in text.split()]
        if _SNAPSHOT in event:
            self.chunks = len(written)
        elif written:
            self.chunks += len(written)
            self.ages.append(now - written[0])
            self.first = self.ages[0]

    def close(self) -> None:
        self._transport.close()


async def follow(port: int, request: bytes, *, stalled: bool = False) -> Follower:
    """Begin to read what this request is answered with."""
    loop = asyncio.get_running_loop()
    transport, follower = await loop.create_connection(lambda: Follower(stalled=stalled), "127.0.0.1", port)
    transport.write(request)
    return follower

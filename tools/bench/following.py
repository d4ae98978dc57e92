"""Clients that follow streamed answers as server-sent events, and see how old each part is when it comes.

The benchmark's tool writes the time into each of its chunks. Clients and tool share a clock.
"""

from __future__ import annotations

import asyncio
import re
import socket
from pathlib import Path
from time import time
from typing import Final, TypeVar, cast

_CONTENT = re.compile(rb'"content":"([0-9. ]*)"')
_SNAPSHOT = b"event: output.snapshot"
_ENDED = b"event: invocation.succeeded"
#: What a stalled client's kernel takes, in bytes; and its largest segment, by which the server's kernel sizes its own
#: buffer: that of the loopback device (64 kB) would hold more than a whole answer.
STALLED_BUFFER: Final = 4_096
SEGMENT: Final = 1_400


class Follower(asyncio.Protocol):
    """One client. `chunks` so far; `first`: how late the first one was, `ages`: of each part's oldest, `gaps`: between
    two parts, in seconds.
    """

    def __init__(self) -> None:
        self.chunks = 0
        self.first: float | None = None
        self.ages: list[float] = []
        self.gaps: list[float] = []
        self.ended = False
        self.closed = asyncio.Event()
        self._buffer, self._told_at = b"", 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

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
        elif b"event: output." in event:
            self._note(event, now)

    def _note(self, event: bytes, now: float) -> None:
        written = [float(each) for text in _CONTENT.findall(event) for each in text.split()]
        if _SNAPSHOT in event:
            self.chunks = len(written)
        elif written:
            self.chunks += len(written)
            self.ages.append(now - written[0])
            self.first = self.ages[0]
            if self._told_at:
                self.gaps.append(now - self._told_at)
            self._told_at = now

    def close(self) -> None:
        self._transport.close()


class Direct(Follower):
    """A client of the tool itself."""

    def _take(self, event: bytes, now: float) -> None:
        self._note(event, now)


class Stalled(Follower):
    """A client that reads nothing, and whose kernel takes very little."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._transport.pause_reading()


Kind = TypeVar("Kind", bound=Follower)


async def follow(port: int, request: bytes, kind: type[Kind]) -> Kind:
    """Begin to read what this request is answered with, or not to."""
    loop = asyncio.get_running_loop()
    sock = socket.socket()
    sock.setblocking(False)
    if kind is Stalled:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, STALLED_BUFFER)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT)
    await loop.sock_connect(sock, ("127.0.0.1", port))
    transport, follower = await loop.create_connection(kind, sock=sock)
    transport.write(request)
    return follower


def unsent(port: int) -> list[int]:
    """Bytes that wait in the kernel for the client, for each connection of a server on this port that has some."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    queues = [int(line[4].partition(":")[0], 16) for line in lines if line[1].endswith(f":{port:04X}")]
    return [queue for queue in queues if queue]

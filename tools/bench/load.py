"""The load generator: kept-alive connections on one event loop, requests rendered beforehand.

A request costs it 40–60 µs, against 1–2 ms for the least that any of the servers does with it.

* `closed`: so many clients, each of which sends its next request when it has its answer: how much goes through.
* `steady`: so many requests a second, sent when they are due whether or not others have been answered: how long it
  takes. Times are counted from when a request was due, so that a server that stalls cannot hide it.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from time import perf_counter
from typing import cast


@dataclass(slots=True)
class Load:
    """What came back. `rate` counts good answers a second; `waits` are seconds, in the order of the answers."""

    seconds: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    waits: list[float] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    @property
    def good(self) -> int:
        return sum(count for status, count in self.statuses.items() if 200 <= status < 400)

    @property
    def rate(self) -> float:
        return self.good / self.seconds


def request(method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> bytes:
    """One HTTP/1.1 request as bytes."""
    lines = {"Host": "localhost", **headers}
    if method != "GET":
        lines |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body


class Client(asyncio.Protocol):
    """One connection. `ask` sends a request; its future gives status and body. `head`: of the latest answer."""

    _transport: asyncio.Transport

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._waiting: asyncio.Future[tuple[int, bytes]] | None = None
        self.head = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result((0, str(exc or "closed").encode()))

    def ask(self, data: bytes) -> asyncio.Future[tuple[int, bytes]]:
        self._waiting = asyncio.get_running_loop().create_future()
        if self._transport.is_closing():
            self._waiting.set_result((0, b"closed"))
        else:
            self._transport.write(data)
        return self._waiting

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        self.head = head = bytes(self._buffer[:end]).lower()
        status = int(head[9:12])
        at = head.find(b"\r\ncontent-length:")
        length = int(head[at + 17 :].split(b"\r\n", 1)[0]) if at >= 0 and status != 304 else 0
        if len(self._buffer) < end + 4 + length:
            return
        body = bytes(self._buffer[end + 4 : end + 4 + length])
        del self._buffer[: end + 4 + length]
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result((status, body))

    @property
    def is_closed(self) -> bool:
        return self._transport.is_closing()

    def close(self) -> None:
        self._transport.close()


async def connect(port: int, count: int) -> list[Client]:
    """So many connections to a port of this machine."""
    loop = asyncio.get_running_loop()
    clients = []
    for _ in range(count):
        _, client = await loop.create_connection(Client, "127.0.0.1", port)
        clients.append(client)
    return clients


def closed(port: int, requests: Sequence[bytes], *, clients: int, seconds: float, keep_bodies: bool = False) -> Load:
    """So many clients for so long, after a fifth as long of warming up."""
    return asyncio.run(closed_loop(port, requests, clients, seconds, keep_bodies))


async def closed_loop(port: int, requests: Sequence[bytes], clients: int, seconds: float, keep_bodies: bool) -> Load:
    connections, load, begun = await connect(port, clients), Load(seconds), perf_counter() + seconds / 5
    drive = _Drive(cycle(requests), load, begun, begun + seconds, keep_bodies)
    await asyncio.gather(*map(drive.client, connections))
    for connection in connections:
        connection.close()
    return load


@dataclass(slots=True)
class _Drive:
    """What the clients of a closed loop share. Answers count that come between `begun` and `until`."""

    following: Iterator[bytes]
    load: Load
    begun: float
    until: float
    keep_bodies: bool

    async def client(self, client: Client) -> None:
        while (sent := perf_counter()) < self.until:
            status, body = await client.ask(next(self.following))
            if self.begun <= (now := perf_counter()) < self.until:
                self.load.statuses[status] += 1
                self.load.waits.append(now - sent)
                if self.keep_bodies:
                    self.load.bodies.append(body)
            if status == 0:
                return


def steady(port: int, requests: Sequence[bytes], *, rate: float, seconds: float, clients: int = 64) -> Load:
    """`rate` requests a second for so long; at most `clients` of them on their way at once (then they queue here)."""
    return asyncio.run(_steady(port, requests, rate, seconds, clients))


async def _steady(port: int, requests: Sequence[bytes], rate: float, seconds: float, clients: int) -> Load:
    pool, load, following = _Pool(port, deque(await connect(port, clients))), Load(), cycle(requests)
    begun, under_way = perf_counter() + 0.05, set()
    for n in range(int(rate * seconds)):
        due = begun + n / rate
        await asyncio.sleep(max(0.0, due - perf_counter()))
        task = asyncio.create_task(_one(pool, next(following), due, load))
        under_way.add(task)
        task.add_done_callback(under_way.discard)
    await asyncio.gather(*under_way)
    load.seconds = perf_counter() - begun
    for connection in pool.free:
        connection.close()
    return load


async def _one(pool: _Pool, data: bytes, due: float, load: Load) -> None:
    client = await pool.take()
    status, _ = await client.ask(data)
    load.statuses[status] += 1
    load.waits.append(perf_counter() - due)
    await pool.give(client)


@dataclass(slots=True)
class _Pool:
    """Connections to a port that are not in use."""

    port: int
    free: deque[Client]
    _idle: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def take(self) -> Client:
        async with self._idle:
            await self._idle.wait_for(lambda: bool(self.free))
            client = self.free.pop()
        if client.is_closed:  # the server ends connections on which nothing was sent for 10 s
            [client] = await connect(self.port, 1)
        return client

    async def give(self, client: Client) -> None:
        async with self._idle:
            self.free.append(client)
            self._idle.notify()

"""Whoever attacks, as a process of their own: crowds of connections from another address of this machine.

Bounded in count (the crowds say how many) and in time (`LONGEST_SECONDS`). Its CPU time is another machine's in life,
so here it has only what is left over.
"""

from __future__ import annotations

import asyncio
import multiprocessing
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import cycle
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Event
from random import uniform
from time import monotonic
from typing import Final, cast

from tools.bench.outside import run_elsewhere

ADDRESS: Final = "127.0.0.2"
LONGEST_SECONDS: Final = 60.0
#: Of one crowd; what the kernel queues for a listener is no more.
CONNECTS_AT_ONCE: Final = 200
CONNECT_SECONDS: Final = 20.0
#: By then everybody has been answered once, or is kept waiting.
BEGIN_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Crowd:
    """`clients` at once; each sends one of the requests, waits for its answer and then for about `pause` seconds.

    `holding`: whoever is not refused goes on only when the server has closed the connection.
    """

    clients: int
    requests: tuple[bytes, ...]
    pause: float = 0.0
    holding: bool = False


class Client(asyncio.Protocol):
    """One connection. Answers are counted by their status and thrown away; 0: there was none."""

    _transport: asyncio.Transport

    def __init__(self) -> None:
        self.closed = asyncio.get_running_loop().create_future()
        self.answered: asyncio.Future[int] | None = None
        self._head = b""
        self._status = self._left = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the name is asyncio's
        if not self.closed.done():  # whoever waited for it may have been told to stop
            self.closed.set_result(None)
        self._told(0)

    def ask(self, data: bytes) -> asyncio.Future[int]:
        self.answered = asyncio.get_running_loop().create_future()
        if self.closed.done():
            self._told(0)
        else:
            self._transport.write(data)
        return self.answered

    def data_received(self, data: bytes) -> None:
        if not self._left:
            self._head += data
            head, found, data = self._head.partition(b"\r\n\r\n")
            if not found:
                return
            self._head, self._status, self._left = b"", int(head[9:12]), _length(head)
        self._left = max(0, self._left - len(data))
        if not self._left:
            self._told(self._status)

    @property
    def is_refused(self) -> bool:
        """Whether the last answer was no."""
        return self._status >= 400

    def close(self) -> None:
        self._transport.abort()

    def _told(self, status: int) -> None:
        if self.answered is not None and not self.answered.done():
            self.answered.set_result(status)


@contextmanager
def loops(count: int) -> Iterator[Counter[int]]:
    """In the block, so many processes use the CPU time that nobody else wants, and do nothing: the least that an
    attack can do that keeps the cores busy. Nobody is answered.
    """
    context = multiprocessing.get_context("spawn")
    over = context.Event()
    processes = [context.Process(target=_loop, args=(over,), daemon=True) for _ in range(count)]
    for process in processes:
        process.start()
    try:
        yield Counter()
    finally:
        over.set()
        for process in processes:
            process.join(LONGEST_SECONDS)
            process.kill()


def _loop(over: Event) -> None:
    run_elsewhere()
    until = monotonic() + LONGEST_SECONDS
    while not over.is_set() and monotonic() < until:
        for _ in range(10_000):
            pass


def _length(head: bytes) -> int:
    """Of the body; a stream has none."""
    _, found, rest = head.lower().partition(b"\r\ncontent-length:")
    return int(rest.split(b"\r\n", 1)[0]) if found else 0


@contextmanager
def attacking(port: int, crowds: tuple[Crowd, ...]) -> Iterator[Counter[int]]:
    """These crowds are at work in the block. What they were answered is known after it."""
    context = multiprocessing.get_context("spawn")
    ready, over, said = context.Event(), context.Event(), context.SimpleQueue()
    answers: Counter[int] = Counter()
    process = context.Process(target=_attack, args=(port, crowds, ready, over, said), daemon=True)
    process.start()
    try:
        if not ready.wait(2 * LONGEST_SECONDS):
            raise RuntimeError("the attack could not begin")
        yield answers
        if not process.is_alive():
            raise RuntimeError(f"the attack was over after {LONGEST_SECONDS:.0f} s at the latest, which was too soon")
    finally:
        over.set()
        process.join(LONGEST_SECONDS)
        process.kill()
    answers.update(Counter() if said.empty() else said.get())


def _attack(port: int, crowds: tuple[Crowd, ...], ready: Event, over: Event, said: SimpleQueue[Counter[int]]) -> None:
    run_elsewhere()
    said.put(asyncio.run(_until_over(port, crowds, ready, over)))


async def _until_over(port: int, crowds: tuple[Crowd, ...], ready: Event, over: Event) -> Counter[int]:
    attack, begun = _Attack(port), monotonic()
    tasks = []
    for crowd in crowds:
        requests = cycle(crowd.requests)
        tasks += [asyncio.create_task(attack.client(crowd, requests)) for _ in range(crowd.clients)]
    while attack.begun < len(tasks) and monotonic() < begun + BEGIN_SECONDS:
        await asyncio.sleep(0.05)
    ready.set()
    while not over.is_set() and monotonic() < begun + LONGEST_SECONDS:
        await asyncio.sleep(0.05)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return attack.answers


class _Attack:
    """What the clients share: how many have begun, and what they were answered."""

    def __init__(self, port: int) -> None:
        self.begun = 0
        self.answers: Counter[int] = Counter()
        self._port = port
        self._few = asyncio.Semaphore(CONNECTS_AT_ONCE)

    async def client(self, crowd: Crowd, requests: Iterator[bytes]) -> None:
        client, first = await self._connected(), True
        try:
            while True:
                if client is not None:
                    self.answers[await client.ask(next(requests))] += 1
                self.begun, first = self.begun + first, False
                if crowd.holding and client is not None and not client.is_refused:
                    await client.closed
                await asyncio.sleep(crowd.pause * uniform(0.5, 1.5))  # they do not march in step
                if client is None or client.closed.done():
                    client = await self._connected()
        finally:
            if client is not None:
                client.close()

    async def _connected(self) -> Client | None:
        """None: it was refused, or not accepted in time."""
        loop = asyncio.get_running_loop()
        async with self._few:
            connecting = loop.create_connection(Client, "127.0.0.1", self._port, local_addr=(ADDRESS, 0))
            with suppress(OSError, TimeoutError):
                async with asyncio.timeout(CONNECT_SECONDS):  # `wait_for` may swallow that the client is canceled
                    return (await connecting)[1]
        return None

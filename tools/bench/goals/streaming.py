"""P16: 400 streamed answers at once, 25 chunks a second each, each with a reader; then also 200 that do not read."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle, islice
from statistics import median, quantiles

from tools.bench import load, pairs
from tools.bench.following import Follower, follow
from tools.bench.goals import Found, middle
from tools.bench.ground import Ground, tool

STREAMS = 400
RATE = 25
#: How long each is written, in seconds, and how much of that is measured, once all have begun.
SECONDS = 30
WINDOW = 12.0
STALLED = 200
#: A round takes most of a minute.
ROUNDS = 3
SUBMITTING = 16
BEGUN_WITHIN = 60.0


@dataclass(frozen=True, slots=True)
class Round:
    """How late first parts and all parts were, in ms, and what a chunk cost, in ms of CPU."""

    firsts: list[float]
    ages: list[float]
    worker: float
    web: float

    def __str__(self) -> str:
        tail = quantiles(self.firsts, n=100)[98]
        return (
            f"first parts p50 {median(self.firsts):.0f} ms, p99 {tail:.0f} ms, "
            f"all parts p99 {quantiles(self.ages, n=100)[98]:.0f} ms; "
            f"a chunk {self.worker:.3f} ms of the worker, {self.web:.3f} ms of the web process"
        )


def p16(ground: Ground) -> dict[str, Found]:
    ground.tools["stream"] = tool(
        ground,
        "stream",
        f"/stream/{RATE}/{RATE * SECONDS}",
        adapter="chat_completion",
        streaming=True,
        timeout_seconds=120,
        price={
            "base_tokens": 1,
            "per_unit": {"pointer": "/usage/total_tokens", "tokens": 1, "unit": "token"},
            "max_tokens": 50,
        },
    )
    ground.start(ground.web(), *ground.workers(1, STREAMS + 50))
    alone = [asyncio.run(_round(ground, 0)) for _ in range(min(ROUNDS, pairs.PAIRS))]
    beside = asyncio.run(_round(ground, STALLED))
    first = middle([median(each.firsts) for each in alone], "ms")
    shown = min(alone, key=lambda each: abs(median(each.firsts) - first.value))
    first.note = f"{STREAMS} streams of {RATE} chunks/s: {shown}. Beside {STALLED} readers that do not read: {beside}"
    return {
        "P16_first": first,
        "P16_rate": middle([1000 / each.worker for each in alone], "chunks/s"),
        "P16_cpu": middle([each.web for each in alone], "ms of CPU"),
    }


async def _round(ground: Ground, stalled: int) -> Round:
    """Begin all streams, measure, and read each to its end. Raises `RuntimeError` if one does not come to that."""
    sleeping: list[Follower] = []
    readers = await _begun(ground, stalled, sleeping)
    web, worker = (ground.supervisor.children[name].pid for name in ("web", "invocations-1"))
    before, told = _chunks(readers), [len(reader.ages) for reader in readers]
    with pairs.cpu([web]) as of_web, pairs.cpu([worker]) as of_worker:
        await asyncio.sleep(WINDOW)
    count = _chunks(readers) - before
    ages = [age for reader, start in zip(readers, told, strict=True) for age in reader.ages[start:]]
    async with asyncio.timeout(SECONDS + BEGUN_WITHIN):
        await asyncio.gather(*(reader.closed.wait() for reader in readers))
    for each in sleeping:
        each.close()
    if not all(reader.ended for reader in readers):
        raise RuntimeError(f"{sum(not reader.ended for reader in readers)} streams did not come to their end")
    firsts = [1000 * reader.first for reader in readers if reader.first is not None]
    return Round(firsts, [1000 * age for age in ages], 1000 * of_worker.total / count, 1000 * of_web.total / count)


def _chunks(readers: list[Follower]) -> int:
    return sum(reader.chunks for reader in readers)


async def _begun(ground: Ground, stalled: int, sleeping: list[Follower]) -> list[Follower]:
    """A reader of each stream, once it has read something; and so many that read nothing, into `sleeping`."""
    gate, port = asyncio.Semaphore(SUBMITTING), ground.settings.port

    async def one(number: int, submit: bytes, headers: dict[str, str]) -> Follower:
        async with gate:
            [client] = await load.connect(port, 1)
            status, body = await client.ask(submit)
            client.close()
            if status != 202:
                raise RuntimeError(f"a submit was answered {status}: {body[:200]!r}")
            path = f"/api/v1/invocations/{json.loads(body)['data']['id']}/events"
            if number < stalled:
                sleeping.append(await follow(port, load.request("GET", path, headers), stalled=True))
            return await follow(port, load.request("GET", path, headers))

    readers = await asyncio.gather(*(one(number, *each) for number, each in enumerate(_submits(ground))))
    async with asyncio.timeout(BEGUN_WITHIN):
        while any(reader.first is None for reader in readers):
            await asyncio.sleep(0.05)
    return readers


def _submits(ground: Ground) -> Iterator[tuple[bytes, dict[str, str]]]:
    body = json.dumps({"input": {"text": "some words"}, "stream": True}).encode()
    path = f"/api/v1/tools/{ground.tools['stream'].slug}/invoke"
    for token in islice(cycle(ground.tokens()), STREAMS):
        headers = {"Authorization": f"Bearer {token}"}
        yield load.request("POST", path, headers, body), headers

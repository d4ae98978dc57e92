"""P16: 400 streamed answers at once, 25 chunks a second each, each with a reader; then also 200 that do not read.

They begin at a steady rate: begun all at once, first parts would tell how long the submits stand in line. The same is
measured without the platform (readers of the tool itself) and without streams (calls that say nothing until they end).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from statistics import median, quantiles
from typing import TypeVar

from tools.bench import load, pairs
from tools.bench.following import Direct, Follower, Stalled, follow, unsent
from tools.bench.goals import Found, middle
from tools.bench.ground import Ground, tool

STREAMS = 400
RATE = 25
BEGUN_PER_SECOND = 40
SUBMITTING = 16
#: Of the worker's threads one tool has four fifths.
THREADS = STREAMS * 5 // 4 + 50
#: How long each is written, in seconds; how much of that is measured, once all have begun; then submits, beside it.
SECONDS = 30
WINDOW = 8.0
SUBMITS = 4.0
CLIENTS = 8
#: Readers that read nothing, of a few streams with long chunks: those of the others end before any connection is full.
STALLED = 200
LOUD = 8
TIMES = 120
#: A round takes most of a minute.
ROUNDS = 3
PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Round:
    """How late first parts and all parts were and the time between two, in ms; what a chunk cost, in ms of CPU; the
    worker's share of a core; submits a second, and what one costs the web process, in ms of CPU.
    """

    firsts: list[float]
    ages: list[float]
    gaps: list[float]
    chunk_worker: float
    chunk_web: float
    worker: float
    submits: float
    submit_web: float

    def __str__(self) -> str:
        return (
            f"first parts p50 {median(self.firsts):.0f} ms, p99 {_p99(self.firsts):.0f} ms, all parts p99 "
            f"{_p99(self.ages):.0f} ms, between two p50 {median(self.gaps):.0f} ms; a chunk {self.chunk_worker:.3f} ms "
            f"of the worker, {self.chunk_web:.3f} ms of the web process"
        )

    def against(self, silent: Round) -> str:
        more, submits = 100 * (self.worker - silent.worker), self.submits / silent.submits
        spent = f"{self.submit_web:.2f} and {silent.submit_web:.2f} ms of the web process each"
        return f"the worker {more:.0f} % of a core more, submits/s ({spent}) {submits:.2f} of"


def p16(ground: Ground) -> dict[str, Found]:
    _furnish(ground)
    ground.start(ground.web(), *ground.workers(1, THREADS))
    direct = [1000 * age for age in asyncio.run(_direct(ground))]
    silent = asyncio.run(_silent(ground))
    alone = [asyncio.run(_round(ground, 0)) for _ in range(min(ROUNDS, pairs.PAIRS))]
    beside = asyncio.run(_round(ground, STALLED))
    first = middle([median(each.firsts) for each in alone], "ms")
    shown = min(alone, key=lambda each: abs(median(each.firsts) - first.value))
    first.note = (
        f"{STREAMS} streams of {RATE} chunks/s, begun {BEGUN_PER_SECOND} a second: {shown}; "
        f"{shown.against(silent)} those with {STREAMS} calls that say nothing; read from the tool itself, first parts "
        f"p50 {median(direct):.0f} ms, p99 {_p99(direct):.0f} ms. Beside {STALLED} readers that do not read, whose "
        f"connections are full: {beside}; submits/s {beside.submits / shown.submits:.2f} of those without them"
    )
    return {
        "P16_first": first,
        "P16_rate": middle([1000 / each.chunk_worker for each in alone], "chunks/s"),
        "P16_cpu": middle([each.chunk_web for each in alone], "ms of CPU"),
    }


def _p99(values: Sequence[float]) -> float:
    return quantiles(values, n=100)[98]


def _furnish(ground: Ground) -> None:
    price = {
        "base_tokens": 1,
        "per_unit": {"pointer": "/usage/total_tokens", "tokens": 1, "unit": "token"},
        "max_tokens": 50,
    }
    streaming = {"adapter": "chat_completion", "streaming": True, "timeout_seconds": 120, "price": price}
    ground.tools |= {
        "stream": tool(ground, "stream", _path(RATE * SECONDS), **streaming),
        "loud": tool(ground, "loud", f"{_path(RATE * 2 * SECONDS)}/{TIMES}", **streaming),
        "silent": tool(ground, "silent", f"/tool/{1000 * SECONDS}", timeout_seconds=120),
    }


def _path(chunks: int) -> str:
    return f"/stream/{RATE}/{chunks}"


# -- rounds ------------------------------------------------------------------------------------------------------


async def _direct(ground: Ground) -> list[float]:
    """How late the first parts of as many streams are that are read from the tool itself, in seconds."""
    request = load.request("POST", _path(RATE * SECONDS), {}, b"{}")
    readers = await _steadily([lambda: follow(ground.tool_port, request, Direct)] * STREAMS)
    firsts = await _firsts(readers)
    for each in readers:
        each.close()
    return firsts


async def _silent(ground: Ground) -> Round:
    """What the worker spends on as many calls that say nothing, and how many submits go through meanwhile."""
    gate, submit = asyncio.Semaphore(SUBMITTING), _submits(ground, "silent", {})
    await _steadily([lambda: _submitted(ground, gate, *next(submit))] * STREAMS)
    with pairs.cpu([_pid(ground, "invocations-1")]) as of_worker:
        await asyncio.sleep(WINDOW)
    submits = await _submits_beside(ground, 0.0)
    await asyncio.sleep(SECONDS - WINDOW)  # until they have ended
    return Round([], [], [], 0.0, 0.0, of_worker.total / WINDOW, *submits)


async def _round(ground: Ground, stalled: int) -> Round:
    """Begin all streams, measure, and read each to its end. Raises `RuntimeError` if one does not come to that."""
    sleeping = await _stalled(ground, stalled)
    readers = await _begun(ground)
    before, told = _chunks(readers), [(len(reader.ages), len(reader.gaps)) for reader in readers]
    with pairs.cpu([_pid(ground, "web")]) as of_web, pairs.cpu([_pid(ground, "invocations-1")]) as of_worker:
        await asyncio.sleep(WINDOW)
    count = _chunks(readers) - before
    ages = [1000 * age for reader, (start, _) in zip(readers, told, strict=True) for age in reader.ages[start:]]
    gaps = [1000 * gap for reader, (_, start) in zip(readers, told, strict=True) for gap in reader.gaps[start:]]
    if any(reader.ended for reader in readers) or len(unsent(ground.settings.port)) < stalled:
        raise RuntimeError("the machine is too slow: not all streams and stalled readers were there at once")
    submits = await _submits_beside(ground, of_web.total / WINDOW)
    async with asyncio.timeout(SECONDS + PATIENCE):
        await asyncio.gather(*(reader.closed.wait() for reader in readers))
    for each in sleeping:
        each.close()
    if not all(reader.ended for reader in readers):
        raise RuntimeError(f"{sum(not reader.ended for reader in readers)} streams did not come to their end")
    firsts = [1000 * age for age in await _firsts(readers)]
    worker, web = of_worker.total, of_web.total
    return Round(firsts, ages, gaps, 1000 * worker / count, 1000 * web / count, worker / WINDOW, *submits)


def _pid(ground: Ground, name: str) -> int:
    return ground.supervisor.children[name].pid


def _chunks(readers: Sequence[Follower]) -> int:
    return sum(reader.chunks for reader in readers)


async def _submits_beside(ground: Ground, share: float) -> tuple[float, float]:
    """Accepted submits a second of calls that end at once; and CPU of one, beside a `share` of a core."""
    with pairs.cpu([_pid(ground, "web")]) as cpu:
        found = await load.closed_loop(ground.settings.port, ground.submits("quick"), CLIENTS, SUBMITS, False)
    return found.rate, 1000 * (cpu.total / 1.2 - share * SUBMITS) / found.good  # warming up is a fifth more


# -- streams and their readers -----------------------------------------------------------------------------------


async def _begun(ground: Ground) -> list[Follower]:
    """A reader of each stream, once all have read something."""
    gate, submits = asyncio.Semaphore(SUBMITTING), _submits(ground, "stream", {"stream": True})

    async def one() -> Follower:
        path, headers = await _submitted(ground, gate, *next(submits))
        return await follow(ground.settings.port, load.request("GET", path, headers), Follower)

    readers = await _steadily([one] * STREAMS)
    await _firsts(readers)
    return readers


async def _stalled(ground: Ground, count: int) -> list[Stalled]:
    """So many readers that do not read, once their connections are full."""
    gate, submits = asyncio.Semaphore(SUBMITTING), _submits(ground, "loud", {"stream": True})
    found: list[Stalled] = []
    for _ in range(LOUD if count else 0):
        path, headers = await _submitted(ground, gate, *next(submits))
        request = load.request("GET", path, headers)
        found += [await follow(ground.settings.port, request, Stalled) for _ in range(count // LOUD)]
    async with asyncio.timeout(PATIENCE):
        queues: list[int] = []
        while count and (len(queues) < count or queues != unsent(ground.settings.port)):
            queues = unsent(ground.settings.port)
            await asyncio.sleep(1)  # two parts of each
    return found


Made = TypeVar("Made")


async def _steadily(begin: Sequence[Callable[[], Awaitable[Made]]]) -> list[Made]:
    loop, tasks = asyncio.get_running_loop(), []
    began = loop.time()
    for number, each in enumerate(begin):
        await asyncio.sleep(began + number / BEGUN_PER_SECOND - loop.time())
        tasks.append(asyncio.ensure_future(each()))
    return await asyncio.gather(*tasks)


async def _firsts(readers: Sequence[Follower]) -> list[float]:
    """How late the first parts were, in seconds, once all have come. Raises `RuntimeError` for those that do not."""
    give_up = asyncio.get_running_loop().time() + PATIENCE
    while late := sum(reader.first is None for reader in readers):
        if asyncio.get_running_loop().time() > give_up:
            raise RuntimeError(f"{late} streams have shown nothing")
        await asyncio.sleep(0.05)
    return [reader.first for reader in readers if reader.first is not None]


async def _submitted(
    ground: Ground, gate: asyncio.Semaphore, submit: bytes, headers: Mapping[str, str]
) -> tuple[str, Mapping[str, str]]:
    """Where the events of a new invocation are read, and with which headers."""
    async with gate:
        [client] = await load.connect(ground.settings.port, 1)
        status, body = await client.ask(submit)
        client.close()
    if status != 202:
        raise RuntimeError(f"a submit was answered {status}: {body[:200]!r}")
    return f"/api/v1/invocations/{json.loads(body)['data']['id']}/events", headers


def _submits(ground: Ground, slug: str, fields: Mapping[str, object]) -> Iterator[tuple[bytes, Mapping[str, str]]]:
    body = json.dumps({"input": {"text": "some words"}, **fields}).encode()
    path = f"/api/v1/tools/{ground.tools[slug].slug}/invoke"
    for token in cycle(ground.tokens()):
        headers = {"Authorization": f"Bearer {token}"}
        yield load.request("POST", path, headers, body), headers

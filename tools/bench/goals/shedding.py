"""Three times as many submits as PostgreSQL can store: what is accepted, how fast, and what the others are told."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle
from math import ceil
from statistics import median
from time import perf_counter

from tools.bench import load, pairs
from tools.bench.goals import Found, ratio
from tools.bench.goals.submitting import forget, web
from tools.bench.ground import Ground

SECONDS = 5.0
#: The burst that a process takes before it keeps its line short, and what is left of it.
BEGINNING = 2.0
CLIENTS = 16
TIMES = 3
CONNECTIONS = 400
READS_PER_SECOND = 20
#: Each submit has PostgreSQL to itself for so long: as if on a slow disk, and without taking the cores from web.
ALONE_SECONDS = 0.006
_SLOW = f"""
create function bench_slow() returns trigger language plpgsql as $$
begin perform pg_advisory_xact_lock(7236), pg_sleep({ALONE_SECONDS}); return new; end $$;
create trigger bench_slow before insert on invocations for each row execute function bench_slow()
"""
_FAST_AGAIN = "drop trigger bench_slow on invocations; drop function bench_slow()"


@dataclass(slots=True)
class Answers:
    """Of requests that were due after the beginning: seconds from then to the answer. `untold`: 503 without a time."""

    accepted: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    others: list[int] = field(default_factory=list)
    reads: list[float] = field(default_factory=list)
    untold: int = 0


def shedding(ground: Ground) -> dict[str, Found]:
    """Accepted submits a second at three times the capacity ÷ at the capacity, one web process."""
    ground.start(web(ground))
    seen = Answers()
    with _slow(ground):
        at_capacity: list[float] = []
        capacity = _capacity(ground, at_capacity)

        def overloaded() -> float:
            answers = asyncio.run(_offered(ground, TIMES * capacity))
            for name in ("accepted", "refused", "others", "reads"):
                getattr(seen, name).extend(getattr(answers, name))
            seen.untold += answers.untold
            return len(answers.accepted) / SECONDS

        found = pairs.in_turn(overloaded, lambda: _capacity(ground, at_capacity))
    ground.stop("web")
    forget(ground)
    if seen.others or seen.untold:
        raise RuntimeError(f"answered {sorted(set(seen.others))}; {seen.untold} refusals without Retry-After")
    own, usual, told, read = (_p99(each) for each in (seen.accepted, at_capacity, seen.refused, seen.reads))
    share = len(seen.refused) / (len(seen.refused) + len(seen.accepted))
    note = f"one web process, PostgreSQL takes {capacity:.0f}/s; {share:.0%} refused, all of them 503 with Retry-After"
    half = f"p50 {1000 * median(seen.refused):.0f} ms"
    reads = f"{READS_PER_SECOND} a second, p50 {1000 * median(seen.reads):.0f} ms"
    return {
        "shedding": ratio(found, note=note),
        "shedding_p99": Found(own / usual, "ratio", [], 1000 * own, 1000 * usual, "ms"),
        "shedding_refused": Found(1000 * told, "ms", note=half),
        "shedding_reads": Found(1000 * read, "ms", note=reads),
    }


@contextmanager
def _slow(ground: Ground) -> Iterator[None]:
    ground.sql(_SLOW)
    try:
        yield
    finally:
        ground.sql(_FAST_AGAIN)


def _capacity(ground: Ground, waits: list[float]) -> float:
    """Accepted submits a second of clients that wait for each answer: nobody is refused."""
    found = load.closed(ground.settings.port, ground.submits("quick"), clients=CLIENTS, seconds=SECONDS)
    if set(found.statuses) != {202}:
        raise RuntimeError(f"web answered {dict(found.statuses)}")
    waits += found.waits
    return found.rate


def _p99(seconds: Sequence[float]) -> float:
    return sorted(seconds)[ceil(0.99 * len(seconds)) - 1]


async def _offered(ground: Ground, rate: float) -> Answers:
    """Submits and some reads when they are due, however many are on their way."""
    answers, following = Answers(), cycle(ground.submits("quick"))
    free, under_way = deque(await load.connect(ground.settings.port, CONNECTIONS)), set[asyncio.Task[None]]()
    begun = perf_counter() + 0.5
    reading = asyncio.create_task(_reads(ground, answers, begun))
    for n in range(int(rate * (BEGINNING + SECONDS))):
        due = begun + n / rate
        await asyncio.sleep(max(0.0, due - perf_counter()))
        if not free:
            raise RuntimeError(f"{CONNECTIONS} submits were waiting for an answer")
        task = asyncio.create_task(_submit(free, next(following), due, due - begun > BEGINNING, answers))
        under_way.add(task)
        task.add_done_callback(under_way.discard)
    await asyncio.gather(*under_way, reading)
    for client in free:
        client.close()
    return answers


async def _submit(free: deque[load.Client], request: bytes, due: float, counts: bool, answers: Answers) -> None:
    client = free.popleft()
    status, _ = await client.ask(request)
    seconds = perf_counter() - due
    free.append(client)
    if not counts:
        return
    if status == 202:
        answers.accepted.append(seconds)
    elif status == 503:
        answers.refused.append(seconds)
        answers.untold += b"\r\nretry-after: " not in client.head
    else:
        answers.others.append(status)


async def _reads(ground: Ground, answers: Answers, begun: float) -> None:
    """One invocation, again and again."""
    ((invocation_id, user_id),) = ground.sql("select id, user_id from queue order by id limit 1")
    token = ground.tokens()[[account.user_id for account in ground.accounts].index(user_id)]
    request = load.request("GET", f"/api/v1/invocations/{invocation_id}", {"Authorization": f"Bearer {token}"})
    (client,) = await load.connect(ground.settings.port, 1)
    for n in range(int(READS_PER_SECOND * (BEGINNING + SECONDS))):
        due = begun + n / READS_PER_SECOND
        await asyncio.sleep(max(0.0, due - perf_counter()))
        status, _ = await client.ask(request)
        if due - begun > BEGINNING:
            answers.reads.append(perf_counter() - due)
        if status != 200:
            answers.others.append(status)
    client.close()

"""P1: accepted submits of one web process. P7: the same while 2,000 clients wait on it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from statistics import median
from threading import Event, Thread
from time import monotonic

import redis

from dev.supervisor import Part
from tools.bench import load, pairs
from tools.bench.goals import Found, ratio
from tools.bench.ground import Ground

SECONDS = 4.0
CLIENTS = 16
WAITING = 2_000
#: More messages than ever wait here: each submit publishes its own, as one does while workers are idle.
EVERY_MESSAGE = {"QUEUE_MESSAGES_MAX": "1000000"}


def p1(ground: Ground) -> dict[str, Found]:
    """Row committed, hold taken, message sent ÷ one view that verifies, inserts and publishes. Without workers."""
    ground.start(web(ground), ground.bare_web())
    spent: dict[str, list[float]] = {"ours": [], "bare": []}
    found = pairs.in_turn(lambda: ours(ground, spent["ours"]), lambda: bare(ground, spent["bare"]))
    ground.stop("web", "bare-web")
    forget(ground)
    mine, theirs = (1000 * median(spent[name]) for name in ("ours", "bare"))
    return {"P1": ratio(found, note=f"CPU of the web process: {mine:.2f} ms a submit, bare {theirs:.2f} ms")}


def web(ground: Ground) -> Part:
    part = ground.web()
    return replace(part, environ={**part.environ, **EVERY_MESSAGE})


def ours(ground: Ground, spent: list[float], requests: list[bytes] | None = None) -> float:
    """Accepted submits a second: these, or one of each account."""
    return _measured(ground, "web", ground.settings.port, requests or ground.submits("quick"), spent)


def bare(ground: Ground, spent: list[float]) -> float:
    return _measured(ground, "bare-web", ground.bare_port, ground.bare_submits(), spent)


def _measured(ground: Ground, part: str, port: int, requests: list[bytes], spent: list[float]) -> float:
    with pairs.cpu([ground.supervisor.children[part].pid]) as cpu:
        found = load.closed(port, requests, clients=CLIENTS, seconds=SECONDS)
    if set(found.statuses) != {202}:
        raise RuntimeError(f"{part} answered {dict(found.statuses)}")
    spent.append(cpu.total / (found.good * 1.2))  # warming up is a fifth more
    return found.rate


def forget(ground: Ground) -> None:
    """The messages that nobody took."""
    with redis.Redis.from_url(ground.settings.redis_url) as broker:
        broker.delete("invocations", "bare")


# -- P7 ----------------------------------------------------------------------------------------------------------


def p7(ground: Ground) -> dict[str, Found]:
    """Half of the clients long-poll, half listen to a stream; nothing that they wait for ends."""
    ground.start(web(ground))
    ids = open_invocations(ground)
    memory, subscribed = [_memory(ground)], 0
    spent: dict[str, list[float]] = {"beside": [], "alone": []}

    def beside() -> float:
        nonlocal subscribed
        with waiting(ground, ids):
            rate = ours(ground, spent["beside"])
            memory.append(_memory(ground))
            subscribed = max(subscribed, subscriptions(ground))
        start_again(ground)
        return rate

    found = pairs.in_turn(beside, lambda: ours(ground, spent["alone"]))
    ground.stop("web")
    forget(ground)
    with_them, without = (1000 * median(each) for each in spent.values())
    told = f"{WAITING} clients waiting on one process, half of them streams; Redis subscriptions: {subscribed}; "
    told += f"CPU of the web process: {with_them:.2f} ms a submit with them, {without:.2f} ms without; "
    told += f"its memory {memory[0]:.0f} MB before, at most {max(memory):.0f} MB with them"
    return {"P7": ratio(found, note=told)}


def start_again(ground: Ground) -> None:
    """A long-poll whose client has gone stays for up to a minute: it must not be there when nobody is to wait."""
    ground.stop("web")
    ground.start(web(ground))
    load.closed(ground.settings.port, ground.submits("quick"), clients=CLIENTS, seconds=1)


def open_invocations(ground: Ground) -> list[tuple[int, str]]:
    """One for each waiting client. Raises `RuntimeError` when they cannot be made within a minute."""
    give_up = monotonic() + 60
    while len(ids := list(_ids(ground))) < WAITING:
        if monotonic() > give_up:
            raise RuntimeError(f"only {len(ids)} invocations were accepted in a minute")
        load.closed(ground.settings.port, ground.submits("quick"), clients=CLIENTS, seconds=2)
    return ids


def subscriptions(ground: Ground) -> int:
    """Connections to Redis that are subscribed to anything."""
    with redis.Redis.from_url(ground.settings.redis_url) as client:
        return sum(each["sub"] != "0" for each in client.client_list())


def _memory(ground: Ground) -> float:
    """Of the web process, in MB."""
    return pairs.resident(ground.supervisor.children["web"].pid)


def _ids(ground: Ground) -> Iterator[tuple[int, str]]:
    """Open invocations, each with the number of its account."""
    number = {account.user_id: n for n, account in enumerate(ground.accounts)}
    for invocation_id, user_id in ground.sql("select id, user_id from queue order by id limit %s", WAITING):
        yield number[user_id], str(invocation_id)


@contextmanager
def waiting(ground: Ground, ids: list[tuple[int, str]]) -> Iterator[None]:
    """Clients that wait, on connections of their own, while the block runs."""
    ready, over = Event(), Event()
    thread = Thread(target=lambda: asyncio.run(_wait(ground, ids, ready, over)), daemon=True)
    thread.start()
    try:
        if not ready.wait(120):
            raise RuntimeError("the clients could not begin to wait")
        yield
    finally:
        over.set()
        thread.join()


async def _wait(ground: Ground, ids: list[tuple[int, str]], ready: Event, over: Event) -> None:
    tokens = ground.tokens()
    clients: list[load.Client] = []
    asked: list[asyncio.Future[tuple[int, bytes]]] = []
    for first in range(0, WAITING, 100):
        clients += await load.connect(ground.settings.port, 100)  # who has asked nothing after ten seconds is cut off
        for n, client in enumerate(clients[first:], first):
            account, invocation_id = ids[n % len(ids)]
            path = f"/api/v1/invocations/{invocation_id}" + ("/events" if n % 2 else "?wait=60")
            asked.append(client.ask(load.request("GET", path, {"Authorization": f"Bearer {tokens[account]}"})))
        streams = await asyncio.gather(*asked[first + 1 :: 2])  # those begin to answer at once, in the order of asking
        if {status for status, _ in streams} != {200}:
            raise RuntimeError(f"streams were answered {Counter(status for status, _ in streams)}")
    ready.set()
    while not over.is_set():
        await asyncio.sleep(0.1)
    for client in clients:
        client.close()
    await asyncio.sleep(0.2)

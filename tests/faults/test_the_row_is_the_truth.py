"""Processes are killed and servers wiped, for real; then the invocations must end and the books must add up."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from uuid import UUID

import psycopg
import pytest

from common.kit import redis as redis_kit
from common.operations import ledger
from common.queueing import messages
from dev.platform import Platform
from joyfull.problems import Unavailable
from tests.client import Client, eventually
from tests.outside.tool import Tool
from tests.timing import frozen

Offer = Callable[..., str]
pytestmark = pytest.mark.chaos


def _at_rest(hub: Platform) -> bool:
    with psycopg.connect(hub.environ["DATABASE_URL"]) as connection:
        return connection.execute("select count(*) from queue").fetchone() == (0,)


def _worker_of(hub: Platform, invocation_id: str) -> int | None:
    """The pid of the process that runs it now."""
    query = "select p.name from queue q join processes p on p.id = q.worker where q.id = %s"
    with psycopg.connect(hub.environ["DATABASE_URL"]) as connection:
        row = connection.execute(query, (invocation_id,)).fetchone()
    return int(row[0].rsplit(":", 1)[1]) if row else None


def _kill_and_restart(hub: Platform, pid: int) -> None:
    child = next(c for c in hub.supervisor.children.values() if c.part.name != "web" and c.pid == pid)
    child.kill()
    child.start()


def test_the_calls_of_killed_workers(hub: Platform, client: Client, offer: Offer, tool: Tool) -> None:
    """SIGKILL to every worker in mid-call: what may be repeated is made again, the rest ends free of charge."""
    again = client.invoke(offer("/echo?after=4000", idempotent=True), {"text": "again"})["id"]
    once = client.invoke(offer("/echo?after=6000", idempotent=False), {"text": "once"})["id"]
    eventually("the calls", 15, lambda: tool.calls(again) and tool.calls(once))
    for pid in {_worker_of(hub, again), _worker_of(hub, once)}:
        assert pid is not None
        _kill_and_restart(hub, pid)

    ended = client.ended(again, within=90)
    assert (ended["status"], ended["attempts"], ended["billing"]["charged"]) == ("succeeded", 2, 6)
    assert len(tool.calls(again)) == 2
    ended = client.ended(once, within=90)
    assert (ended["status"], ended["error"]["code"]) == ("failed", "worker_lost")
    assert ended["billing"].items() >= {"held": 50, "charged": 0, "outcome": "free", "reason": "worker_lost"}.items()
    assert len(tool.calls(once)) == 1
    tokens = client.tokens()
    assert (tokens["charged"], tokens["held"]) == (6, 0)
    assert ledger.verify().differences == ()


def test_redis_wiped_in_mid_run_changes_nothing_but_latency(hub: Platform, offer: Offer) -> None:
    """FLUSHALL, five times, under load: broker, budget gate, limits and wake-ups are gone each time."""
    clients = [Client(hub.url).join("pro") for _ in range(3)]
    slug = offer("/echo?after=50")

    def load(client: Client) -> list[str]:
        ids = []
        for number in range(60):
            with suppress(Unavailable):
                ids.append(client.invoke(slug, {"text": "x" * number})["id"])
        return ids

    with ThreadPoolExecutor(3) as pool:
        running = [pool.submit(load, client) for client in clients]
        for _ in range(5):
            time.sleep(0.4)  # of load between two wipes
            redis_kit.client().flushall()
        accepted = [each.result() for each in running]

    eventually("every invocation to end", 60, lambda: _at_rest(hub))
    for client, ids in zip(clients, accepted, strict=True):
        ended = [client.get(each) for each in ids]
        assert {each["status"] for each in ended} == {"succeeded"}
        tokens = client.tokens()
        assert tokens["charged"] == sum(each["billing"]["charged"] for each in ended)
        assert tokens["held"] == 0
        assert tokens["granted"] == tokens["charged"] + tokens["available"]
        assert len(ids) > 50
    assert ledger.verify().differences == ()


def test_messages_lost_doubled_and_forged_change_nothing(
    hub: Platform, client: Client, offer: Offer, tool: Tool
) -> None:
    slug = offer("/echo?after=100")
    ids = []
    for number in range(20):
        ids.append(client.invoke(slug, {"text": "x"})["id"])
        if number % 2:
            redis_kit.client().delete("invocations")  # every message that waits is lost
        else:
            for _ in range(3):
                messages.notify(messages.RUN_INVOCATION, UUID(ids[0]))  # doubled, late, and for what has ended
    redis_kit.client().lpush("invocations", "not a message", '{"body": "bm8=", "headers": {}}')

    ended = [client.ended(each, within=60) for each in ids]
    assert [(each["status"], each["attempts"]) for each in ended] == [("succeeded", 1)] * 20
    assert all(len(tool.calls(each)) == 1 for each in ids)
    assert client.tokens()["charged"] == 20 * 2
    assert ledger.verify().differences == ()


def test_a_worker_that_was_frozen_writes_nothing_afterwards(
    hub: Platform, client: Client, offer: Offer, tool: Tool
) -> None:
    """A zombie: stopped in mid-call, given up, woken again when somebody else has finished its work."""
    submitted = client.invoke(offer("/echo?after=1500"), {"text": "z"})
    eventually("the call", 15, lambda: tool.calls(submitted["id"]))
    pid = eventually("a worker", 5, lambda: _worker_of(hub, submitted["id"]))
    with frozen(pid):
        ended = client.ended(submitted["id"], within=90)
    assert (ended["status"], ended["attempts"]) == ("succeeded", 2)
    time.sleep(2.5)  # long enough for the zombie to read its answer and try to write
    assert client.get(submitted["id"]) == ended
    assert client.tokens()["charged"] == 2
    assert ledger.verify().differences == ()

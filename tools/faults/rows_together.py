"""F75, F76, F78: lost answers at every statement, two faults at once, a rebuild that submits knock at."""

from __future__ import annotations

import threading
import time
from random import Random

from tools.faults import strikes
from tools.faults.load import Account, order_for
from tools.faults.rows import row
from tools.faults.rows_web import BOUND
from tools.faults.rows_workers import client, expect
from tools.faults.world import World

STATEMENTS = 48
PAIRS = 8
OPEN, KNOCKING = 800, 4


@row("F75", "the answer to the N-th statement of web and of a worker is lost, for every N", settle=240)
def every_statement(world: World) -> str:
    with world.postgres_proxy() as proxy:
        olds = [world.replace(name, {"DATABASE_URL": world.proxied_database}) for name in ("web", "invocations-1")]
        world.wait_until("web", world.serving, 180)
        for number in range(1, STATEMENTS + 1):
            before = proxy.sprung
            proxy.lose_at(number)
            world.wait_until("a lost answer", lambda: proxy.sprung > before, 30)  # noqa: B023
        sprung = proxy.sprung
        proxy.relent()
        for old in olds:
            world.restore(old)
        world.wait_until("web", world.serving, 180)
    return f"{sprung} answers lost, to the 1st, 2nd, … {STATEMENTS}th message after each other"


@row("F76", "two faults at once, drawn at random", rate=12, settle=300)
def pairs(world: World) -> str:
    nemesis, drawn = Random(world.seed), []
    for _ in range(PAIRS):
        drawn.append(strikes.pair(world, nemesis))
        world.sleep(nemesis.uniform(4, 7))
        world.heal()
        world.wait_until("web", world.serving, 120)
    return f"seed {world.seed}: {'; '.join(drawn)}"


@row("F78", "the gate of an account with hundreds of open calls wiped again and again while it submits", settle=300)
def rebuilt_under_load(world: World) -> str:
    account, took = world.accounts[1], list[float]()
    for _ in range(OPEN // 100):
        client(world).batch(account, [order_for(account, "slow") for _ in range(100)])
    over = threading.Event()
    threads = [threading.Thread(target=_knock, args=(world, account, over, took)) for _ in range(KNOCKING)]
    for thread in threads:
        thread.start()
    for _ in range(8):
        world.gate().flushall()
        world.sleep(1.5)
    over.set()
    for thread in threads:
        thread.join()
    expect(max(took) < BOUND, f"a submit took {max(took):.1f} s")
    return (
        f"{OPEN} calls open, FLUSHALL 8 times; {len(took)} submits of {KNOCKING} clients, the slowest {max(took):.1f} s"
    )


def _knock(world: World, account: Account, over: threading.Event, took: list[float]) -> None:
    asking = client(world)
    while not over.is_set():
        order, began = order_for(account, "echo"), time.monotonic()
        asking.submit(order)
        took.append(time.monotonic() - began)
        expect(order.accepted, f"not accepted: {order.asked}")
        time.sleep(0.1)

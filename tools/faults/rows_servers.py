"""F29–F42: PostgreSQL, and Redis as the gate."""

from __future__ import annotations

import contextlib
import shutil
import threading
from functools import partial
from uuid import uuid4

import psycopg

from tools.faults.load import Order, order_for
from tools.faults.people import join, plan
from tools.faults.rows import row
from tools.faults.rows_workers import client, expect
from tools.faults.world import World, is_gone


@row("F29", "PostgreSQL crashes and recovers")
def crash(world: World) -> str:
    for _ in range(3):
        world.crash_postgres()
        world.sleep(5)
    return "immediate shutdown (no checkpoint) and start, 3 times, 5 s apart"


@row("F30", "PostgreSQL frozen, 8 s and 25 s")
def frozen(world: World) -> str:
    for seconds in (8, 25):
        world.freeze(world.postgres)
        world.sleep(seconds)
        world.thaw(world.postgres)
        world.sleep(5)
    return "SIGSTOP to every backend for 8 s and for 25 s"


@row("F31", "no connection left in PostgreSQL")
def exhausted(world: World) -> str:
    taken: list[psycopg.Connection[tuple[object, ...]]] = []

    def fill() -> None:
        with contextlib.suppress(psycopg.OperationalError):
            while len(taken) < 400:
                taken.append(psycopg.connect(world.postgres.url(), connect_timeout=5))

    fill()
    for _ in range(20):
        taken[0].execute(_OURS_END)
        taken[0].commit()
        fill()
        world.sleep(0.4)
    count = len(taken)
    for connection in taken:
        connection.close()
    return f"{count} sessions opened and ours ended again and again; hardly anything free for 8 s"


_OURS_END = "select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'joyfull%'"


@row("F32", "a lock on the invocations that nobody gets past, for 9 s")
def locked(world: World) -> str:
    with psycopg.connect(world.postgres.url()) as connection:
        connection.execute("lock table invocations in access exclusive mode")
        world.sleep(9)
    return "lock table invocations in access exclusive mode, 9 s"


@row("F33", "PostgreSQL commits and the answer never arrives")
def lost_answers(world: World) -> str:
    with world.postgres_proxy() as proxy:
        olds = [world.replace(name, {"DATABASE_URL": world.proxied_database}) for name in ("web", "invocations-1")]
        world.wait_until("web", world.serving, 180)
        asking, orders = client(world), []
        for number in range(8):
            order = order_for(world.accounts[0], "echo")
            proxy.lose(order.key + "-in-the-row")
            orders.append(asking.submit(order, metadata={"key": order.key, "mark": order.key + "-in-the-row"}))
            if number % 2:
                proxy.lose('"units"')
            world.sleep(0.5)
        for order in orders:
            expect(len(order.ids) == 1, f"{order.ids} for one key")
        world.sleep(3)
        sprung = proxy.sprung
        proxy.relent()
        for old in olds:
            world.restore(old)
        world.wait_until("web", world.serving, 180)
    return f"{sprung} answers lost after the server had committed (submits and ends)"


@row("F34", "the disk of PostgreSQL is full", needs="disks")
def disk_full(world: World) -> str:
    ballast = world.directory / "pg" / "ballast"
    free = shutil.disk_usage(world.directory / "pg").free
    with contextlib.suppress(OSError), ballast.open("wb") as file:
        for _ in range(free // (1 << 20) + 1):
            file.write(bytes(1 << 20))
    with contextlib.suppress(psycopg.Error):
        world.rows("create table ballast as select repeat('x', 2000) from generate_series(1, 20000)")
    world.sleep(12)
    ballast.unlink()
    if not world.postgres_up():
        world.postgres.stop()
        world.postgres.start()
        world.postgres.wait()
    with contextlib.suppress(psycopg.Error):
        world.rows("drop table if exists ballast")
    return f"{free >> 20} MB of ballast: not a byte left for 12 s, then removed"


@row("F36", "PostgreSQL read-only")
def read_only(world: World) -> str:
    world.rows("alter system set default_transaction_read_only = on")
    world.rows("select pg_reload_conf()")
    world.sleep(8)
    with psycopg.connect(world.postgres.url(), autocommit=True) as connection:
        connection.execute("set default_transaction_read_only = off")
        connection.execute("alter system reset default_transaction_read_only")
        connection.execute("select pg_reload_conf()")
    return "default_transaction_read_only for 8 s"


@row("F37", "the gate wiped again and again, with a budget that is nearly spent")
def wiped(world: World) -> str:
    slug = f"narrow-{uuid4().hex[:6]}"
    plan(slug, 50 * 60, 100)
    poor = join(0, world.hook_url, slug)
    orders: list[Order] = []

    def spend() -> None:
        asking = client(world)
        for _ in range(25):
            orders.append(asking.submit(Order(poor, "flat", uuid4().hex, 0.0)))

    threads = [threading.Thread(target=spend) for _ in range(6)]
    for thread in threads:
        thread.start()
    wipes = 0
    while any(thread.is_alive() for thread in threads) or wipes < 8:
        world.gate().flushall()
        wipes += 1
        world.sleep(1.5)
    stormy = sum(order.accepted for order in orders)
    while len(orders) < 200 and sum(order.accepted for order in orders) < 61:
        world.sleep(1.5)  # a refusal is checked against the rows once a second
        orders.append(client(world).submit(Order(poor, "flat", uuid4().hex, 0.0)))
        if orders[-1].refused and world.quiet(poor):
            break
    accepted = sum(order.accepted for order in orders)
    world.accounts.append(poor)  # only now: nobody else was to spend from it
    expect(accepted == 60, f"{accepted} of 60 calls that the budget covers were accepted")
    return (
        f"FLUSHALL {wipes} times; 150 submits on a budget for 60: {stormy} accepted during the wipes, exactly "
        f"{accepted} in the end"
    )


@row("F38", "Redis restarted empty, and restarted with an old dump")
def old_dump(world: World) -> str:
    world.restart(world.redis)
    world.sleep(5)
    world.gate().save()
    dump = next(world.redis.directory.glob("*.rdb"))
    old = dump.with_suffix(".old")
    shutil.copy(dump, old)
    world.sleep(8)
    world.redis.kill()
    shutil.copy(old, dump)
    world.redis.start()
    world.redis.wait()
    world.sleep(8)
    dump.unlink(missing_ok=True)
    return "SIGKILL and an empty start; then SIGKILL and a start with a dump that was 8 s old"


@row("F39", "the gate frozen in the middle of scripts, and answers of scripts lost")
def lost_words(world: World) -> str:
    world.freeze(world.redis)
    world.sleep(8)
    world.thaw(world.redis)
    with world.redis_proxy() as proxy:
        olds = [world.replace(name, {"REDIS_URL": world.proxied_redis}) for name in ("web", "invocations-1")]
        world.wait_until("web", world.serving, 180)
        for _ in range(20):
            proxy.lose("EVALSHA")
            world.sleep(0.5)
        sprung = proxy.sprung
        proxy.relent()
        for old in olds:
            world.restore(old)
        world.wait_until("web", world.serving, 180)
    return f"SIGSTOP for 8 s; then {sprung} answers lost after the script had run"


@row("F40", "the gate forgets its scripts, is busy with another one, and is read-only")
def unwilling(world: World) -> str:
    gate = world.gate()
    for _ in range(5):
        gate.script_flush()
        world.sleep(0.5)
    gate.config_set("busy-reply-threshold", 200)
    thread = threading.Thread(target=_loop_for_ever, args=(world,))
    thread.start()
    world.sleep(6)
    gate.script_kill()
    thread.join()
    gate.replicaof("127.0.0.1", "1")
    world.sleep(5)
    gate.replicaof("NO", "ONE")
    return "SCRIPT FLUSH 5 times; a script that loops for 6 s (BUSY); a read-only replica for 5 s"


def _loop_for_ever(world: World) -> None:
    with contextlib.suppress(Exception):
        world.gate().eval("while true do end", 0)


@row("F41", "Redis down altogether: limits, breakers, wake-ups and the gate")
def redis_down(world: World) -> str:
    world.redis.kill()
    world.sleep(8)
    read = [order for order in world.history.orders if order.accepted][:5]
    answers = [
        client(world).ask("read-without", order.account, "GET", f"/invocations/{next(iter(order.ids))}")[0]
        for order in read
    ]
    world.redis.start()
    world.redis.wait()
    expect(set(answers) <= {"200"}, f"reads without Redis: {answers}")
    return f"down for 8 s; reads went on ({', '.join(answers)}), submits were refused with 503"


@row("F37", "a rebuild of the gate dies between reading and installing")
def dead_rebuild(world: World) -> str:
    for _ in range(3):
        file = world.arm("rebuild.after_read")
        world.gate().flushall()
        world.wait_until("a rebuild", partial(is_gone, file), 60)
        world.sleep(2)
    return "FLUSHALL, and SIGKILL to whoever rebuilds, between snapshot and install, 3 times"

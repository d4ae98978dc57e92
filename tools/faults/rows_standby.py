"""F81, F82: a streaming standby of PostgreSQL is promoted under load, after it has been cut off from its primary.

Every process has both hosts in its `DATABASE_URL`. Between the two is a proxy: what the primary sends while it is
frozen never arrives. With `synchronous_standby_names`, nothing is acknowledged meanwhile; without it, it is, and lost.
Afterwards the new primary's data are moved to the place of the old one's, where the other rows expect them.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from dev.servers import Postgres
from dev.standby import Standby, configure, on_either
from tools.faults.load import Account, Order
from tools.faults.people import join, plan
from tools.faults.proxy import Proxy
from tools.faults.rows import row
from tools.faults.rows_workers import client, expect
from tools.faults.world import World

#: With PostgreSQL behind them.
PARTS = ("web", "invocations-1", "invocations-2", "webhooks-1", "sweeps-1")
CUT_OFF_SECONDS = 5.0
#: After this long, nothing that arrived before is still being acknowledged.
UNDER_WAY = 1.0
CALLS = 20
NOTICED = "the database lacks what it had committed"


@dataclass(slots=True)
class Pair:
    """A primary, its standby, and what is between them. `accepted`: 202s while the standby was cut off."""

    primary: Postgres
    standby: Standby
    link: Proxy
    accepted: int = 0
    seconds_away: float = 0.0


@contextmanager
def _pair(world: World, *, synchronous: bool) -> Iterator[Pair]:
    """The platform on two hosts inside the block; at its end the data are where they were before."""
    primary, place = world.postgres, world.directory / "link"
    standby = Standby(world.directory / "standby", primary, through=place)
    with Proxy(place / ".s.PGSQL.5432", primary.sockets / ".s.PGSQL.5432") as link:
        try:
            standby.start()
            standby.wait()
            world.wait_until("the standby to follow", standby.is_in_step, 30)
            if synchronous:
                configure(primary, "synchronous_standby_names", "*")
            for name in PARTS:
                world.replace(name, {"DATABASE_URL": on_either(primary, standby)})
            world.wait_until("everything on two hosts", lambda: world.serving() and world.all_alive(), 180)
            yield Pair(primary, standby, link)
        finally:
            _move_back(world, primary, standby)


def _move_back(world: World, primary: Postgres, standby: Standby) -> None:
    if world.postgres is standby:
        _cut(standby)
        shutil.rmtree(primary.data)
        subprocess.run(["cp", "-a", str(standby.data), str(primary.data)], check=True)
        primary.start()
        primary.wait()
        world.postgres = primary
    else:  # it did not come to that
        standby.stop()
        if not primary.is_ready():
            primary.start()
            primary.wait()
        configure(primary, "synchronous_standby_names", "")
    shutil.rmtree(standby.directory)


def _cut(server: Postgres) -> None:
    """At once, as a power cut would; every backend is gone when this returns."""
    os.kill(server.pid, signal.SIGQUIT)
    server.stop()


def _fail_over(world: World, pair: Pair) -> None:
    """The link is frozen already: wait, count, end the primary, promote the standby, wait until submits go on."""
    world.sleep(UNDER_WAY)
    frozen = time.time()
    world.sleep(CUT_OFF_SECONDS)
    pair.accepted = sum(1 for at in world.history.accepted if at > frozen)
    died = time.time()
    _cut(pair.primary)
    pair.standby.promote()
    world.postgres, promoted = pair.standby, time.time()
    world.wait_until("a submit to be accepted", lambda: max(world.history.accepted) > promoted, 60)
    pair.seconds_away = max(world.history.accepted) - died


@row("F81", "a synchronous standby of PostgreSQL is promoted, after it was cut off", settle=240, after=20)
def synchronous(world: World) -> str:
    with _pair(world, synchronous=True) as pair:
        world.sleep(3)
        pair.link.freeze()
        _fail_over(world, pair)
        expect(not pair.accepted, f"{pair.accepted} submits were acknowledged that the standby did not have")
        world.sleep(5)
    return (
        f"cut off for {UNDER_WAY + CUT_OFF_SECONDS:.0f} s: nothing acknowledged; then SIGQUIT to the primary and "
        f"`pg_promote()`: submits accepted again {pair.seconds_away:.1f} s after its end"
    )


@row("F82", "a standby of PostgreSQL that lags is promoted: acknowledged commits are lost", settle=240, after=20)
def asynchronous(world: World) -> str:
    with _pair(world, synchronous=False) as pair:
        poor = _poor(world)
        known = "select count(*) from periods where user_id = %s"
        world.sleep(3)
        with _asking(world, pair.standby):
            world.wait_until("the standby to know the account", lambda: world.number(known, poor.user_id), 30)
        pair.link.freeze()
        orders = [client(world).submit(Order(poor, "slow", uuid4().hex, time.time())) for _ in range(CALLS)]
        _fail_over(world, pair)
        lost = _lost(world, died=time.time() - pair.seconds_away)
        expect(len(lost) >= CALLS, f"only {len(lost)} of the {pair.accepted} that were accepted meanwhile are gone")
        _unknown(world, lost)
        world.wait_until("the workers to notice", lambda: _noticed(world), 30)
        again = [client(world).submit(Order(poor, "slow", order.key, time.time())) for order in orders]
        anew = sum(order.accepted and not order.ids & set(lost) for order in again)
        expect(anew == CALLS, f"{anew} of {CALLS} were made anew under their keys, on the budget that is free again")
        world.began_anew()
    return (
        f"cut off for {UNDER_WAY + CUT_OFF_SECONDS:.0f} s, then promoted: {len(lost)} acknowledged invocations gone "
        f"(404), noticed by {_noticed(world)} workers; {anew} of {CALLS} made anew under their keys, on a budget for "
        f"{CALLS} whose holds had no rows; submits accepted again {pair.seconds_away:.1f} s after the primary's end"
    )


def _poor(world: World) -> Account:
    """A new account with a budget for `CALLS` calls, and no more."""
    slug = f"lagging-{uuid4().hex[:6]}"
    plan(slug, CALLS * 20, 100)
    return join(0, world.hook_url, slug)


@contextmanager
def _asking(world: World, server: Postgres) -> Iterator[None]:
    """`world.rows` asks this server inside the block."""
    before, world.postgres = world.postgres, server
    try:
        yield
    finally:
        world.postgres = before


def _lost(world: World, died: float) -> dict[str, Order]:
    """Invocations that were acknowledged before the primary ended, and that the new one does not have."""
    told = {id_: order for order in world.history.orders for id_ in order.ids if order.at < died}
    there = {str(id_) for (id_,) in world.rows("select id from invocations where id = any(%s::uuid[])", list(told))}
    return {id_: order for id_, order in told.items() if id_ not in there}


def _unknown(world: World, lost: dict[str, Order]) -> None:
    """Who asks for one of them is told the truth."""
    for id_, order in list(lost.items())[:10]:
        answer, said = client(world).ask("read-lost", order.account, "GET", f"/invocations/{id_}")
        expect(answer == "404", f"a lost invocation is answered {answer}: {said}")


def _noticed(world: World) -> int:
    """In how many workers' logs it stands that commits are gone."""
    logs: list[Path] = [world.logs / f"{name}.log" for name in PARTS if name != "web"]
    return sum(NOTICED in log.read_text(errors="replace") for log in logs if log.exists())

"""F43–F74: clocks, tools, receivers, the machine, people."""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
from pathlib import Path

import requests

from common.identity import audit
from common.tools import breakers, editing, find
from dev.platform import SWEEP_THREADS, worker
from tools.faults.load import Account, order_for
from tools.faults.people import PASSWORD
from tools.faults.rows import row
from tools.faults.rows_workers import WORKERS, client, ended, expect
from tools.faults.world import World, memory_of

LIBFAKETIME = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))


@row("F43", "beat dead for half a minute, then back")
def beat_dead(world: World) -> str:
    world.down.add("beat")
    world.children["beat"].kill()
    world.sleep(30)
    behind = world.number("select extract(epoch from now() - ran_at) from sweep_runs where name = 'roll-up-usage'")
    world.down.discard("beat")
    world.wait_until("a roll-up", lambda: _rolled_up_within(world, 8), 60)
    return f"beat down for 30 s; the roll-up was {behind} s late, then caught up"


def _rolled_up_within(world: World, seconds: int) -> bool:
    query = (
        "select count(*) from sweep_runs where name = 'roll-up-usage' and ran_at > now() - make_interval(secs => %s)"
    )
    return bool(world.number(query, seconds))


@row("F44", "two beats and two processes for sweeps")
def two_of_each(world: World) -> str:
    world.run(world.beat("beat-2"), worker("sweeps", SWEEP_THREADS, 2))
    world.sleep(20)
    world.remove("beat-2")
    world.remove("sweeps-2")
    return "a second beat and a second process for sweeps, for 20 s"


@row("F45", "the processes for sweeps and beat dead")
def sweeps_dead(world: World) -> str:
    for name in ("sweeps-1", "beat"):
        world.down.add(name)
        world.children[name].kill()
    world.sleep(20)
    world.down.clear()
    return "both down for 20 s (the other workers sweep every second meanwhile)"


@row("F46", "whoever sweeps killed between looking and doing")
def killed_sweeping(world: World) -> str:
    world.children["invocations-1"].kill()
    world.strike("reaper.after_select", times=3, within=90)
    return "SIGKILL at reaper.after_select, 3 times, with a dead worker's rows to take back"


# -- tools ---------------------------------------------------------------------------------------------------------

BAD = {
    "hang": ("tool_timeout",),
    "drip": ("tool_timeout",),
    "garbage": ("tool_bad_response",),
    "huge": ("output_too_large",),
    "redirect": ("tool_bad_response",),
    "reset": ("tool_bad_response", "tool_unreachable"),
}


@row("F48 F49 F50 F53 F54", "tools that hang, drip, flood, redirect, reset and answer with garbage", rate=6)
def bad_tools(world: World) -> str:
    before = sum(memory_of(world.pid(name)) for name in WORKERS)
    asking = client(world)
    orders = [asking.submit(order_for(world.accounts[n % 2], tool)) for n in range(2) for tool in BAD]
    said: dict[str, set[str]] = {}
    for order in orders:
        if order.accepted:
            end = ended(world, order, 150)
            said.setdefault(order.tool, set()).add((end["error"] or {}).get("code", str(end["status"])))
            expect(end["billing"]["charged"] == 0, f"charged for nothing: {end}")
    grown = sum(memory_of(world.pid(name)) for name in WORKERS) - before
    for tool, codes in said.items():
        expect(codes <= set(BAD[tool]), f"{tool}: {codes}")
    expect(grown < 2 * 50 << 20, f"the workers grew by {grown >> 20} MB")
    for tool in BAD:
        breakers.close(find(tool).id)
    return f"{len(orders)} calls, charged 0: " + ", ".join(
        f"{tool} {'/'.join(sorted(said.get(tool, ())))}" for tool in BAD
    )


@row("F51", "a tool that is down, and comes back", rate=6, settle=240)
def tool_down(world: World) -> str:
    world.control("tool", 502)
    asking = client(world)
    orders = [asking.submit(order_for(world.accounts[n % 4], "switch")) for n in range(12)]
    world.sleep(12)
    calls = sum(len(world.log.read().started.get(id_, ())) for order in orders for id_ in order.ids)
    world.control("tool", 200)
    expect(calls <= 20, f"{calls} calls to a tool that is down")
    world.wait_until("the breaker", lambda: not world.number(_OPEN_OF, "switch"), 150)
    return f"502 for 12 s: {calls} calls for 12 invocations in that time, then one try and the rest"


_OPEN_OF = "select count(*) from queue q join tools t on t.id = q.tool_id where t.slug = %s"


@row("F57", "a tool changed and archived while its calls are queued and running")
def archived(world: World) -> str:
    slug = f"brief-{int(time.time())}"
    draft = editing.Draft.of(
        {
            "slug": slug,
            "name": slug,
            "endpoint_url": f"{world.tool_url}/echo?after=1500",
            "input_schema": {"type": "object"},
            "price": {"base_tokens": 1, "per_unit": None, "max_tokens": 5},
            "idempotent": True,
        }
    )
    tool = editing.create(audit.PLATFORM, draft)
    asking = client(world)
    orders = [asking.submit(order_for(world.accounts[n % 3], slug)) for n in range(40)]
    editing.change(audit.PLATFORM, tool.id, {"timeout_seconds": 11})
    editing.archive(audit.PLATFORM, tool.id)
    for order in orders:
        end = ended(world, order)
        expect(end["status"] == "succeeded" and end["tool"]["version"] == 1, f"{end}")
    return "changed and archived with 40 calls accepted: all ended on their version"


# -- receivers -----------------------------------------------------------------------------------------------------


@row("F59", "receivers down for three seconds", after=8)
def receivers_down(world: World) -> str:
    world.control("hook", 500)
    world.sleep(3)
    world.control("hook", 204)
    return "500 to every delivery for 3 s; the second try comes 5 s later"


@row("F62", "the sender of webhooks killed before it sends, and after the receiver said yes")
def sender_killed(world: World) -> str:
    world.strike("hook.before_send")
    world.strike("hook.after_2xx", times=3)
    return "SIGKILL at hook.before_send, and at hook.after_2xx, 3 times"


# -- the machine ---------------------------------------------------------------------------------------------------


@row("F66", "clocks an hour ahead and two hours behind", needs="libfaketime")
def wrong_clocks(world: World) -> str:
    def at(offset: str) -> dict[str, str]:
        return {
            "LD_PRELOAD": str(LIBFAKETIME[0]),
            "FAKETIME": offset,
            "DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_NO_CACHE": "1",
            "NO_FAKE_STAT": "1",
        }

    olds = [world.replace("invocations-1", at("+1h")), world.replace("invocations-2", at("-2h"))]
    world.wait_until("workers", world.all_alive, 180)
    world.sleep(12)
    for old in olds:
        world.restore(old)
    return "one worker at +1 h, the other one at −2 h, for 12 s (libfaketime)"


@row("F69", "the disk of the logs is full", needs="disks")
def log_disk_full(world: World) -> str:
    ballast = world.logs / "ballast"
    free = shutil.disk_usage(world.logs).free
    with contextlib.suppress(OSError), ballast.open("wb") as file:
        for _ in range(free // 4096 + 2):
            file.write(bytes(4096))
    before = sum(order.accepted for order in world.history.orders)
    world.sleep(12)
    accepted = sum(order.accepted for order in world.history.orders) - before
    ballast.unlink()
    expect(accepted > 20, f"{accepted} submits accepted while the disk was full")
    return f"not a byte left for logs for 12 s; {accepted} submits accepted meanwhile"


@row("F70", "a worker with 64 open files, another with 1 GB of address space, on one core")
def squeezed(world: World) -> str:
    olds = [
        world.replace("invocations-1", {}, ("prlimit", "--nofile=64:64")),
        world.replace("invocations-2", {}, ("prlimit", f"--as={2 << 30}")),
    ]
    world.wait_until("workers", world.all_alive, 180)
    asking = client(world)
    for number in range(80):
        asking.submit(order_for(world.accounts[number % len(world.accounts)], "slow"))
    world.sleep(10)
    for old in olds:
        world.restore(old)
    return "prlimit --nofile=64 and --as=2 GB (16 threads each), 80 calls of 1.5 s on top of the load"


# -- people --------------------------------------------------------------------------------------------------------


@row("F71", "web killed when a refresh token is spent and its answer not yet out", rate=6)
def refresh_lost(world: World) -> str:
    for account in world.accounts[:2]:
        asking = client(world)
        answer, said = asking.ask(
            "login",
            account,
            "POST",
            "/auth/login",
            json={"email": account.email, "password": PASSWORD},
            headers={"X-API-Key": None},
        )
        expect(answer == "200", f"login: {answer} {said}")
        token = said["data"]["refresh_token"]
        file = world.arm("refresh.after_consume")
        first, _ = asking.ask(
            "refresh", account, "POST", "/auth/refresh", json={"refresh_token": token}, headers={"X-API-Key": None}
        )
        expect(first == "lost" and not file.exists(), f"the killed refresh answered {first}")
        again = [_refresh(world, token) for _ in range(2)]
        expect(again[0] == again[1] and again[0][0] == 200, "asked again within ten seconds: not the same pair")
        world.sleep(11)
        expect(_refresh(world, token)[0] == 401, "a spent token that comes back is taken")
        expect(_refresh(world, again[0][1])[0] == 401, "its family lives on")
    return "SIGKILL at refresh.after_consume, twice: the same pair again within 10 s; 11 s later reuse ends the family"


def _refresh(world: World, token: str) -> tuple[int, str]:
    url = f"{world.hub.url}/api/v1/auth/refresh"
    for _ in range(20):
        with contextlib.suppress(requests.RequestException):
            response = requests.post(url, json={"refresh_token": token}, timeout=20)
            if response.status_code != 503:
                return response.status_code, response.json().get("data", {}).get("refresh_token", "")
        time.sleep(0.2)
    return 0, ""


@row("F74", "one account floods the queue", settle=300, rate=8)
def flood(world: World) -> str:
    greedy, modest = world.accounts[-1], world.accounts[0]

    def waits(count: int) -> list[float]:
        found = []
        for _ in range(count):
            order = client(world).submit(order_for(modest, "echo"))
            end = ended(world, order, 60)
            found.append(_seconds(world, str(end["id"])))
        return sorted(found)

    alone = waits(10)
    threads = [threading.Thread(target=_flood, args=(world, greedy)) for _ in range(3)]
    for thread in threads:
        thread.start()
    world.wait_until("a backlog", lambda: world.number("select count(*) from queue") > 100, 60)
    beside = waits(10)
    for thread in threads:
        thread.join()
    expect(beside[-2] < max(10.0, 30 * alone[-2]), f"alone {alone}, beside a flood {beside}")
    return (
        f"300 calls of 5 s of one account; another one waits {alone[5]:.2f} s alone and {beside[5]:.2f} s beside it "
        "(medians)"
    )


def _flood(world: World, account: Account) -> None:
    """They end at 20 a second, which is less than a busy machine accepts."""
    client(world).batch(account, [order_for(account, "long") for _ in range(100)])


def _seconds(world: World, invocation_id: str) -> float:
    query = "select extract(epoch from started_at - created_at) from invocations where id = %s"
    return float(world.rows(query, invocation_id)[0][0])

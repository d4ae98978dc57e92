"""F08, F66, F77, F79: frozen workers, hosts with wrong clocks, a second platform, a database that goes back in time."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import replace
from uuid import uuid4

import requests

from common.settings import load
from dev import platform as parts
from dev.platform import Platform
from dev.ports import free_port
from dev.servers import create_database
from dev.supervisor import Supervisor
from tools.faults.load import Order, order_for
from tools.faults.memory import Told
from tools.faults.people import PASSWORD, join, plan
from tools.faults.rows import row
from tools.faults.rows_workers import client, ended, expect
from tools.faults.world import ROOT, World

FROZEN_SECONDS = 45
FROZEN_AT = ("worker.after_claim", "worker.before_send", "worker.after_commit")
SKEWS = (3600, -7200)


@row("F08", "workers frozen for longer than they are waited for, at each other point of a call", settle=240)
def zombies(world: World) -> str:
    for point in FROZEN_AT:
        world.strike(point, f"stop:{FROZEN_SECONDS}")
        world.sleep(FROZEN_SECONDS + 1)
    return f"SIGSTOP for {FROZEN_SECONDS} s at {', '.join(FROZEN_AT)}, one after the other, then SIGCONT"


# -- clocks --------------------------------------------------------------------------------------------------------


@row("F66", "a web tier whose clock is an hour ahead, then two hours behind", settle=240)
def skewed_web(world: World) -> str:
    right = world.part("web")
    told: list[str] = []
    session = _login(world)
    for skew in SKEWS:
        command = [str(word).replace("wsgi:app", "tools.faults.skewed:app") for word in right.command]
        world.end("web")
        world.run(replace(right, command=command, environ={**right.environ, "SKEW_SECONDS": str(skew)}))
        world.wait_until("web", world.serving, 180)
        order = order_for(world.accounts[0], "brief")
        client(world).submit(order, expires_in=30)
        expect(ended(world, order)["status"] == "succeeded", "a deadline is the database's, not that of web")
        told.append(f"{skew:+d} s: {_people(world, session)}")
        world.restore(right)
        world.wait_until("web", world.serving, 180)
    return "; ".join(told)


def _people(world: World, elsewhere: Told) -> str:
    """A token of a right clock, and one of this host, shown to this host; and a refresh."""
    there, here = _me(world, elsewhere["access_token"]), _login(world)
    own = _me(world, here["access_token"])
    again = _api(world, "POST", "/auth/refresh", json={"refresh_token": here["refresh_token"]})
    expect(there in (200, 401) and own in (200, 401) and again.status_code == 200, f"{there}, {own}, {again.text}")
    return f"a token of another host {there}, its own {own}, refreshed {again.status_code}"


def _login(world: World) -> Told:
    account = world.accounts[0]
    answer = _api(world, "POST", "/auth/login", json={"email": account.email, "password": PASSWORD})
    expect(answer.status_code == 200, f"login: {answer.status_code} {answer.text}")
    return dict(answer.json()["data"])


def _me(world: World, token: str) -> int:
    return _api(world, "GET", "/users/me", headers={"Authorization": f"Bearer {token}"}).status_code


def _api(
    world: World, method: str, path: str, *, json: Told | None = None, headers: Mapping[str, str] | None = None
) -> requests.Response:
    return requests.request(method, f"{world.hub.url}/api/v1{path}", timeout=20, json=json, headers=headers)


# -- another platform ----------------------------------------------------------------------------------------------


@row("F77", "a second platform is started on the same Redis and broker, and leaves a budget there", after=50)
def second_platform(world: World) -> str:
    create_database(world.postgres, "second")
    directory = world.directory / "second"
    environ = {
        **world.environ,
        "DATABASE_URL": world.postgres.url("second"),
        "DATA_DIR": str(directory),
        "PORT": str(free_port()),
        "FLOWER_PORT": str(free_port()),
        "FAILPOINTS": "",
        "PROMETHEUS_MULTIPROC_DIR": "",
    }
    del environ["PROMETHEUS_MULTIPROC_DIR"]
    other = Platform(load(environ), environ, Supervisor(environ, directory, ROOT, print), {}, tools_port=0)
    (directory / "log").mkdir(parents=True, exist_ok=True)
    try:
        _migrate(world, environ)
        other.supervisor.start(parts.web(other.settings), parts.worker("invocations", 4))
        worker = other.supervisor.children["invocations-1"]
        world.wait_until("the other worker to end", lambda: not worker.is_up, 90)
        world.wait_until("the other web process to say why", lambda: "another platform" in _ready(other.url), 90)
    finally:
        other.supervisor.stop()
    stranger = f"budget:{{{uuid4()}}}:{uuid4()}"
    run = world.gate().info("server")["run_id"]
    for name, value in (("run", run), ("epoch", 1), ("granted", 5), ("charged", 0), ("held", 0), ("active", 0)):
        world.gate().hset(stranger, name, value)
    world.strike("web.before_commit", times=6)
    world.wait_until("its budget to be removed", lambda: not world.gate().exists(stranger), 90)
    world.rows('drop database "second" with (force)')
    return "its web was not ready and its worker ended; a budget that no row knows, and six leaked holds behind it"


def _migrate(world: World, environ: dict[str, str]) -> None:
    command = [sys.executable, "-m", "flask", "--app", "wsgi", "db", "upgrade"]
    migrating = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    world.wait_until("the migrations", lambda: migrating.poll() is not None, 240)
    expect(migrating.returncode == 0, "the other database was not made")


def _ready(url: str) -> str:
    try:
        with urllib.request.urlopen(f"{url}/ready", timeout=5) as response:
            return str(response.read())
    except urllib.error.HTTPError as error:
        return str(error.read())
    except OSError:
        return ""


# -- failover ------------------------------------------------------------------------------------------------------


@row("F79", "PostgreSQL fails over to a copy that lacks the last commits", settle=240, after=20)
def failed_over(world: World) -> str:
    """What was accepted after the copy is gone, and nobody can help that; budgets are right all the same."""
    slug = f"behind-{uuid4().hex[:6]}"
    plan(slug, 20 * 20, 100)
    poor = join(0, world.hook_url, slug)
    asking = client(world)
    for _ in range(20):
        asking.submit(Order(poor, "slow", uuid4().hex, time.time()))
    copy = world.directory / "copy"
    _halt(world)
    subprocess.run(["cp", "-a", str(world.postgres.data), str(copy)], check=True)
    world.postgres.start()
    world.postgres.wait()
    world.wait_until("its calls to end", lambda: world.quiet(poor), 60)
    lost = world.number("select count(*) from invocations")
    _halt(world)
    shutil.rmtree(world.postgres.data)
    subprocess.run(["cp", "-a", str(copy), str(world.postgres.data)], check=True)
    shutil.rmtree(copy)
    world.postgres.start()
    world.postgres.wait()
    world.began_anew()
    lost -= world.number("select count(*) from invocations")
    orders = [Order(poor, "echo", uuid4().hex, time.time()) for _ in range(20)]
    for order in orders:
        asking.submit(order)
    granted = sum(order.accepted for order in orders)
    return (
        f"SIGKILL, and a start on a copy: {lost} invocations gone; {granted} submits on a budget that is all held again"
    )


def _halt(world: World) -> None:
    """At once, as a power cut would; every backend is gone when this returns."""
    os.kill(world.postgres.pid, signal.SIGQUIT)
    world.postgres.stop()

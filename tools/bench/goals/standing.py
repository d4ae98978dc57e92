"""P12: memory of the processes. P13: from `make run` to the first finished invocation. P15: CPU of an idle platform."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from statistics import median

from common.queueing import messages
from dev import platform, process
from dev.platform import KEY_FILE, ROOT
from dev.ports import free_port
from tools.bench import backlog, pairs
from tools.bench.goals import Found, middle, running
from tools.bench.goals.answering import whole
from tools.bench.ground import Ground, python

IDLE_SECONDS = 5.0
SETTLED_SECONDS = 20.0
QUIET_SECONDS = 30.0
#: As many worker processes as the platform has: two for invocations, one each for deliveries and sweeps.
IDLE_WORKERS = 4
BARE_ROUNDS = 3


def p12(ground: Ground) -> dict[str, Found]:
    """Resident memory, shared pages counted by share. The whole stack is what `make run` starts."""
    two_webs = platform.web(ground.settings)
    ground.start(two_webs, *ground.workers(2, 400), *platform.background(ground.settings))
    ground.start(platform.example_tools("127.0.0.1", free_port()))
    time.sleep(IDLE_SECONDS)
    children = {name: pairs.resident(child.pid) for name, child in ground.supervisor.children.items() if name != "tool"}
    servers = sum(pairs.resident(server.pid) for server in ground.servers)
    idle = sum(children.values()) + servers - children["tools"]
    backlog.ours(ground, [ground.tools["slow"], ground.tools["slow-too"]], 300, ground.accounts[:8], 1_000)
    messages.notify_times(messages.RUN_INVOCATION, 800)
    most = 0.0
    while ground.sql("select count(*) from queue")[0][0]:
        most = max(most, pairs.resident(ground.supervisor.children["invocations-1"].pid))
        time.sleep(0.2)
    ground.stop_all()
    parts = ", ".join(f"{name} {size:.0f}" for name, size in sorted(children.items()))
    note = f"idle: {parts}, PostgreSQL and Redis {servers:.0f}; the example tools are not counted in the sum"
    return {
        "P12_web": Found(children["web"], "MB", ours=children["web"], note="one process and its parent"),
        "P12_worker": Found(most, "MB", ours=most, note="the most that was seen with 400 in flight"),
        "P12_idle": Found(idle, "MB", ours=idle, note=note),
    }


def p15(ground: Ground) -> dict[str, Found]:
    """The whole platform while nobody asks it for anything, some time after its start.

    What a process costs that wakes once a second depends on the machine more than on what it does then. So afterwards
    as many bare Celery workers as the platform has worker processes are measured, which have nothing to do either.
    """
    whole(ground)
    time.sleep(SETTLED_SECONDS)
    names, rounds = ground.names(), []
    for _ in range(pairs.PAIRS):
        with pairs.cpu(names) as cpu:
            time.sleep(QUIET_SECONDS)
        rounds.append({pid: 1000 * seconds / QUIET_SECONDS for pid, seconds in cpu.seconds.items()})
    totals = [sum(each.values()) for each in rounds]
    beside = f"{IDLE_WORKERS} bare Celery workers, idle beside it afterwards: {_bare_and_idle(ground):.1f}"
    note = f"{pairs.PAIRS} rounds of {QUIET_SECONDS:.0f} s; {pairs.by_part(names, rounds)}; {beside}"
    return {"P15": middle(totals, "ms of CPU a second", note)}


def _bare_and_idle(ground: Ground) -> float:
    """Milliseconds of CPU a second."""
    ground.start(*[ground.bare_worker(n + 1, 1, "/tool") for n in range(IDLE_WORKERS)])
    time.sleep(IDLE_SECONDS)
    rounds = []
    for _ in range(BARE_ROUNDS):
        with pairs.cpu(running.pids_of(ground, "bare-")) as cpu:
            time.sleep(QUIET_SECONDS)
        rounds.append(1000 * cpu.total / QUIET_SECONDS)
    running.stop_bare(ground)
    return median(rounds)


def p13(_: Ground) -> dict[str, Found]:
    """From the command to the answer of the first invocation, with a new data directory and with one that is there."""
    ports = {
        name: str(free_port()) for name in ("PORT", "FLOWER_PORT", "TOOLS_PORT")
    }  # as a user has them: always the same
    with tempfile.TemporaryDirectory(prefix="joyfull-start-") as name:
        directories = [Path(name) / str(n) for n in range(pairs.PAIRS)]
        fresh = [_start(data, ports) for data in directories]
        again = [_start(directories[0], ports) for _ in directories]
    return {
        "P13": middle(fresh, "s", "with an empty data directory"),
        "P13_later": middle(again, "s", "with the data directory of an earlier start"),
    }


def _start(data: Path, ports: Mapping[str, str]) -> float:
    data.mkdir(exist_ok=True)
    environ = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "DATA_DIR": str(data), **ports}
    begun = time.perf_counter()
    log = os.open(data / "bench.log", os.O_WRONLY | os.O_CREAT)
    child = process.spawn(python("dev.run"), env=environ, cwd=ROOT, log=log)
    os.close(log)
    try:
        while not _finished(f"http://127.0.0.1:{ports['PORT']}", data / KEY_FILE):
            if time.perf_counter() - begun > 90 or child.poll() is not None:
                raise RuntimeError((data / "bench.log").read_text()[-2000:])
            time.sleep(0.02)
        return time.perf_counter() - begun
    finally:
        child.terminate()
        try:
            child.wait(30)
        except subprocess.TimeoutExpired:
            child.kill()


def _finished(url: str, key: Path) -> bool:
    """Whether an invocation of an example tool could be finished now."""
    if not key.exists() or not (text := key.read_text()):
        return False
    headers = {"X-API-Key": text, "Content-Type": "application/json", "Prefer": "wait=30"}
    body = json.dumps({"input": {"text": "What a joy!"}}).encode()
    request = urllib.request.Request(f"{url}/api/v1/tools/sentiment/invoke", body, headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return bool(json.load(answer)["data"]["status"] == "succeeded")
    except (OSError, urllib.error.URLError):
        return False

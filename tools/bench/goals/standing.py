"""P12: memory of the processes. P13: from `make run` to the first finished invocation. P15: CPU of an idle platform."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from statistics import median

from common.queueing import messages
from dev import platform, process
from dev.platform import KEY_FILE, ROOT
from dev.ports import free_port
from tools.bench import backlog, pairs
from tools.bench.goals import Found
from tools.bench.goals.answering import stop, whole
from tools.bench.ground import Ground, python

IDLE_SECONDS = 5.0
STARTS = 5
SETTLED_SECONDS = 20.0
QUIET_SECONDS = 30.0
ROUNDS = 3


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
    stop(ground)
    parts = ", ".join(f"{name} {size:.0f}" for name, size in sorted(children.items()))
    note = f"idle: {parts}, PostgreSQL and Redis {servers:.0f}; the example tools are not counted in the sum"
    return {
        "P12_web": Found(
            children["web"], "MB", 150, None, [], children["web"], None, True, "one process and its parent"
        ),
        "P12_worker": Found(most, "MB", 250, None, [], most, None, True, "the most that was seen with 400 in flight"),
        "P12_idle": Found(idle, "MB", 450, None, [], idle, None, True, note),
    }


def p15(ground: Ground) -> dict[str, Found]:
    """The whole platform while nobody asks it for anything, some time after its start."""
    whole(ground)
    time.sleep(SETTLED_SECONDS)
    names = {child.pid: name for name, child in ground.supervisor.children.items() if name != "tool"}
    names |= {server.pid: server.name for server in ground.servers}
    rounds = []
    for _ in range(ROUNDS):
        with pairs.cpu(names) as cpu:
            time.sleep(QUIET_SECONDS)
        rounds.append({names[pid]: 1000 * seconds / QUIET_SECONDS for pid, seconds in cpu.seconds.items()})
    totals = [sum(each.values()) for each in rounds]
    parts = ", ".join(f"{name} {median(each[name] for each in rounds):.1f}" for name in sorted(names.values()))
    note = f"{ROUNDS} rounds of {QUIET_SECONDS:.0f} s; {parts}"
    return {"P15": Found(median(totals), "ms of CPU a second", 30, 10, totals, median(totals), None, True, note)}


def p13(_: Ground) -> dict[str, Found]:
    """From the command to the answer of the first invocation, with a new data directory and with one that is there."""
    fresh = [_start(keep=None) for _ in range(STARTS)]
    with tempfile.TemporaryDirectory(prefix="joyfull-start-") as kept:
        _start(keep=kept)
        again = [_start(keep=kept) for _ in range(STARTS)]
    note = f"first start with an empty data directory; later starts {median(again):.1f} s"
    return {"P13": Found(median(fresh), "s", 8, 4, list(fresh), median(fresh), None, True, note)}


def _start(keep: str | None) -> float:
    with tempfile.TemporaryDirectory(prefix="joyfull-start-") as name:
        data, ports = Path(keep or name), [free_port() for _ in range(3)]
        environ = {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "DATA_DIR": str(data),
            "PORT": str(ports[0]),
            "FLOWER_PORT": str(ports[1]),
            "TOOLS_PORT": str(ports[2]),
        }
        begun = time.perf_counter()
        log = os.open(data / "bench.log", os.O_WRONLY | os.O_CREAT)
        child = process.spawn(python("dev.run"), env=environ, cwd=ROOT, log=log)
        os.close(log)
        try:
            while not _finished(f"http://127.0.0.1:{ports[0]}", data / KEY_FILE):
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

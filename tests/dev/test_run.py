"""`make run` as a newcomer meets it: it comes up, its curl line works, what dies comes back, nothing is left behind."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from common.kit import redis as redis_kit
from dev import forkserver, platform
from dev.ports import free_port
from dev.servers import Redis, ServerError
from dev.supervisor import FIRST_DELAY, Part, Supervisor
from tests.conftest import ROOT

UP_SECONDS = 120.0
GONE_SECONDS = 30.0


def until(ready: Callable[[], bool], what: str, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while not ready():
        assert time.monotonic() < deadline, f"{what}: not within {timeout:.0f} s"
        time.sleep(0.1)


def runs(pid: int) -> bool:
    """Whether it lives; the dead may stay on the kernel's list until somebody has asked after them."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def processes_of(directory: Path) -> set[int]:
    """Every process that has this data directory in its environment, its command or as its working directory."""
    return {int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and _belongs(entry, directory)}


def _belongs(entry: Path, directory: Path) -> bool:
    marker = str(directory).encode()
    try:
        places = (
            (entry / "environ").read_bytes(),
            (entry / "cmdline").read_bytes(),
            os.fsencode((entry / "cwd").readlink()),
        )
    except OSError:  # it has just ended, or is a zombie
        return False
    return any(marker in place for place in places)


@pytest.mark.chaos
def test_make_run_serves_and_leaves_nothing_behind(tmp_path: Path) -> None:
    data = tmp_path / "var"
    ports = {name: str(free_port()) for name in ("PORT", "FLOWER_PORT", "TOOLS_PORT")}
    environ = {"PATH": os.environ["PATH"], "DATA_DIR": str(data), "WORKER_THREADS": "20", **ports}

    for end in (signal.SIGKILL, signal.SIGINT):  # the second start is also the recovery from the first end
        shown = tmp_path / f"shown-{end.name}"
        with shown.open("wb") as out:
            run = subprocess.Popen([sys.executable, "-m", "dev.run"], cwd=ROOT, env=environ, stdout=out, stderr=out)
        until(lambda: "Ctrl-C" in shown.read_text() or run.poll() is not None, "make run", UP_SECONDS)  # noqa: B023
        line = re.search(r"^curl .*$", shown.read_text(), re.MULTILINE)
        assert line, shown.read_text()
        answer = json.loads(subprocess.run(["sh", "-c", line[0]], capture_output=True, check=True, timeout=60).stdout)
        assert answer["data"]["status"] == "succeeded", answer
        assert answer["data"]["output"]["language"] == "en"
        assert len(processes_of(data)) > 10
        if end == signal.SIGINT:
            servers_come_back(data, shown, ports["PORT"], line[0], answer["data"]["id"])

        run.send_signal(end)
        run.wait(GONE_SECONDS)
        until(lambda: not processes_of(data), f"{processes_of(data)} gone after {end.name}", GONE_SECONDS)


def servers_come_back(data: Path, shown: Path, port: str, curl: str, known: str) -> None:
    """Kill PostgreSQL and Redis: both return by themselves, it is said, and what was accepted is still there."""
    client = redis_kit.make_client(Redis(data).url())
    [pid_file] = data.glob("postgres-*/data/postmaster.pid")
    pids = {"postgres": int(pid_file.read_text().splitlines()[0]), "redis": client.info("server")["process_id"]}
    for name, pid in pids.items():
        os.kill(pid, signal.SIGKILL)
        until(partial(told, shown, f"{name} exited (killed by SIGKILL)"), f"{name} missed", GONE_SECONDS)
        until(partial(told, shown, f"{name} has been restarted"), f"{name} back", GONE_SECONDS)
        until(partial(platform.serving, f"http://127.0.0.1:{port}/ready"), f"ready after {name}", UP_SECONDS)
    assert pasted(re.sub(r"/tools/\S+", f"/invocations/{known}", curl.partition(" -d ")[0])) == "succeeded"
    assert pasted(curl) == "succeeded"


def told(shown: Path, what: str) -> bool:
    return what in shown.read_text()


def pasted(curl: str) -> str:
    """What became of the invocation that a pasted line tells of."""
    said = subprocess.run(["sh", "-c", curl], capture_output=True, check=True, timeout=60).stdout
    return str(json.loads(said)["data"]["status"])


@pytest.mark.parametrize("taken", ["PORT", "FLOWER_PORT", "TOOLS_PORT"])
def test_a_port_that_is_taken_is_named_with_its_setting(tmp_path: Path, taken: str) -> None:
    ports = {name: str(free_port()) for name in ("PORT", "FLOWER_PORT", "TOOLS_PORT")}
    environ = {"PATH": os.environ["PATH"], "DATA_DIR": str(tmp_path / "var"), **ports}
    run = partial(subprocess.run, [sys.executable, "-m", "dev.run"], cwd=ROOT, capture_output=True, text=True)
    with socket.create_server(("127.0.0.1", int(ports[taken]))):
        done = run(env=environ, timeout=UP_SECONDS, check=False)
    assert done.returncode == 1
    shown = done.stdout + done.stderr
    assert f"port {ports[taken]} is in use (Address already in use): set {taken} to another" in shown
    twice = {**environ, "PORT": ports["FLOWER_PORT"]}
    if taken == "PORT":
        done = run(env=twice, timeout=UP_SECONDS, check=False)
        assert f"PORT and FLOWER_PORT are both {ports['FLOWER_PORT']}" in done.stdout + done.stderr


def test_an_address_of_somebody_else_is_not_called_a_taken_port() -> None:
    with pytest.raises(ServerError, match=r"192\.0\.2\.1:8100 cannot be listened on .*: set HOST or TOOLS_PORT to"):
        platform.require_free("192.0.2.1", 8100, "TOOLS_PORT")


def test_what_dies_comes_back_later_and_later(tmp_path: Path) -> None:
    said: list[str] = []
    supervisor = Supervisor(os.environ, tmp_path, ROOT, said.append)
    counter = tmp_path / "starts"
    supervisor.start(
        Part("short", ["sh", "-c", f"echo x >> {counter}; exit 3"]), Part("steady", ["sleep", "60"], grace=1)
    )
    steady = supervisor.children["steady"]
    try:
        supervisor.wait_for(lambda: counter.exists() and counter.read_text().count("x") == 3, "three starts")
        first, second = said[0], said[1]
        assert f"short exited (status 3); restarting in {FIRST_DELAY:.1f} s" in first
        assert f"restarting in {2 * FIRST_DELAY:.1f} s" in second

        before = steady.pid
        steady.signal(signal.SIGKILL)
        supervisor.wait_for(lambda: any("steady exited (killed by SIGKILL)" in line for line in said), "its death")
        supervisor.wait_for(lambda: steady.is_up and steady.pid != before, "its return")
    finally:
        supervisor.stop()
    assert not steady.is_up


@pytest.mark.skipif(not forkserver.AVAILABLE, reason="forking from the forkserver needs Linux and pidfds")
def test_a_process_of_the_fork_server_is_like_any_other(tmp_path: Path) -> None:
    """Its own environment, arguments, log and exit status; killed it comes back, also when the forkserver died."""
    said: list[str] = []
    supervisor = Supervisor({**os.environ, "ANIMAL": "swan"}, tmp_path, ROOT, said.append)
    show = [sys.executable, "-m", "tests.dev.duckling"]
    supervisor.start(Part("shown", [*show, "--status", "3"], {"COLOUR": "grey"}, warm=True))
    supervisor.start(Part("steady", [*show, "--stay"], grace=2, warm=True))
    steady = supervisor.children["steady"]
    try:
        supervisor.wait_for(lambda: bool(said), "the end of the one that does not stay")
        assert "shown exited (status 3)" in said[0]
        supervisor.wait_for(lambda: "stays" in (tmp_path / "steady.log").read_text(), "the one that stays")
        shown = json.loads((tmp_path / "shown.log").read_text().splitlines()[0])
        assert shown.pop("pid") == shown.pop("group")
        assert shown == {"arguments": ["--status", "3"], "animal": "swan", "colour": "grey"}
        parent = int(Path(f"/proc/{steady.pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
        before = steady.pid
        os.kill(parent, signal.SIGKILL)
        supervisor.wait_for(lambda: steady.is_up and steady.pid != before, "a new forkserver", timeout=120)
        until(lambda: not runs(before), "it died with its forkserver", GONE_SECONDS)
    finally:
        supervisor.stop()
    assert not steady.is_up

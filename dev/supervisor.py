"""Keeps a set of processes up: starts them, starts again what dies, stops them in order.

Not honcho: a child that dies must come back instead of ending the rest, and none may survive a supervisor that was
killed with SIGKILL. `dev.process` sees to the second.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NoReturn

from dev import forkserver, process
from dev.forkserver import Forkserver
from dev.servers import Server, ServerError

FIRST_DELAY = 0.2
LONGEST_DELAY = 30.0
#: A process that was up for so long may fail again without having to wait longer.
STEADY_AFTER = 30.0
TICK = 0.1


@dataclass(frozen=True, slots=True)
class Part:
    """One process of the platform: its name is also that of its log file."""

    name: str
    command: Sequence[str | Path]
    environ: Mapping[str, str] = field(default_factory=dict)
    #: Seconds between SIGTERM and SIGKILL.
    grace: float = 10.0
    #: `python -m celery …`, forked from the forkserver where that is possible.
    warm: bool = False


class Patience:
    """When something that dies is started again: the sooner it died, the later."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._failures = 0
        self._due = 0.0

    def begun(self) -> None:
        self._started = time.monotonic()

    def ended(self) -> float:
        """In how many seconds it is to be started."""
        now = time.monotonic()
        self._failures = 1 if now - self._started > STEADY_AFTER else self._failures + 1
        delay = min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** (self._failures - 1))
        self._due = now + delay
        return delay

    @property
    def is_over(self) -> bool:
        return time.monotonic() >= self._due


class Child:
    """A part that runs, or waits to be started again."""

    def __init__(self, part: Part, environ: Mapping[str, str], log: Path, cwd: Path, forkserver: Forkserver) -> None:
        self.part, self.log, self._forkserver = part, log, forkserver
        self._environ, self._cwd = {**environ, **part.environ}, cwd
        self._process: process.Process | None = None
        self._patience = Patience()

    @property
    def is_up(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Of the running process. Raises `ServerError` when there is none."""
        if self._process is None or not self.is_up:
            raise ServerError(f"{self.part.name} is not running")
        return self._process.pid

    def start(self) -> None:
        self._process = self._fork() if self.part.warm and forkserver.POSSIBLE else self._spawn()
        self._patience.begun()

    def _fork(self) -> process.Process:
        return self._forkserver.spawn(self.part.command, self._environ, self.log)

    def _spawn(self) -> process.Process:
        with self.log.open("ab") as log:
            return process.spawn(self.part.command, env=self._environ, cwd=self._cwd, log=log.fileno())

    def keep_up(self, tell: Callable[[str], None]) -> None:
        """Notice a death, and start again when its time has come."""
        if self._process is not None and self._process.poll() is not None:
            tell(_obituary(self.part.name, self._process.returncode, self._patience.ended(), self.log))
            self._process = None
        elif self._process is None and self._patience.is_over:
            self.start()

    def signal(self, number: signal.Signals) -> None:
        """To the process alone; harmless when it is gone."""
        if self._process is not None:
            self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL to the process alone, and wait for its end. `start` or the supervisor brings it back."""
        self.signal(signal.SIGKILL)
        self.wait(timeout=None)

    def wait(self, timeout: float | None) -> None:
        if self._process is not None:
            self._process.wait(timeout)

    def finish(self, deadline: float) -> None:
        """Wait until `deadline` for the end that SIGTERM asked for, then kill the process and its whole group."""
        if self._process is not None:
            process.stop_group(self._process, grace=max(0.0, deadline - time.monotonic()))
            self._process = None


class Watched:
    """A server of ours, which has been started: it comes back with what it had."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._patience = Patience()
        self._state: Literal["up", "down", "starting"] = "up"

    def keep_up(self, tell: Callable[[str], None]) -> None:
        """Notice a death, start again when its time has come, and say when it serves again."""
        name, status = self._server.name, self._server.status
        if self._state != "down" and status is not None:
            tell(_obituary(name, status, self._patience.ended(), self._server.log))
            self._state = "down"
        elif self._state == "down" and self._patience.is_over:
            self._start(tell)
        elif self._state == "starting" and self._server.is_ready():
            tell(f"{name} is up again")
            self._state = "up"

    def _start(self, tell: Callable[[str], None]) -> None:
        self._patience.begun()
        try:
            self._server.start_again()
            self._state = "starting"
        except (OSError, ServerError) as error:
            tell(f"{self._server.name} cannot be started ({error}); again in {self._patience.ended():.1f} s")


class Supervisor:
    """Runs parts with one environment. Use it from the main thread: children die with the thread that started them."""

    def __init__(self, environ: Mapping[str, str], logs: Path, cwd: Path, tell: Callable[[str], None] = print) -> None:
        self.children: dict[str, Child] = {}
        self._servers: list[Watched] = []
        self._environ, self._logs, self._cwd, self._tell = environ, logs, cwd, tell
        logs.mkdir(parents=True, exist_ok=True)
        self._forkserver = Forkserver(environ, cwd, logs / "forkserver.log")

    def warm_up(self) -> None:
        """Begin with what `warm` parts will need, while something else is started."""
        if forkserver.POSSIBLE:
            self._forkserver.begin()

    def watch(self, servers: Iterable[Server]) -> None:
        """Start these again too when they die. Whoever started them stops them, after us."""
        self._servers += map(Watched, servers)

    def start(self, *parts: Part) -> None:
        """Start these now, beside those that run already."""
        for part in parts:
            child = Child(part, self._environ, self._logs / f"{part.name}.log", self._cwd, self._forkserver)
            self.children[part.name] = child
            child.start()

    def tick(self) -> None:
        """One look at every server and every child."""
        for server in self._servers:
            server.keep_up(self._tell)
        for child in self.children.values():
            child.keep_up(self._tell)

    def wait_for(self, ready: Callable[[], bool], what: str, timeout: float = 60.0) -> None:
        """Keep everything up until `ready()`. Raises `ServerError` when that takes too long."""
        deadline = time.monotonic() + timeout
        while not ready():
            if time.monotonic() > deadline:
                raise ServerError(f"{what} is not ready after {timeout:.0f} s; see {self._logs}")
            self.tick()
            time.sleep(0.05)

    def run(self) -> NoReturn:
        """Keep everything up until something is raised: Ctrl-C, say."""
        while True:
            self.tick()
            time.sleep(TICK)

    def stop(self) -> None:
        """Ask all of them at once, and wait for each as long as it was promised."""
        asked = time.monotonic()
        for child in self.children.values():
            child.signal(signal.SIGTERM)
        for child in self.children.values():
            child.finish(asked + child.part.grace)
        self.children.clear()
        self._servers.clear()
        self._forkserver.end()


def raise_on_signals() -> None:
    """Let SIGTERM and a closed terminal end this process as Ctrl-C does: by raising `KeyboardInterrupt`."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)


def _obituary(name: str, status: int, delay: float, log: Path) -> str:
    return f"{name} ended ({_cause(status)}); again in {delay:.1f} s; see {log}"


def _cause(status: int) -> str:
    return f"killed by {signal.Signals(-status).name}" if status < 0 else f"status {status}"

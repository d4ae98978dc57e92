"""A process supervisor: starts processes, restarts those that die, and stops them in order.

Not honcho: a child that dies must be restarted instead of ending the others, and none may survive a supervisor killed
with SIGKILL (`dev.process` ensures the latter).
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
#: After running for this many seconds, a process that dies is restarted with the shortest delay again.
STEADY_AFTER = 30.0
TICK = 0.1


@dataclass(frozen=True, slots=True)
class Part:
    """One process of the platform. Its log file has the same name."""

    name: str
    command: Sequence[str | Path]
    environ: Mapping[str, str] = field(default_factory=dict)
    #: Seconds between SIGTERM and SIGKILL.
    grace: float = 10.0
    #: `python -m celery …`, started through the forkserver where available.
    warm: bool = False


class Backoff:
    """The exponential delay before a process that died is restarted."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._failures = 0
        self._due = 0.0

    def begun(self) -> None:
        self._started = time.monotonic()

    def ended(self) -> float:
        """Record a death. Returns the delay in seconds until the restart."""
        now = time.monotonic()
        self._failures = 1 if now - self._started > STEADY_AFTER else self._failures + 1
        delay = min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** (self._failures - 1))
        self._due = now + delay
        return delay

    @property
    def is_over(self) -> bool:
        return time.monotonic() >= self._due


class Child:
    """A part that is running, or waiting to be restarted."""

    def __init__(self, part: Part, environ: Mapping[str, str], log: Path, cwd: Path, forkserver: Forkserver) -> None:
        self.part, self.log, self._forkserver = part, log, forkserver
        self._environ, self._cwd = {**environ, **part.environ}, cwd
        self._process: process.ChildProcess | None = None
        self._backoff = Backoff()

    @property
    def is_up(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The pid of the running process. Raises `ServerError` when it is not running."""
        if self._process is None or not self.is_up:
            raise ServerError(f"{self.part.name} is not running")
        return self._process.pid

    def start(self) -> None:
        self._process = self._fork() if self.part.warm and forkserver.AVAILABLE else self._spawn()
        self._backoff.begun()

    def _fork(self) -> process.ChildProcess:
        return self._forkserver.spawn(self.part.command, self._environ, self.log)

    def _spawn(self) -> process.ChildProcess:
        with self.log.open("ab") as log:
            return process.spawn(self.part.command, env=self._environ, cwd=self._cwd, log=log.fileno())

    def keep_up(self, tell: Callable[[str], None]) -> None:
        """Check for death, and restart after the delay."""
        if self._process is not None and (status := self._process.poll()) is not None:
            tell(_death_message(self.part.name, status, self._backoff.ended(), self.log))
            self._process = None
        elif self._process is None and self._backoff.is_over:
            self.start()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process only; no effect if it has exited."""
        if self._process is not None:
            self._process.send_signal(number)

    def kill(self) -> None:
        """Send SIGKILL to the process only, and wait for it to exit. The supervisor restarts it."""
        self.signal(signal.SIGKILL)
        self.wait(timeout=None)

    def wait(self, timeout: float | None) -> None:
        if self._process is not None:
            self._process.wait(timeout)

    def finish(self, deadline: float) -> None:
        """Wait until `deadline` for the process to exit after SIGTERM, then kill its whole process group."""
        if self._process is not None:
            process.stop_group(self._process, grace=max(0.0, deadline - time.monotonic()))
            self._process = None


class WatchedServer:
    """A private server that is restarted on its existing data when it dies."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._backoff = Backoff()
        self._state: Literal["up", "down", "starting"] = "up"

    def keep_up(self, tell: Callable[[str], None]) -> None:
        """Check for death, restart after the delay, and report when the server is ready again."""
        name, status = self._server.name, self._server.status
        if self._state != "down" and status is not None:
            tell(_death_message(name, status, self._backoff.ended(), self._server.log))
            self._state = "down"
        elif self._state == "down" and self._backoff.is_over:
            self._start(tell)
        elif self._state == "starting" and self._server.is_ready():
            tell(f"{name} has been restarted")
            self._state = "up"

    def _start(self, tell: Callable[[str], None]) -> None:
        self._backoff.begun()
        try:
            self._server.start_again()
            self._state = "starting"
        except (OSError, ServerError) as error:
            tell(f"{self._server.name} cannot be started ({error}); retrying in {self._backoff.ended():.1f} s")


class Supervisor:
    """Runs parts in one environment. Use it from the main thread: children die with the thread that started them."""

    def __init__(self, environ: Mapping[str, str], logs: Path, cwd: Path, tell: Callable[[str], None] = print) -> None:
        self.children: dict[str, Child] = {}
        self._servers: list[WatchedServer] = []
        self._environ, self._logs, self._cwd, self._tell = environ, logs, cwd, tell
        logs.mkdir(parents=True, exist_ok=True)
        self._forkserver = Forkserver(environ, cwd, logs / "forkserver.log")

    def warm_up(self) -> None:
        """Start the forkserver in the background, for `warm` parts."""
        if forkserver.AVAILABLE:
            self._forkserver.begin()

    def watch(self, servers: Iterable[Server]) -> None:
        """Restart these servers too when they die. The caller starts them, and stops them after the supervisor."""
        self._servers += map(WatchedServer, servers)

    def start(self, *parts: Part) -> None:
        """Start these parts, in addition to those already running."""
        for part in parts:
            child = Child(part, self._environ, self._logs / f"{part.name}.log", self._cwd, self._forkserver)
            self.children[part.name] = child
            child.start()

    def tick(self) -> None:
        """Check every server and every child once."""
        for server in self._servers:
            server.keep_up(self._tell)
        for child in self.children.values():
            child.keep_up(self._tell)

    def wait_for(self, ready: Callable[[], bool], what: str, timeout: float = 60.0) -> None:
        """Supervise until `ready()`. Raises `ServerError` after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while not ready():
            if time.monotonic() > deadline:
                raise ServerError(f"{what} is not ready after {timeout:.0f} s; see {self._logs}")
            self.tick()
            time.sleep(0.05)

    def run(self) -> NoReturn:
        """Supervise until an exception is raised, such as by Ctrl-C."""
        while True:
            self.tick()
            time.sleep(TICK)

    def stop(self) -> None:
        """Send SIGTERM to all children at once, and wait for each up to its grace period."""
        stopped_at = time.monotonic()
        for child in self.children.values():
            child.signal(signal.SIGTERM)
        for child in self.children.values():
            child.finish(stopped_at + child.part.grace)
        self.children.clear()
        self._servers.clear()
        self._forkserver.end()


def raise_on_signals() -> None:
    """Make SIGTERM and a closed terminal raise `KeyboardInterrupt`, as Ctrl-C does."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)


def _death_message(name: str, status: int, delay: float, log: Path) -> str:
    return f"{name} exited ({_cause(status)}); restarting in {delay:.1f} s; see {log}"


def _cause(status: int) -> str:
    return f"killed by {signal.Signals(-status).name}" if status < 0 else f"status {status}"

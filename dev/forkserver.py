"""Start Celery processes quickly and with shared memory, by forking a process that has already imported everything.

Each of six processes would otherwise spend 1.5 s of CPU time importing the same hundred megabytes. Used only for the
platform on one machine (`make run`, the demo, tests); docs/operations.md describes how processes are started elsewhere.

The forkserver is single-threaded and a child of the supervisor. A forked process is supervised like any other: it has
its own process group, is watched and signalled through a pidfd, and dies with its parents.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from dev import process

AVAILABLE = process.LINUX and hasattr(os, "pidfd_open")

#: The modules that a running Celery process has imported. Nothing of `worker`: importing it reads the settings, and
#: `worker.heartbeat` generates the process's id.
_IMPORTS = (
    "celery.apps.beat",
    "celery.apps.worker",
    "celery.bin.celery",
    "celery.concurrency.thread",
    "celery.loaders.app",
    "celery.worker.consumer",
    "celery.worker.pidbox",
    "celery.worker.strategy",
    "kombu.transport.redis",
    "psycopg",
    "common.identity.accounts",
    "common.boot",
    "common.operations.ledger",
    "common.invocations",
    "common.queueing.messages",
    "common.webhooks",
)
_LONGEST_MESSAGE = 1 << 20
_PR_SET_PDEATHSIG = 1


class _Message(TypedDict, total=False):
    """What the server process tells: a process that it has started, or one that has ended, and how."""

    started: int
    ended: int
    status: int


class Forked:
    """A forked process, with the part of the interface of `subprocess.Popen` that is used."""

    def __init__(self, forkserver: Forkserver, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._forkserver, self._pidfd = forkserver, os.pidfd_open(pid)

    def poll(self) -> int | None:
        """The exit status (negative for a signal); None while the process runs."""
        if self.returncode is None and select.select([self._pidfd], [], [], 0)[0]:
            self._ended()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the process to exit. Raises `subprocess.TimeoutExpired`."""
        if self.returncode is None:
            if not select.select([self._pidfd], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0.0)
            self._ended()
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal; no effect if the process has exited."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _ended(self) -> None:
        self.returncode = self._forkserver.status(self.pid)
        os.close(self._pidfd)


class Forkserver:
    """The supervisor's client. The server process starts with the first `spawn`, and again after it has died."""

    def __init__(self, environ: Mapping[str, str], cwd: Path, log: Path) -> None:
        self._environ, self._cwd, self._log = environ, cwd, log
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._statuses: dict[int, int] = {}

    def begin(self) -> None:
        """Start the server process and its imports in the background."""
        if self._process is None or self._process.poll() is not None:
            if self._socket is not None:
                self._socket.close()
            self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs, self._log.open("ab") as log:
                command = [sys.executable, "-m", "dev.forkserver"]
                self._process = process.spawn(
                    command, env=self._environ, cwd=self._cwd, log=log.fileno(), stdin=theirs.fileno()
                )

    def spawn(self, command: Sequence[str | Path], environ: Mapping[str, str], log: Path) -> Forked:
        """Run `python -m module arguments…` with the environment, appending its output to the log."""
        self.begin()
        assert self._socket is not None
        words = [str(word) for word in command[2:]]
        self._socket.send(json.dumps({"command": words, "environ": dict(environ), "log": str(log)}).encode())
        while (message := self._receive()) is not None:
            if "started" in message:
                return Forked(self, message["started"])
        raise ChildProcessError(f"the forkserver died; see {self._log}")

    def status(self, pid: int) -> int:
        """The exit status of a process; SIGKILL if the forkserver is gone and cannot report it."""
        deadline = time.monotonic() + 5
        while pid not in self._statuses and time.monotonic() < deadline:
            if self._receive() is None:
                break
        return self._statuses.pop(pid, -signal.SIGKILL)

    def end(self) -> None:
        """Stop the server process, if it runs. Stop the forked processes before."""
        if self._socket is not None and self._process is not None:
            self._socket.close()
            process.stop(self._process)
            self._process = None

    def _receive(self) -> _Message | None:
        assert self._socket is not None
        self._socket.settimeout(60)
        try:
            packet = self._socket.recv(_LONGEST_MESSAGE)
        except OSError:
            return None
        message: _Message | None = json.loads(packet) if packet else None
        if message and "ended" in message:
            self._statuses[message["ended"]] = message["status"]
        return message


# -- the server process: `python -m dev.forkserver`, with the socket as its standard input --------------------------


@dataclass(frozen=True, slots=True)
class _Program:
    """What a forked process runs."""

    command: Sequence[str]
    environ: Mapping[str, str]
    log: str

    def run(self) -> None:
        """Do what `dev.process.spawn` does between fork and exec, then run the module as `python -m` would."""
        os.setpgid(0, 0)
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        output = os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for target, source in enumerate((nothing, output, output)):
            os.dup2(source, target)
        os.environ.clear()
        os.environ.update(self.environ)
        module, *arguments = self.command
        sys.argv = [module, *arguments]
        runpy.run_module(module, run_name="__main__", alter_sys=True)


def _serve(caller: socket.socket) -> _Program | None:
    """Fork on request. Returns the program in each child, and None in the server when the caller is gone."""
    awake, wake = socket.socketpair()
    for end in (awake, wake):
        end.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake.fileno())
    while True:
        ready, _, _ = select.select([caller, awake], [], [])
        if awake in ready:
            awake.recv(4096)
            _report_exits(caller)
        if caller in ready:
            packet = caller.recv(_LONGEST_MESSAGE)
            if not packet:
                return None
            pid = os.fork()
            if pid == 0:
                for each in (caller, awake, wake):
                    each.close()
                return _Program(**json.loads(packet))
            caller.send(json.dumps({"started": pid}).encode())


def _report_exits(caller: socket.socket) -> None:
    with contextlib.suppress(ChildProcessError, BrokenPipeError):
        while (ended := os.waitpid(-1, os.WNOHANG)) != (0, 0):
            status = os.waitstatus_to_exitcode(ended[1])
            caller.send(json.dumps({"ended": ended[0], "status": status}).encode())


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    caller = socket.socket(fileno=os.dup(0))
    for name in _IMPORTS:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # a collection in a child would touch, and so copy, the pages of these permanent objects
    if program := _serve(caller):
        signal.signal(signal.SIGINT, signal.default_int_handler)
        program.run()


if __name__ == "__main__":
    main()

"""Child processes that compute what may take long or be made to, each with a socket to its parent.

They are started by `posix_spawn`, which shares the parent's memory until the child's program begins. Under gevent
`subprocess` forks instead: a web process of 200 MB then stands still for about ten milliseconds, and copies every page
that it writes to afterwards (docs/decisions/pacing.md has the figures).
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

#: The file descriptor of the child's end of the socket.
FD = 3
#: The only environment variables passed on: children need no secrets.
ENVIRONMENT = ("LD_LIBRARY_PATH", "PATH")
#: How much lower than its parent's is the priority of a child; the lowest that there is.
NICE = 10
LOWEST = 19
#: Killed, but not gone yet when they were.
_killed: set[int] = set()


class Child:
    """A Python process with the arguments, without the parent's environment. `socket` leads to its `FD`.

    It has a session of its own, whose processes are weighed as one against those of other sessions (man 7 sched, "The
    autogroup feature"), and there a low priority. `last`: it gets only CPU time that nobody else wants, where the
    system has that. The first thing it does should be
    `os.closerange(FD + 1, …)`: gunicorn's listening socket is inheritable.

    Raises `OSError` if it cannot be started.
    """

    def __init__(
        self, arguments: Sequence[str], environ: Mapping[str, str] | None = None, *, last: bool = False
    ) -> None:
        _reap()
        passed = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
        self.socket, theirs = socket.socketpair()
        with theirs:
            self.pid = os.posix_spawn(
                sys.executable,
                [sys.executable, *arguments],
                {**passed, **(environ or {})},
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, theirs.fileno(), FD),
                    *((os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in range(3)),
                ],
                setsigdef=[signal.SIGPIPE],
                setsid=True,
            )
        _put_behind(self.pid, last=last)
        self.parent = os.getpid()

    def is_alive(self) -> bool:
        """Whether it is this process's child and has not ended."""
        return self.parent == os.getpid() and not _is_gone(self.pid)

    def end(self) -> None:
        """Kill it. Does not wait until it is gone."""
        self.socket.close()
        if self.is_alive():
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            _killed.add(self.pid)


def _put_behind(pid: int, *, last: bool) -> None:
    """Behind others, as far as the system allows. Its session exists: `posix_spawn` has returned."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, min(LOWEST, os.getpriority(os.PRIO_PROCESS, 0) + NICE))
    with suppress(OSError):
        Path(f"/proc/{pid}/autogroup").write_text(str(LOWEST if last else NICE))
    if last and hasattr(os, "SCHED_IDLE"):
        with suppress(OSError):
            os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0))


def _reap() -> None:
    _killed.difference_update([pid for pid in tuple(_killed) if _is_gone(pid)])


def _is_gone(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG) != (0, 0)
    except ChildProcessError:  # gevent's loop has reaped it
        return True

"""Child processes that never outlive us, and servers that refuse to run as root running all the same.

A child gets a signal from the kernel when the *thread* that started it ends (`PR_SET_PDEATHSIG`), so start children
from the main thread. It is in a process group of its own: Ctrl-C reaches the supervisor alone, which stops things in
order.

PostgreSQL refuses to run as root. Root therefore starts it as somebody else: in a user namespace where root's files
belong to uid 65534, or, where namespaces are forbidden (plain Docker), as uid 65534 that may still pass through root's
directories. Nothing is chmodded on the way and no system user is made.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO, Any, Protocol

LINUX = sys.platform == "linux"
NOBODY = 65534

_CLONE_NEWUSER = 0x10000000
_PR_SET_PDEATHSIG, _PR_SET_KEEPCAPS, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE = 1, 8, 47, 2
_CAP_DAC_OVERRIDE, _CAP_VERSION_3 = 1, 0x20080522
_libc = ctypes.CDLL(None, use_errno=True)


def spawn(
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    log: IO[bytes] | int | None = None,
    stdin: int = subprocess.DEVNULL,
    dies_by: signal.Signals = signal.SIGKILL,
    never_root: bool = False,
) -> subprocess.Popen[bytes]:
    """Start a child that is sent `dies_by` when we die, however we die. Its outputs go to `log` (None: to ours)."""
    step_down = _step_down() if never_root and os.geteuid() == 0 else None
    parent = os.getpid()

    def before_exec() -> None:
        if step_down:
            step_down()  # before the death signal: changing credentials clears it
        if LINUX:
            _libc.prctl(_PR_SET_PDEATHSIG, dies_by)
            if os.getppid() != parent:  # it died between fork and prctl
                os._exit(1)

    return subprocess.Popen(
        [str(part) for part in command],
        env=None if env is None else dict(env),
        cwd=cwd,
        stdin=stdin,
        stdout=log,
        stderr=None if log is None else subprocess.STDOUT,
        process_group=0,
        preexec_fn=before_exec,  # noqa: PLW1509 - calls the kernel only: no lock that another thread could hold
    )


class Process(Protocol):
    """A child, as far as it is used: `subprocess.Popen` is one."""

    pid: int
    returncode: Any

    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def send_signal(self, number: int, /) -> None: ...
    def kill(self) -> None: ...


def stop(child: Process, *, by: signal.Signals = signal.SIGTERM, grace: float = 10.0) -> None:
    """Ask with `by`, wait `grace` seconds, then kill. Returns when it is gone; harmless when it is gone already."""
    if child.poll() is None:
        child.send_signal(by)
        try:
            child.wait(grace)
        except subprocess.TimeoutExpired:
            child.kill()
    child.wait()


def stop_group(child: Process, *, grace: float) -> None:
    """`stop` for a child with children of its own: what is left of its group after `grace` seconds is killed."""
    try:
        child.wait(grace)
    except subprocess.TimeoutExpired:
        child.kill()
    child.wait()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)


def own(directory: Path) -> None:
    """Give an empty `directory` to whoever `never_root` children will be."""
    if os.geteuid() == 0 and not _namespaces_allowed():
        os.chown(directory, NOBODY, NOBODY)


# -- not being root ------------------------------------------------------------------------------------------


def _step_down() -> Callable[[], None]:
    return _into_namespace if _namespaces_allowed() else _become_nobody


def _into_namespace() -> None:
    """A user namespace in which our uid and gid, and so our files, are those of nobody."""
    uid, gid = os.geteuid(), os.getegid()
    if _libc.unshare(_CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{NOBODY} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{NOBODY} {gid} 1")


def _become_nobody() -> None:
    """Another uid that keeps one capability over the exec: to pass through directories such as /root."""
    _libc.prctl(_PR_SET_KEEPCAPS, 1)
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    mask = 1 << _CAP_DAC_OVERRIDE
    header = (ctypes.c_uint32 * 2)(_CAP_VERSION_3, 0)
    effective_permitted_inheritable = (ctypes.c_uint32 * 6)(mask, mask, mask, 0, 0, 0)
    if _libc.capset(header, effective_permitted_inheritable) == 0:
        _libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, _CAP_DAC_OVERRIDE, 0, 0)


@cache
def _namespaces_allowed() -> bool:
    """Whether the kernel lets us make a user namespace: asked in a throw-away child."""
    if not LINUX:
        return False
    pid = os.fork()
    if pid == 0:
        try:
            _into_namespace()
            os._exit(0)
        except BaseException:  # noqa: BLE001 - a forked child must never return into its parent's code
            os._exit(1)
    return os.waitpid(pid, 0)[1] == 0

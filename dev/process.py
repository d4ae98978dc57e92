"""Start child processes that never outlive their parent, and, as root, servers that refuse to run as root.

The kernel signals a child when the *thread* that started it ends (`PR_SET_PDEATHSIG`), so start children from the main
thread. Each child has its own process group, so that Ctrl-C reaches the supervisor only, which stops things in order.

PostgreSQL refuses to run as root, so root starts it as another user: in a user namespace in which root's files belong
to uid 65534, or, where namespaces are forbidden (plain Docker), as uid 65534 with the capability to traverse root's
directories. No file modes are changed and no system user is created.
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
from typing import IO, Protocol

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
    """Start a child that receives `dies_by` when this process dies. Its output goes to `log` (None: inherited)."""
    step_down = _step_down() if never_root and os.geteuid() == 0 else None
    parent = os.getpid()

    def before_exec() -> None:
        for ignored in (signal.SIGINT, signal.SIGQUIT):  # inherited from a shell that started us in the background
            signal.signal(ignored, signal.SIG_DFL)
        if step_down:
            step_down()  # before the death signal: changing credentials clears it
        if LINUX:
            _libc.prctl(_PR_SET_PDEATHSIG, dies_by)
            if os.getppid() != parent:  # the parent died between fork and prctl
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


class ChildProcess(Protocol):
    """The part of the interface of `subprocess.Popen` that is used."""

    pid: int

    @property
    def returncode(self) -> int | None: ...
    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def send_signal(self, number: int, /) -> None: ...
    def kill(self) -> None: ...


def stop(child: ChildProcess, *, by: signal.Signals = signal.SIGTERM, grace: float = 10.0) -> None:
    """Send `by`, wait up to `grace` seconds, then kill. Returns when the process has exited, or had already."""
    if child.poll() is None:
        child.send_signal(by)
        try:
            child.wait(grace)
        except subprocess.TimeoutExpired:
            child.kill()
    child.wait()


def stop_group(child: ChildProcess, *, grace: float) -> None:
    """Wait up to `grace` seconds for a child, then kill it and what is left of its process group."""
    try:
        child.wait(grace)
    except subprocess.TimeoutExpired:
        child.kill()
    child.wait()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)


def own(directory: Path) -> None:
    """Make the user of `never_root` children the owner of an empty directory."""
    if os.geteuid() == 0 and not _namespaces_allowed():
        os.chown(directory, NOBODY, NOBODY)


# -- not being root ------------------------------------------------------------------------------------------


def _step_down() -> Callable[[], None]:
    return _into_namespace if _namespaces_allowed() else _become_nobody


def _into_namespace() -> None:
    """Enter a user namespace in which our uid and gid, and so our files, are those of `nobody`."""
    uid, gid = os.geteuid(), os.getegid()
    if _libc.unshare(_CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{NOBODY} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{NOBODY} {gid} 1")


def _become_nobody() -> None:
    """Change to the uid of `nobody`, keeping across exec the capability to traverse directories such as /root."""
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
    """Whether the kernel allows us to create a user namespace; tried in a child process."""
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

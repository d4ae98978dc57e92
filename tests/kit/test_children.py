"""Children that compute: started without a fork, told nothing, and gone when they are to be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.kit import children
from tests.client import eventually

ROOT = Path(__file__).resolve().parents[2]
#: Tells its environment, then waits for its parent.
TELLING = """
import json, os, socket
sock = socket.socket(fileno=3)
sock.setblocking(True)
sock.sendall(json.dumps(sorted(os.environ)).encode() + b"\\n")
sock.recv(1)
"""
#: In a process like web's, a file that is inheritable (as gunicorn's listening socket) and a check by the child.
UNDER_GEVENT = """
from gevent import monkey; monkey.patch_all()
import json, os
forks = []
os.register_at_fork(before=lambda: forks.append(1))
for kept in (*os.pipe(), *os.pipe()):
    os.set_inheritable(kept, True)
from common.kit import checker
found = checker.check("k", {"type": "integer"}, b'"x"', most=1)
child = checker.first.started.child
files = [int(name) for name in os.listdir(f"/proc/{child.pid}/fd")]
print(json.dumps([len(forks), found[0][1], sorted(files)]))
"""


@pytest.fixture
def child(monkeypatch: pytest.MonkeyPatch) -> Iterator[children.Child]:
    """Not fresh: it has started."""
    monkeypatch.setenv("DATABASE_URL", "postgresql://secret")
    child = children.Child(["-I", "-c", TELLING], {"GIVEN": "1"})
    child.socket.settimeout(60)
    yield child
    child.end()


def test_a_child_knows_nothing_of_its_parent(child: children.Child) -> None:
    with child.socket.makefile() as lines:
        told = json.loads(lines.readline())
    assert "GIVEN" in told
    assert set(told) <= {"GIVEN", "LC_CTYPE", *children.ENVIRONMENT}


@pytest.mark.parametrize("last", [False, True])
def test_a_child_is_behind_others_from_the_beginning(last: bool) -> None:
    """In a session of its own: otherwise the kernel may weigh it together with its parent, as one against others."""
    child = children.Child(["-I", "-c", TELLING], last=last)
    try:
        mine = os.getpriority(os.PRIO_PROCESS, 0)
        assert os.getsid(child.pid) == child.pid
        assert os.getpriority(os.PRIO_PROCESS, child.pid) == min(children.LOWEST, mine + children.NICE)
    finally:
        child.end()


def test_a_child_that_is_ended_is_collected(child: children.Child) -> None:
    assert child.is_alive()
    child.end()

    def gone() -> bool:
        children._reap()
        return not Path(f"/proc/{child.pid}").exists()

    assert eventually("the child is gone", 20, gone)
    assert children._killed == set()


def test_a_child_ends_with_its_parents_socket(child: children.Child) -> None:
    child.socket.recv(1)
    child.socket.close()
    assert eventually("the child has ended", 20, lambda: not child.is_alive())


def test_a_child_of_the_process_before_a_fork_is_not_ours(
    child: children.Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as forked:
        forked.setattr(os, "getpid", lambda: child.parent + 1)
        assert not child.is_alive()
    assert child.is_alive()


def test_under_gevent_nothing_is_forked_and_nothing_inherited() -> None:
    done = subprocess.run([sys.executable, "-c", UNDER_GEVENT], cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [0, '"x" is not of type "integer"', [0, 1, 2, children.FD]]

"""Whoever makes temporary directories removes them, also when it is told to end before its time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
#: A test that lasts until its run is ended.
WAITS = """
import signal

def test_waits(redis_server):
    print("ready", flush=True)
    signal.pause()
"""


def ended(temporary: Path, command: list[str], number: signal.Signals) -> tuple[list[str], str]:
    """Start it, end it as soon as it is ready; → what it leaves in its temporary directory, and what it said."""
    child = subprocess.Popen(
        [sys.executable, *command],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert child.stdout
    said = ""
    for line in child.stdout:
        said += line
        if "ready" in line:
            assert list(temporary.glob("joyfull-*")), "there is something to remove"
            child.send_signal(number)
    child.wait(60)
    return [path.name for path in temporary.glob("joyfull-*")], said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_run_of_tests_that_is_ended_leaves_nothing_behind(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "test_waits.py").write_text(WAITS)
    command = ["-m", "pytest", "-s", "-p", "tests.conftest", "-c", str(ROOT / "pyproject.toml")]

    with tempfile.TemporaryDirectory(prefix="t-") as temporary:  # a short path: sockets are in it
        left, said = ended(Path(temporary), [*command, str(tmp_path / "test_waits.py")], number)

    assert "KeyboardInterrupt" in said
    assert left == [], said

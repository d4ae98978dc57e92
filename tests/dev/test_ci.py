"""`.ci/run` on a small project of its own: what passes only when it is repeated is named where nobody overlooks it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

PYPROJECT = """
[tool.pytest.ini_options]
testpaths = ["tests"]
addopts = "-q --strict-markers -p no:schemathesis -p no:hypothesispytest -p no:anyio"
cache_dir = ".venv/pytest"
markers = ["platform: as in the real one"]
"""
TESTS = """
from pathlib import Path
import pytest

def times(name):
    file = Path(__file__).parent / name
    file.write_text(file.read_text() + "x" if file.exists() else "x")
    return len(file.read_text())

def test_right(): pass

@pytest.mark.parametrize("which", ["a b", "c"])
def test_at_the_second_time(which): assert times(which) > 1

@pytest.mark.platform
def test_on_the_platform(): assert times("platform") > 1
"""
WRONG = """
def test_wrong(): assert False
"""
NEEDED = ("rabbitmq-server", "nginx", "pgbouncer", "redis-server", "zsh", "fish", "chromium")
SUMMARY = re.compile(r"(no tests ran|\d+ (passed|failed|deselected|skipped)[\w, ]*) in [\d.]+s")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A checkout with our `.ci/run` and Makefile, a gate that says yes, and nothing to be installed."""
    root, commands = tmp_path / "project", tmp_path / "bin"
    for directory in (root / ".ci", root / "dev", root / "tests", root / ".venv", commands):
        directory.mkdir(parents=True)
    for name in (".ci/run", "dev/testing.py"):
        shutil.copy(ROOT / name, root / name)
    for file in (ROOT / "Makefile", *ROOT.glob("requirements*.txt")):
        shutil.copy(file, root)
    (root / "pyproject.toml").write_text(PYPROJECT)
    (root / "tests/test_it.py").write_text(TESTS)
    (root / "dev/check.py").write_text('print("the gate says yes")\n')
    for name in ("bin", "lib", "pyvenv.cfg"):
        (root / ".venv" / name).symlink_to(Path(sys.prefix) / name)
    for name in NEEDED:  # found: none is to be installed
        (commands / name).write_text("#!/bin/sh\n")
        (commands / name).chmod(0o755)
    (root / ".venv/.dev").touch()
    return root


def run(project: Path) -> tuple[int, list[str]]:
    environ = {"PATH": f"{project.parent / 'bin'}:{os.environ['PATH']}", "HOME": str(project)}
    command = [project / ".ci/run"]
    done = subprocess.run(
        command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=300
    )
    return done.returncode, done.stdout.rstrip("\n").split("\n")


def test_what_passes_only_when_repeated_is_named_last(project: Path) -> None:
    status, said = run(project)

    assert status == 0, said
    assert said[-4:-1] == [
        "FLAKY: tests/test_it.py::test_at_the_second_time[a b]",
        "FLAKY: tests/test_it.py::test_at_the_second_time[c]",
        "FLAKY: tests/test_it.py::test_on_the_platform",
    ]
    assert SUMMARY.fullmatch(said[-1]), said[-1]


def test_what_fails_twice_is_not_called_flaky(project: Path) -> None:
    (project / "tests/test_wrong.py").write_text(WRONG)
    status, said = run(project)

    assert status == 1
    assert [line for line in said if line.startswith("FLAKY")] == said[-4:-1]
    assert not [line for line in said if line.startswith("FLAKY") and "wrong" in line]
    assert SUMMARY.fullmatch(said[-1]), said[-1]


def test_a_run_without_failures_is_not_repeated(project: Path) -> None:
    (project / "tests/test_it.py").write_text("def test_right(): pass\n")
    status, said = run(project)

    assert status == 0
    assert not [line for line in said if line.startswith(("FLAKY", "once more"))]
    assert SUMMARY.fullmatch(said[-1]), said[-1]

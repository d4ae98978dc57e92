"""The package as it is installed: a wheel of this tree, in an environment that has nothing else, does the main job."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from zipfile import ZipFile

import pytest

from joyfull.version import VERSION
from tests.client import Client
from tests.conftest import ROOT

SOURCE = ROOT / "clients" / "python"
PROGRAM = """
import asyncio, sys
import joyfull
from joyfull import AsyncClient, Client

assert joyfull.__file__.startswith(sys.prefix), joyfull.__file__
with Client() as client:
    print(client.run(sys.argv[1], {"text": "threads"})["echo"]["text"])

async def main():
    async with AsyncClient() as client:
        print((await client.run(sys.argv[1], {"text": "an event loop"}))["echo"]["text"])

asyncio.run(main())
"""


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """`bin` of a new environment that has the wheel and what it is locked to. Skipped where no index is reachable."""
    home, copy = tmp_path / "environment", tmp_path / "source"
    venv.create(home, with_pip=False)
    shutil.copytree(SOURCE, copy, ignore=shutil.ignore_patterns("__pycache__", "build", "*.egg-info"))
    locked = ("--require-hashes", "-r", str(SOURCE / "requirements.txt"))
    with ThreadPoolExecutor() as pool:
        dependencies = pool.submit(_pip, home, "install", "--no-compile", *locked)
        building = pool.submit(_pip, home, "wheel", "--no-deps", "--wheel-dir", str(tmp_path), str(copy))
    for step in (dependencies, building):
        step.result()
    (wheel,) = tmp_path.glob("*.whl")
    assert {name.split("/")[0] for name in ZipFile(wheel).namelist()} == {"joyfull", f"joyfull-{VERSION}.dist-info"}
    assert "joyfull/py.typed" in ZipFile(wheel).namelist()
    _pip(home, "install", "--no-compile", "--no-deps", str(wheel))
    _pip(home, "check")
    return home / "bin"


def _pip(home: Path, *arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--python", str(home), "--retries", "1", "--timeout", "10", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode and "onnection" in done.stdout + done.stderr:
        pytest.skip(f"the package index is unreachable: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_main_job_from_a_wheel(client: Client, offer: Callable[..., str], installed: Path, tmp_path: Path) -> None:
    tool, key, url = offer(), client.keys.create(name="wheel").key, client.base_url
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "JOYFULL_API_KEY": key, "JOYFULL_BASE_URL": url}

    def said(*command: str) -> str:
        done = subprocess.run(command, env=environ, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert said(f"{installed}/python", "-I", "-c", PROGRAM, tool).splitlines() == ["threads", "an event loop"]
    assert said(f"{installed}/joyfull", "--version").startswith(f"joyfull {VERSION}")
    assert json.loads(said(f"{installed}/joyfull", "run", tool, "text=a shell"))["echo"] == {"text": "a shell"}
    assert [entry.tokens_used for entry in client.usage.list()] == [1 + 7, 1 + 13, 1 + 7]

"""Environments of their own for what the platform is compared with: nothing of theirs is among the project's packages.

Each is made once, and kept in the temporary directory of this user.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path


class NotInstalled(Exception):
    """With the last line of what was said."""


def place(name: str) -> Path:
    """Where an environment is, if it was made; then it has a file `installed`."""
    return Path(tempfile.gettempdir()) / f"joyfull-bench-{name}-{os.geteuid()}"


def installed(name: str, *arguments: str) -> Path:
    """The environment with what these arguments of `pip install` name. Raises `NotInstalled`."""
    where = place(name)
    if not (done := where / "installed").exists():
        _run(sys.executable, "-m", "venv", str(where))
        _run(str(where / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", *arguments)
        done.touch()
    return where


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotInstalled((done.stderr.strip().splitlines() or ["no reason given"])[-1])


def version(where: Path, package: str) -> str:
    """The installed version of a package."""
    command = [str(where / "bin" / "pip"), "show", package]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return next((line.split()[1] for line in said.splitlines() if line.startswith("Version:")), "")

"""The explorer finds the holes that were there, without being told where.

Each patch takes one repair back, in a copy of the project. In the copy the same tests run as here, and must fail with a
finding. A patch that does not apply any more is a failure too: it is to be written anew, for what the code is now.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PATCHES = sorted(Path(__file__).with_name("holes").glob("*.patch"))
FOLDERS = ("common", "worker", "web", "dev", "tests", "migrations", "examples", "clients/python")
FILES = ("celeryconfig.py", "wsgi.py", "pyproject.toml")
#: What is explored in search of them: whole states, not the place that the patch is at.
SLICE = {
    "1": "exact and submit and one_verb",
    "2": "once and two_verbs and (lost or over)",
    "3": "foreign and orphans and one_verb",
    "4": "foreign and elsewhere and one_verb",
    "5": "scheduled and fire and one_verb",
    "6": "scheduled and spend and one_verb",
    "7": "people and revoke and one_verb",
    "8": "moved and submit and one_verb",
    "9": "summed and wake and one_verb",
}
#: What a schedule broke, or what broke without any fault.
FINDINGS = ("broken: (", "failed undisturbed")


@pytest.mark.parametrize("patch", PATCHES, ids=lambda path: path.stem)
def test_a_hole_is_found(patch: Path, tmp_path: Path) -> None:
    for name in FOLDERS:
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, tmp_path / name)
    applied = subprocess.run(["git", "apply", str(patch)], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert applied.returncode == 0, f"the patch does not apply any more: {applied.stderr}"
    command = [sys.executable, "-m", "pytest", "-x", "-q", "tests/explorer/test_search.py"]
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "EXPLORE"))}
    found = subprocess.run(
        [*command, "-k", SLICE[patch.name[0]]], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
    )
    assert found.returncode == 1, f"nothing was found:\n{found.stdout[-2000:]}\n{found.stderr[-2000:]}"
    assert any(finding in found.stdout for finding in FINDINGS), found.stdout[-3000:]

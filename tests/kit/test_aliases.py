"""Aliases that modules keep have their columns before any thread reads them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

IMPORT_EVERYTHING = """
import gc, pkgutil, sys
from importlib import import_module
for name in ("common", "web", "worker"):
    for module in pkgutil.walk_packages(import_module(name).__path__, f"{name}."):
        import_module(module.name)
exec(sys.argv[1])
from sqlalchemy.sql.selectable import AliasedReturnsRows
kept = [each for each in gc.get_objects() if isinstance(each, AliasedReturnsRows)]
print(len(kept), *(each.name for each in kept if "_columns" not in vars(each)))
"""


def without_columns(more: str) -> tuple[int, list[str]]:
    """How many aliases, subqueries and CTEs a fresh process keeps, and those whose columns are not made yet."""
    child = [sys.executable, "-c", IMPORT_EVERYTHING, more]
    kept, *names = subprocess.run(child, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    return int(kept), names


@pytest.mark.parametrize(
    ("more", "found"),
    [
        ("", []),
        (
            "from sqlalchemy.orm import aliased; from common.models.tools import Tool; x = aliased(Tool, name='late')",
            ["late"],
        ),
    ],
    ids=["ours", "one made with aliased()"],
)
def test_kept_aliases_have_their_columns(more: str, found: list[str]) -> None:
    kept, names = without_columns(more)
    assert kept >= 1
    assert names == found

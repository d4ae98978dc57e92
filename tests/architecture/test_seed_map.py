"""docs/decisions/seed-map.md is true: each task once, each path there, each endpoint served or said to be missing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from common.settings import Settings
from common.settings.links import API_PREFIX as BASE
from web.app import create_app

ROOT = Path(__file__).resolve().parents[2]
ROWS = [
    line.strip("|").split("|")
    for line in (ROOT / "docs/decisions/seed-map.md").read_text(encoding="utf-8").splitlines()
    if re.match(r"\| T\d", line)
]
PARAMETER = re.compile(r"<(?:[^:>]+:)?")
ENDPOINT = re.compile(r"(GET|POST|PATCH|DELETE) (/\S+)")


def quoted(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def test_every_task_has_one_row() -> None:
    assert [row[0].strip() for row in ROWS] == [f"T{number:03}" for number in range(1, 118)]
    assert {len(row) for row in ROWS} == {4}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0].strip())
def test_every_row_says_where_to_look(row: list[str]) -> None:
    paths = quoted(row[2])

    assert paths
    assert [path for path in paths if not any(ROOT.glob(path.rstrip("/")))] == []


def test_endpoints_are_served_unless_the_row_says_not_yet(settings: Settings) -> None:
    served = {
        f"{method} {PARAMETER.sub('{', rule.rule).replace('>', '}').removeprefix(BASE)}"
        for rule in create_app(settings).url_map.iter_rules()
        for method in rule.methods or ()
    }
    named = {word: "*not yet*" not in row[3] for row in ROWS for word in quoted(row[1]) if ENDPOINT.fullmatch(word)}

    assert len(named) > 20
    assert {endpoint: endpoint in served for endpoint in named} == named

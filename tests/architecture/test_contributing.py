"""CONTRIBUTING.md: twenty everyday changes, and the modules that they are made in, which exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
QUESTIONS = [
    (match[1], re.findall(r"`([^`]+)`", match[2]))
    for match in re.finditer(r"^\| ([^|]+) \| (`[^|]+`) \|$", PAGE.partition("## Which module")[2], re.MULTILINE)
]


def test_there_are_at_least_twenty_questions() -> None:
    assert len(QUESTIONS) >= 20
    assert len({question for question, _ in QUESTIONS}) == len(QUESTIONS)


@pytest.mark.parametrize(("question", "modules"), QUESTIONS, ids=[question for question, _ in QUESTIONS])
def test_each_is_answered_by_modules_that_exist(question: str, modules: list[str]) -> None:
    assert modules
    assert [module for module in modules if not (ROOT / module).exists()] == []


def test_recipes_name_tests_that_exist() -> None:
    named = re.findall(r'^`make test ARGS="([^"]+)"`$', PAGE, re.MULTILINE)

    assert len(named) == PAGE.count("### Add a"), "each recipe ends with the tests that hold it"
    assert [path for paths in named for path in paths.split() if not (ROOT / path).exists()] == []

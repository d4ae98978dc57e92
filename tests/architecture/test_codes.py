"""Every error code that a client may be told occurs in a test that asks for it."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from common import errors
from web.http import problems

TESTS = Path(__file__).resolve().parents[1]
#: These list all codes, whether anybody produces them or not.
LISTS = {"test_docs.py", "test_codes.py"}


def words(source: str) -> Iterator[str]:
    """The texts in this code: neither comments nor docstrings, which mention more than they test."""
    tree = ast.parse(source)
    said = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in said:
            yield node.value


def without_test(codes: Iterable[str], sources: Iterable[str]) -> list[str]:
    told = {word for source in sources for word in words(source)}
    return [code for code in codes if code not in told]


def test_every_error_code_is_in_some_test() -> None:
    files = [file for file in TESTS.rglob("test_*.py") if file.name not in LISTS]
    codes = [kind.code for kind in problems.catalogue()]

    assert len(codes) > 40
    assert without_test(codes, (file.read_text(encoding="utf-8") for file in files)) == []


@pytest.mark.parametrize(
    "source",
    ["", '# "gone"', 'def test() -> None:\n    """gone"""', 'assert told == "long gone"', "assert gone"],
)
def test_a_code_that_is_only_mentioned_is_in_no_test(source: str) -> None:
    assert without_test(["gone", "here"], [source, 'assert told["code"] == "here"']) == ["gone"]


def test_every_error_has_a_place_in_the_catalogue() -> None:
    def leaves(kind: type[errors.PlatformError]) -> Iterator[type[errors.PlatformError]]:
        below = [leaf for each in kind.__subclasses__() for leaf in leaves(each)]
        return iter(below or [kind])

    known = {kind.code for kind in problems.catalogue()}
    assert [kind.__name__ for kind in leaves(errors.PlatformError) if kind.code not in known] == []

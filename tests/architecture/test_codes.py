"""Every error code that a client may be told occurs in a test that asks for it."""

from __future__ import annotations

from pathlib import Path

from web.http import problems

TESTS = Path(__file__).resolve().parents[1]
#: These list all codes, whether anybody produces them or not.
LISTS = {"test_docs.py", "test_codes.py"}


def test_every_error_code_is_in_some_test() -> None:
    files = [file for file in TESTS.rglob("test_*.py") if file.name not in LISTS]
    written = "\n".join(file.read_text(encoding="utf-8") for file in files)

    assert [kind.code for kind in problems.catalogue() if f'"{kind.code}"' not in written] == []

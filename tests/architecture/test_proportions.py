"""`tools/proportions.py` counts what it says it counts, and is past no limit."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import proportions

MODULE = '''"""A module."""
import logging
from typing import Any


class Known:
    """With a docstring."""

    @property
    def short(self) -> int:
        return 1

    def _hidden(self, x) -> None:
        """Not public, and not annotated."""


class _Row: ...


def long(rows: list[Row[Any]], *more: Any) -> Any:
    """Four lines."""
    try: return rows
    except (ValueError, Exception): raise


async def bare() -> None:
    try: ...
    except BaseException: logging.exception("x")
    except: ...
    except ValueError: ...
'''


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "one.py").write_text(MODULE)
    (tmp_path / "two.py").write_text("class Known:\n    pass\n" + "\n" * 249)
    (tmp_path / "three.py").write_text('"""Long."""\n' * 301)
    return tmp_path


def test_each_figure_is_counted(tree: Path) -> None:
    code = proportions.measured(sorted(tree.glob("*.py")))

    assert sorted(code.functions) == [2, 2, 4, 5]
    assert (code.annotated, len(code.functions)) == (3, 4)
    assert (code.documented, code.public) == (4, 8), "two modules, Known, long; of these and short, bare, two, Known"
    assert (code.larger_than(250), code.larger_than(300)) == (2, 1)
    assert (code.blanket, code.any, code.row_any) == (3, 3, 1)
    assert code.classes == {"Known": 2, "_Row": 1}
    assert code.lines == 301 + 251 + len(MODULE.splitlines())


def test_what_is_past_a_limit_fails_only_when_it_is_checked(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert proportions.main([str(tree)]) == 0
    assert proportions.main(["--check", str(tree)]) == 1
    said = capsys.readouterr().out
    assert "past the limit: functions annotated, %, public names with a docstring, %, modules over 250 lines, %" in said
    assert "`Any`" not in said.rpartition("past the limit")[2]


def test_the_code_is_within_its_limits(capsys: pytest.CaptureFixture[str]) -> None:
    assert proportions.main(["--check"]) == 0, capsys.readouterr().out

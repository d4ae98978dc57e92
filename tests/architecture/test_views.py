"""A view parses, calls one function of `common` and renders: that fits into eight lines."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MOST = 8


def views() -> Iterator[tuple[str, int]]:
    """Every view with the lines of its body, without the docstring."""
    for file in sorted((ROOT / "web").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and any(is_route(each) for each in node.decorator_list):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                lines = (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
                yield f"{file.relative_to(ROOT)}:{node.name}", lines


def is_route(decorator: ast.expr) -> bool:
    """Whether it is `@blueprint.get(…)`, or of another method."""
    return (
        isinstance(decorator, ast.Call)
        and isinstance(decorator.func, ast.Attribute)
        and decorator.func.attr in {"get", "post", "put", "patch", "delete", "route"}
    )


def test_a_view_has_at_most_eight_lines() -> None:
    found = dict(views())
    assert len(found) > 60
    assert {name: lines for name, lines in found.items() if lines > MOST} == {}

"""`python -m tools.proportions`: how large, how documented and how typed the code is; `--check` holds it to limits.

Limits are what the code meets today: lower them when it gets better, never raise them to get a change through. Goals
are what a newcomer should find. `python -m tools.proportions ../other/src` measures another tree in the same way.
"""

from __future__ import annotations

import argparse
import ast
import statistics
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("common", "web", "worker")
#: The Python client is measured by itself: it gives its own names to what the server has too. Its models are generated.
CLIENT = ROOT / "clients" / "python" / "joyfull"
BLANKET = {"Exception", "BaseException"}
Function = ast.FunctionDef | ast.AsyncFunctionDef
Documented = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


@dataclass
class Code:
    """What was counted in some modules."""

    modules: list[int] = field(default_factory=list)  # lines of each
    functions: list[int] = field(default_factory=list)  # lines of each, from its `def` on
    annotated: int = 0
    public: int = 0
    documented: int = 0
    blanket: int = 0
    any: int = 0
    row_any: int = 0
    classes: Counter[str] = field(default_factory=Counter)  # in how many modules each name is given to a class

    def add(self, text: str) -> None:
        """Count one module."""
        tree = ast.parse(text)
        self.modules.append(len(text.splitlines()))
        self._document(tree)
        for node in ast.walk(tree):
            self._count(node)
        self.classes.update({node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)})

    def _count(self, node: ast.AST) -> None:
        if isinstance(node, Documented) and not node.name.startswith("_"):
            self._document(node)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            self.functions.append((node.end_lineno or node.lineno) - node.lineno + 1)
            self.annotated += is_annotated(node)
        elif isinstance(node, ast.ExceptHandler):
            self.blanket += is_blanket(node)
        elif isinstance(node, ast.Name):
            self.any += node.id == "Any"
        elif isinstance(node, ast.Subscript):
            self.row_any += ast.unparse(node) == "Row[Any]"

    def _document(self, node: ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> None:
        self.public += 1
        self.documented += ast.get_docstring(node) is not None

    def larger_than(self, lines: int) -> int:
        """How many modules have more lines than that."""
        return sum(each > lines for each in self.modules)

    @property
    def lines(self) -> int:
        """Of all modules, blank ones and comments included."""
        return sum(self.modules)


def is_annotated(function: Function) -> bool:
    """Whether every parameter (but `self` and `cls`) and what is returned have a type."""
    of = function.args
    every = [*of.posonlyargs, *of.args, *of.kwonlyargs, *(each for each in (of.vararg, of.kwarg) if each)]
    return function.returns is not None and all(each.annotation or each.arg in {"self", "cls"} for each in every)


def is_blanket(handler: ast.ExceptHandler) -> bool:
    """Whether it catches everything: no type, `Exception` or `BaseException`, alone or among others."""
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(kind is None or (isinstance(kind, ast.Name) and kind.id in BLANKET) for kind in kinds)


@dataclass(frozen=True, slots=True)
class Measure:
    """One line of the table: at most `limit`, or at least, where the aim is `more`."""

    name: str
    of: Callable[[Code], float]
    limit: float
    goal: float
    more: bool = False
    places: int = 0

    def exceeded(self, code: Code) -> bool:
        """Whether the code is past the limit."""
        found = self.of(code)
        return found < self.limit if self.more else found > self.limit


def percent(part: float, whole: float) -> float:
    """A share, rounded as it is shown."""
    return round(100 * part / whole, 1) if whole else 0.0


def tenth(lines: Sequence[int]) -> int:
    """What nine functions in ten do not exceed."""
    return sorted(lines)[int(len(lines) * 0.9)] if lines else 0


MEASURES = (
    Measure("lines of a function, median", lambda code: statistics.median(code.functions or [0]), 6, 8),
    Measure("lines of a function, 90th percentile", lambda code: tenth(code.functions), 14, 30),
    Measure("lines of a function, maximum", lambda code: max(code.functions, default=0), 59, 60),
    Measure("functions annotated, %", lambda code: percent(code.annotated, len(code.functions)), 100, 100, True, 1),
    Measure("public names with a docstring, %", lambda code: percent(code.documented, code.public), 90, 90, True, 1),
    Measure(
        "modules over 250 lines, %", lambda code: percent(code.larger_than(250), len(code.modules)), 1.8, 5, False, 1
    ),
    Measure("modules over 250 lines", lambda code: code.larger_than(250), 8, 10),
    Measure("modules over 300 lines", lambda code: code.larger_than(300), 0, 0),
    Measure(
        "blanket excepts in 1,000 lines", lambda code: round(1000 * code.blanket / code.lines, 2), 0.16, 0.2, False, 2
    ),
    Measure("`Any`", lambda code: code.any, 30, 150),
    Measure("`Row[Any]`", lambda code: code.row_any, 0, 0),
    Measure("class names in two or more modules", lambda code: sum(n > 1 for n in code.classes.values()), 0, 0),
)


def measured(files: Iterable[Path]) -> Code:
    """All that is counted in these files."""
    code = Code()
    for file in files:
        code.add(file.read_text(encoding="utf-8"))
    return code


def table(columns: dict[str, Code], *, limits: bool) -> Iterator[str]:
    """A line for each measure; a `!` where the last column is past its limit."""
    heads = [*columns, *(("limit", "goal") if limits else ())]
    yield " " * 38 + "".join(f"{head[-11:]:>12}" for head in heads)
    for measure in MEASURES:
        numbers = [measure.of(code) for code in columns.values()] + ([measure.limit, measure.goal] if limits else [])
        cells = "".join(f"{number:>12.{measure.places}f}" for number in numbers)
        past = limits and measure.exceeded(list(columns.values())[-1])
        yield f"{measure.name:38}{cells}{' !' if past else ''}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; with `--check`, 1 when a limit is exceeded."""
    parser = argparse.ArgumentParser(prog="tools.proportions", description="Proportions of the code.")
    parser.add_argument("--check", action="store_true", help="fail when a limit is exceeded")
    parser.add_argument("tree", nargs="*", type=Path, help="other directories than " + ", ".join(ROOMS))
    given = parser.parse_args(arguments)
    trees: list[Path] = given.tree or [ROOT / room for room in ROOMS]
    files = {tree.name: sorted(tree.rglob("*.py")) for tree in trees}
    columns = {name: measured(found) for name, found in files.items()}
    columns["all"] = whole = measured(file for found in files.values() for file in found)
    print(*table(columns, limits=not given.tree), sep="\n")
    exceeded = [measure.name for measure in MEASURES if measure.exceeded(whole)]
    if not given.tree:
        client = measured(file for file in sorted(CLIENT.rglob("*.py")) if file.parent.name != "models")
        print("", *table({"client": client}, limits=True), sep="\n")
        exceeded += [f"{measure.name} (client)" for measure in MEASURES if measure.exceeded(client)]
    if given.check and exceeded:
        print(f"past the limit: {', '.join(exceeded)}")
    return 1 if given.check and exceeded else 0


if __name__ == "__main__":
    sys.exit(main())

"""What is printed where: data on stdout, everything else on stderr; colours only for people."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from joyfull.wire import Json

Row = Mapping[str, Json]
FORMATS = ("table", "json", "ndjson", "csv", "id")
#: No line of a pipe is wrapped.
UNLIMITED = 100_000
#: What a column that can be wrapped needs at least.
NARROW = 16
#: The sign and the colour of each state: of invocations, deliveries and endpoints.
STATES = {
    "succeeded": ("✓", "green"), "running": ("▸", "cyan"), "queued": ("·", "dim"),
    "failed": ("✗", "red"), "expired": ("✗", "red"), "canceled": ("–", "yellow"),
    "delivered": ("✓", "green"), "pending": ("·", "dim"),
    "enabled": ("✓", "green"), "disabled": ("✗", "red"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: a heading, and where its value is (`tool.slug`), or how it is made."""

    title: str
    of: str | Callable[[Row], object]
    right: bool = False
    #: Whether it may be wrapped; ids never are.
    folds: bool = False

    def value(self, row: Row) -> str:
        """As text; nothing where there is nothing."""
        found = self.of(row) if callable(self.of) else at(row, self.of)
        if isinstance(found, bool):
            return "yes" if found else "no"
        if isinstance(found, int):
            return f"{found:,}"
        return "" if found is None else str(found)


def _fitting(rows: list[Row], columns: list[Column], width: int) -> tuple[list[Column], list[Column]]:
    """The columns that there is room for, the left ones first; and the others."""
    room = width
    shown: list[Column] = []
    for column in columns:
        longest = max(len(column.title), *(cell_len(column.value(row)) for row in rows))
        needed = min(longest, NARROW) if column.folds else longest + (2 if column.of == "status" else 0)
        if needed <= room or not shown:
            shown.append(column)
            room -= needed + 2
    return shown, [column for column in columns if column not in shown]


def at(row: Row, path: str) -> Json:
    """The value at a dotted path; None where there is none."""
    found: Json = row
    for name in path.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


@dataclass(slots=True)
class Terminal:
    """Both streams, and how they are written."""

    color: str = "auto"
    format: str = "table"
    fields: tuple[str, ...] = ()
    quiet: bool = False
    out: Console = field(init=False)
    err: Console = field(init=False)

    def __post_init__(self) -> None:
        self.out, self.err = self._console(sys.stdout.isatty()), self._console(sys.stderr.isatty(), stderr=True)

    def _console(self, is_terminal: bool, *, stderr: bool = False) -> Console:
        forced = self.color == "always" or (self.color == "auto" and os.environ.get("CLICOLOR_FORCE", "0") != "0")
        plain = self.color == "never" or not (is_terminal or forced)
        wide = None if is_terminal or "COLUMNS" in os.environ else UNLIMITED
        return Console(
            stderr=stderr,
            force_terminal=True if forced else None,
            no_color=plain or None,
            color_system=None if plain else "auto" if not forced else "standard",
            highlight=False,
            soft_wrap=False,
            width=wide,
            emoji=False,
            markup=False,
        )

    def note(self, text: str | Text) -> None:
        """For people, not for pipes."""
        if not self.quiet:
            self.err.print(text, soft_wrap=True)

    def problem(self, text: str) -> None:
        """What went wrong; also with --quiet."""
        self.err.print(Text.assemble(("✗ ", "red"), text), soft_wrap=True)

    def state(self, status: str) -> Text:
        """A sign, the word, and a colour beside them."""
        sign, style = STATES.get(status, ("?", ""))
        return Text(f"{sign} {status}", style)

    # -- data -----------------------------------------------------------------------------------------------------

    def rows(self, rows: Iterable[Row], columns: list[Column]) -> None:
        """A list, as it was asked for."""
        if self.fields:
            columns = [Column(name, name) for name in self.fields]
        if self.format == "table":
            self._table(list(rows), columns)
        elif self.format == "json":
            self.json([self._picked(row) for row in rows])
        elif self.format == "csv":
            self._csv(rows, columns)
        else:
            for row in rows:
                self.line(
                    str(row.get("id", row.get("slug", ""))) if self.format == "id" else compact(self._picked(row))
                )

    def one(self, row: Row, columns: list[Column]) -> None:
        """One resource: its names and values below each other."""
        if self.format == "json":
            return self.json(self._picked(row))
        if self.format != "table":
            return self.rows([row], columns)
        grid = Table.grid(padding=(0, 2, 0, 0), pad_edge=False)
        grid.add_column(style="dim", no_wrap=True)
        grid.add_column(overflow="fold")
        for column in [Column(name, name) for name in self.fields] or columns:
            if column.value(row):
                grid.add_row(column.title, self._cell(column, row))
        self._print(grid)
        return None

    def _picked(self, row: Row) -> Row:
        return {name: at(row, name) for name in self.fields} if self.fields else row

    def _cell(self, column: Column, row: Row) -> Text:
        value = column.value(row)
        return self.state(value) if column.of == "status" and value in STATES else Text(value)

    def _table(self, rows: list[Row], columns: list[Column]) -> None:
        if not rows:
            return self.note("(none)")
        shown, hidden = _fitting(rows, columns, self.out.width)
        table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
        for column in shown:
            whole = not column.folds
            justify = "right" if column.right else "left"
            table.add_column(column.title, no_wrap=whole, overflow="fold", justify=justify)  # type: ignore[arg-type]
        for row in rows:
            table.add_row(*(self._cell(column, row) for column in shown))
        self._print(table)
        if hidden:
            self.note(f"(too narrow for: {', '.join(column.title for column in hidden)})")
        return None

    def _print(self, table: Table) -> None:
        with self.out.capture() as captured:
            self.out.print(table)
        for line in captured.get().splitlines():
            self.line(line.rstrip())

    def _csv(self, rows: Iterable[Row], columns: list[Column]) -> None:
        writer = csv.writer(sys.stdout)
        writer.writerow([column.title for column in columns])
        writer.writerows([column.value(row) for column in columns] for row in rows)

    def json(self, value: object) -> None:
        """One document."""
        text = json.dumps(value, ensure_ascii=False, indent=2)
        if self.out.color_system is not None:
            self.out.print_json(text, indent=2, ensure_ascii=False)
        else:
            self.line(text)

    def line(self, text: str) -> None:
        """Text as it is, on a line of its own."""
        self.text(f"{text}\n")

    def text(self, text: str) -> None:
        """Text as it is, at once."""
        sys.stdout.write(text)
        sys.stdout.flush()


def compact(value: object) -> str:
    """JSON in one line."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def when(path: str) -> Callable[[Row], object]:
    """A time, to the second, in UTC as the API has it."""
    return lambda row: (at(row, path) or "")[:19].replace("T", " ")

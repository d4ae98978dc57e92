"""The demo's output: animated and coloured on a terminal, plain lines of text elsewhere."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from dev.demo.work import Job
from joyfull import models

BAR_WIDTH = 24
BALANCE_WIDTH = 60
PLAIN_WIDTH = 110
PLAIN_EVERY_SECONDS = 1.0

STAGES = {"not sent": "dim", "queued": "yellow", "running": "cyan", "on its way": "blue", "succeeded": "green"}
FULL, HALF = "█", "▌"


class Screen:
    """A console that is animated only on a capable terminal."""

    def __init__(self) -> None:
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(errors="replace")  # terminals with a limited character set
        self.console = Console(highlight=False)
        self.moves = self.console.is_terminal and not self.console.is_dumb_terminal
        if not self.console.is_terminal:
            self.console = Console(highlight=False, width=PLAIN_WIDTH, force_terminal=False, color_system=None)

    @property
    def width(self) -> int:
        return self.console.width

    def title(self, text: str) -> None:
        self.console.print()
        self.console.print(Text(text, style="bold"))

    def say(self, markup: str) -> None:
        self.console.print(f"  {markup}")

    def done(self, markup: str) -> None:
        self.console.print(f"  [green]✓[/] {markup}")

    def fault(self, text: str) -> None:
        self.console.print(Text(f"  ✗ {text}", style="red"))

    def show(self, renderable: RenderableType) -> None:
        self.console.print(Padding(renderable, (0, 0, 0, 2), expand=False))

    @contextmanager
    def board(self, jobs: list[Job]) -> Iterator[Board]:
        """A live view of `jobs`; without animation, a line per second and the view at the end."""
        board = Board(jobs)
        if not self.moves:
            board.line = self.say
            yield board
            self.console.print(board)
            return
        with Live(board, console=self.console, refresh_per_second=12):
            yield board

    @contextmanager
    def writing(self) -> Iterator[Writing]:
        """A text that is shown while it is written; without animation, once it is over."""
        writing = Writing()
        if not self.moves:
            yield writing
            writing.over = True
            self.console.print(writing)
            return
        with Live(writing, console=self.console, refresh_per_second=20):
            yield writing
            writing.over = True


class Writing:
    """A text that grows."""

    def __init__(self) -> None:
        self.text = ""
        self.over = False

    def __rich__(self) -> RenderableType:
        return Padding(Text(self.text, "cyan").append("" if self.over else HALF, "dim"), (0, 2, 0, 4))


class Board:
    """One bar per tool, with a block per invocation, coloured by its status."""

    def __init__(self, jobs: list[Job]) -> None:
        self.jobs = jobs
        self.began = time.monotonic()
        self.printed = self.began
        self.line: Callable[[str], None] = lambda _text: None

    def watch(self) -> None:
        """Called often; without animation, prints a line once a second."""
        now = time.monotonic()
        if now - self.printed >= PLAIN_EVERY_SECONDS:
            self.printed = now
            self.line(f"{now - self.began:4.0f} s  {self.summary().plain}")

    def summary(self) -> Text:
        count = Counter(job.stage for job in self.jobs)
        parts = [Text(f"{count.pop(stage, 0)} {stage}", style) for stage, style in STAGES.items()]
        parts += [Text(f"{number} {stage}", "red") for stage, number in count.items()]
        return Text("   ").join(part for part in parts if part.plain not in ("0 not sent", "0 on its way"))

    def __rich__(self) -> RenderableType:
        grid = Table.grid(padding=(0, 2))
        for tool in dict.fromkeys(job.tool for job in self.jobs):
            jobs = [job for job in self.jobs if job.tool == tool]
            grid.add_row(f"  {tool:<9}", _blocks(jobs), f"{sum(job.ended for job in jobs)} of {len(jobs)}")
        return Group(grid, Text("  ") + self.summary())


def _blocks(jobs: Iterable[Job]) -> Text:
    """A bar that fills from the left: completed, then running, then queued."""
    marks = {"on its way": "▓", "running": "▒", "queued": "░", "not sent": "·"}
    order = {stage: position for position, stage in enumerate(marks, start=1)}
    bar = Text()
    for stage in sorted((job.stage for job in jobs), key=lambda stage: order.get(stage, 0)):
        bar.append(marks.get(stage, FULL), STAGES.get(stage, "red"))
    return bar


# -- tables ----------------------------------------------------------------------------------------------------


def table(*columns: str, right: Iterable[str] = (), wrap: Iterable[str] = ()) -> Table:
    """A table with columns as wide as their content; those in `wrap` shrink on a narrow terminal."""
    made = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in columns:
        made.add_column(column, justify="right" if column in right else "left", no_wrap=column not in wrap)
    return made


def plans(entries: Iterable[models.Plan]) -> Table:
    made = table(
        "plan", "tokens a month", "submits a minute", "at once", right=("tokens a month", "submits a minute", "at once")
    )
    for plan in entries:
        limits = (plan.monthly_tokens, plan.rate_limit_per_minute, plan.max_concurrency)
        made.add_row(plan.slug, *(amount(limit) for limit in limits))
    return made


def tools(entries: Iterable[models.ToolSummary]) -> Table:
    made = table("tool", "description", "price in tokens", wrap=["description"])
    for tool in entries:
        made.add_row(Text(tool.slug, "cyan"), tool.name, price(tool.price))
    return made


def price(entry: models.Price) -> str:
    per_unit = entry.per_unit
    return str(entry.base_tokens) + (f" + {per_unit.tokens:g} per {per_unit.unit}" if per_unit else "")


def amount(number: int | None) -> str:
    return "unlimited" if number is None else f"{number:,}"


# -- charts ----------------------------------------------------------------------------------------------------


def bar(part: float, whole: float, style: str, width: int = BAR_WIDTH) -> Text:
    """A bar showing `part` of `whole`; any positive part is visible."""
    halves = round(2 * width * part / whole) if whole else 0
    halves = max(halves, 1 if part > 0 else 0)
    return Text(FULL * (halves // 2) + HALF * (halves % 2), style)


def usage(groups: Iterable[models.UsageGroup]) -> Table:
    """The groups of `/usage/summary?group_by=tool` with a bar for each, the most expensive first."""
    made = table("tool", "invocations", "median", "tokens", "", right=("invocations", "tokens", "median"))
    ordered = sorted(groups, key=lambda group: -group.tokens_used)
    for group in ordered:
        latency = group.latency_p50_ms
        made.add_row(
            group.key,
            amount(group.invocations),
            "" if latency is None else f"{latency:,} ms",
            amount(group.tokens_used),
            bar(group.tokens_used, ordered[0].tokens_used, "magenta"),
        )
    return made


def balance(tokens: models.Balance) -> Group:
    """granted = charged + held + available, as a bar and as text."""
    granted, spent = tokens.granted or 0, {"charged": (tokens.charged, "magenta"), "held": (tokens.held, "yellow")}
    parts = {**spent, "available": (tokens.available or 0, "green")}
    bars = [bar(count, granted, style, BALANCE_WIDTH) for count, style in spent.values()]
    left = BALANCE_WIDTH - sum(len(part.plain) for part in bars)
    words = Text().append(f"{granted:,} granted = ")
    words.append(Text(" + ").join(Text(f"{count:,} {name}", style) for name, (count, style) in parts.items()))
    return Group(Text.assemble(*bars, (FULL * left, "green")), words)

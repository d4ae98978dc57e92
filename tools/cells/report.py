"""The table and the inputs in `docs/scaling.md`, between two markers, and the plot beside it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from dev.platform import ROOT
from tools.cells.costs import Input
from tools.cells.running import RATES, Found
from tools.cells.steps import KINDS

PAGE: Final = ROOT / "docs" / "scaling.md"
PICTURE: Final = ROOT / "docs" / "cells.svg"
BEGIN, END = "<!-- simulated: written by make cells -->", "<!-- end of simulated -->"


@dataclass(frozen=True, slots=True)
class Row:
    """A step: its `limits` (invocations a second, kind of resource), and what was found at each rate of the plot."""

    name: str
    limits: Sequence[tuple[float, str]]
    found: Mapping[float, Found]


def write(rows: Sequence[Row], given: Sequence[Input]) -> None:
    """Table and inputs into the page, the plot beside it."""
    PICTURE.write_text(picture(rows), encoding="utf-8")
    text = PAGE.read_text(encoding="utf-8")
    body = "\n".join([BEGIN, *_table(rows), "", "![p99 of the wait at each step](cells.svg)", "", *_inputs(given), END])
    PAGE.write_text(re.sub(f"{BEGIN}.*{END}", lambda _: body, text, flags=re.DOTALL), encoding="utf-8")


def _table(rows: Sequence[Row]) -> Iterator[str]:
    yield f"| | step | {' | '.join(f'{rate:,}/s' for rate in RATES)} | full first | then |"
    yield f"|--:|---|{'---|' * len(RATES)}---|---|"
    for number, row in enumerate(rows, 1):
        cells = [_cell(row.found[rate]) for rate in RATES]
        yield f"| {number} | {row.name} | {' | '.join(cells)} | {_limit(row.limits, 0)} | {_limit(row.limits, 1)} |"


def _cell(found: Found) -> str:
    if found.load >= 1:
        return f"**{KINDS[found.fullest]} {found.load:.{1 if found.load < 10 else 0}f} ×**"
    return f"{KINDS[found.fullest]} {100 * found.load:.0f} %, {1000 * found.p99:.1f} ms"


def _limit(limits: Sequence[tuple[float, str]], number: int) -> str:
    """The first, or the next, of those that have different names, and when."""
    named = list({KINDS[kind]: rate for rate, kind in reversed(limits)}.items())[::-1]
    return f"{named[number][0]} at {_rounded(named[number][1])}/s" if number < len(named) else "–"


def _rounded(rate: float) -> str:
    """To two digits: the inputs are no better."""
    unit = 10 ** (math.floor(math.log10(rate)) - 1)
    return f"{round(rate / unit) * unit:,}"


def _inputs(given: Sequence[Input]) -> Iterator[str]:
    yield "| input | value | source |"
    yield "|---|--:|---|"
    for each in given:
        yield f"| {each.name} | {each.value:,g} {each.unit}".rstrip() + f" | {each.source} |"


# -- the plot ------------------------------------------------------------------------------------------------------

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 1100, 470, 72, 400, 30, 40
#: Invocations a second, and milliseconds.
ACROSS: Final = (500.0, 200_000.0)
UP: Final = (0.5, 1_000.0)
COLORS: Final = (
    *("#8c8c8c", "#c8553d", "#e08e45", "#9a9a00", "#7a9e3f"),
    *("#2a7f62", "#2b7a9e", "#3d5a98", "#7b3f98", "#222222"),
)


def picture(rows: Sequence[Row]) -> str:
    """A line for each step: the p99 of the wait by invocations a second, both logarithmic, up to where it is full."""
    parts = [*_axes(), *(part for number, row in enumerate(rows) for part in _line(number, row))]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif"'
        ' font-size="12">\n'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _axes() -> Iterator[str]:
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    for rate in RATES:
        left = _x(rate)
        yield f'<line x1="{left:.0f}" x2="{left:.0f}" y1="{TOP}" y2="{bottom}" stroke="#444" stroke-dasharray="3 3"/>'
        yield f'<text x="{left:.0f}" y="{bottom + 16}" text-anchor="middle" fill="#444">{rate:,}/s</text>'
    for wait in (1, 10, 100, 1_000):
        height = _y(wait)
        yield f'<line x1="{LEFT}" x2="{right}" y1="{height:.0f}" y2="{height:.0f}" stroke="#ddd"/>'
        yield f'<text x="{LEFT - 6}" y="{height + 4:.0f}" text-anchor="end" fill="#444">{wait:,} ms</text>'
    yield f'<text x="{LEFT}" y="16" fill="#222">p99 of the time that an invocation waits in all queues together</text>'
    yield f'<text x="{right}" y="{bottom + 32}" text-anchor="end" fill="#222">invocations a second</text>'


def _line(number: int, row: Row) -> Iterator[str]:
    """Its points, straight up where the first resource is full, and its name beside the plot."""
    color, top = COLORS[number % len(COLORS)], TOP + 24 + 22 * number
    full = min(row.limits[0][0] if row.limits else ACROSS[1], ACROSS[1])
    seen = sorted((rate, found) for rate, found in row.found.items() if rate <= full and found.load < 1)
    at = [(_x(rate), _y(1000 * found.p99)) for rate, found in seen]
    if full < ACROSS[1]:
        at.append((_x(full), float(TOP)))
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in at)
    yield f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="2"/>'
    x, y = at[-1]
    yield f'<text x="{x + 3:.1f}" y="{y + 10:.1f}" fill="{color}" font-weight="bold">{number + 1}</text>'
    words = f"{number + 1} {row.name}" + (f": {_limit(row.limits, 0)}" if row.limits else "")
    yield f'<text x="{WIDTH - RIGHT + 24}" y="{top}" fill="{color}" font-size="11">{words}</text>'


def _x(rate: float) -> float:
    return LEFT + (WIDTH - RIGHT - LEFT) * _part(rate, ACROSS)


def _y(wait: float) -> float:
    """Pixels from the top for so many milliseconds."""
    return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * _part(wait, UP)


def _part(value: float, of: tuple[float, float]) -> float:
    """Where it is between both ends of a logarithmic axis, 0 to 1."""
    return min(1.0, max(0.0, math.log(value / of[0]) / math.log(of[1] / of[0]))) if value > 0 else 0.0

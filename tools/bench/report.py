"""The results as people read them: one line while it runs; a table, the machine and a picture in `docs/performance.md`.

Of that page only what stands between the two markers is written here; the rest is by hand.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterator
from pathlib import Path

from dev.platform import ROOT
from tools.bench.measures import MEASURES, Figure, Results, judged

PAGE = ROOT / "docs" / "performance.md"
PICTURE = ROOT / "docs" / "performance.svg"
BEGIN, END = "<!-- measured: written by make bench -->", "<!-- end of measured -->"


def line(name: str, found: Figure) -> str:
    mark = "ok  " if found["reached"] else "SHORT"
    beside = "" if found["limit"] is None else f"  ({found['ours']:g} beside {found['limit']:g})"
    value, goal = f"{found['value']:>9.4g} {_spread(found)}", f"goal {found['goal']:g}"
    return f"{name:<12} {value:<26} {found['unit']:<22} {goal}  {mark}{beside}  {found['note']}"


def write(results: Results) -> None:
    """Table and machine into the page, the picture beside it. By the goals of record."""
    results = judged(results)
    PICTURE.write_text(picture(results), encoding="utf-8")
    text = PAGE.read_text(encoding="utf-8")
    body = "\n".join([BEGIN, *_machine(results), "", *_table(results), "", "![every goal](performance.svg)", END])
    PAGE.write_text(re.sub(f"{BEGIN}.*{END}", lambda _: body, text, flags=re.DOTALL), encoding="utf-8")


def _machine(results: Results) -> Iterator[str]:
    cpu = next(
        (row.split(":", 1)[1].strip() for row in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in row),
        platform.machine(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    times = sorted(found["measured_at"] for found in results.values())
    loads = sorted(found["load"] for found in results.values())
    kernel, python = platform.release().partition("-")[0], platform.python_version()
    yield f"{os.cpu_count()} × {cpu}, {memory:.0f} GB, Linux {kernel}, Python {python};"
    yield f"measured {times[0]} to {times[-1]}; load average after each measurement {loads[0]} to {loads[-1]}."


def _table(results: Results) -> Iterator[str]:
    yield "| | measure | measured | spread | reach | then | ours | beside | |"
    yield "|---|---|--:|--:|--:|--:|--:|--:|---|"
    for name, found in results.items():
        measure = MEASURES[name]
        reach = f"{'≤' if measure.least else '≥'} {measure.goal:g}"
        then = "" if measure.then is None else f"{measure.then:g}"
        ours, limit = ("" if found[key] is None else f"{found[key]:.4g}" for key in ("ours", "limit"))
        mark = "reached" if found["reached"] else "**short**"
        figures = f"{_value(found)} | {_spread(found)} | {reach} | {then} | {ours} | {limit}"
        yield f"| {name} | {measure.words} | {figures} | {mark} |"
    yield ""
    for name, found in results.items():
        if found["note"]:
            yield f"- {name}: {found['note']}"


def _value(found: Figure) -> str:
    return f"{found['value']:.3g} {_unit(found['unit'])}".strip()


def _spread(found: Figure) -> str:
    return "–".join(f"{value:.3g}" for value in found["spread"] or ())


def _unit(unit: str) -> str:
    return "" if "ratio" in unit or "÷" in unit else unit


# -- picture -----------------------------------------------------------------------------------------------------

WIDTH, ROW, LEFT, RIGHT = 1100, 26, 560, 110


def picture(results: Results) -> str:
    """How far each goal is reached: bars of value ÷ goal (goal ÷ value where less is better), the goal at 1."""
    shown = [(name, found) for name, found in results.items() if name not in ("size", "P6_304")]
    height = ROW * (len(shown) + 2)
    rows = "\n".join(part for n, (name, found) in enumerate(shown) for part in _row(n, name, found))
    goal = LEFT + _scale(1.0)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif"'
        ' font-size="12">\n'
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>\n'
        f'<text x="{goal}" y="{ROW - 8}" text-anchor="middle" fill="#444">goal</text>\n{rows}\n'
        f'<line x1="{goal}" x2="{goal}" y1="{ROW}" y2="{height - ROW}" stroke="#444" stroke-dasharray="3 3"/>\n</svg>\n'
    )


def _row(number: int, name: str, found: Figure) -> Iterator[str]:
    measure = MEASURES[name]
    reach = measure.goal / found["value"] if measure.least else found["value"] / measure.goal
    top, width = ROW * (number + 1), _scale(reach)
    color = "#2a7f62" if found["reached"] else "#c8553d"
    words = measure.words.replace("`", "").replace("&", "&amp;").replace("<", "&lt;")
    yield f'<text x="{LEFT - 8}" y="{top + 17}" text-anchor="end" fill="#222">{name}  {words}</text>'
    yield f'<rect x="{LEFT}" y="{top + 4}" width="{width:.0f}" height="{ROW - 8}" fill="{color}"/>'
    yield f'<text x="{LEFT + width + 6:.0f}" y="{top + 17}" fill="#222">{_value(found)}</text>'


def _scale(reach: float) -> float:
    """Pixels for so many times the goal; beyond three times the bar ends."""
    return min(reach, 3.0) / 3.0 * (WIDTH - LEFT - RIGHT)

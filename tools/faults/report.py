"""docs/faults.md: the table, and the picture of throughput through the faults (plain SVG)."""

from __future__ import annotations

import fcntl
import json
import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict
from html import escape
from pathlib import Path
from typing import Any, TypedDict

from tools.faults.checks import Result
from tools.faults.shown import SHOWN, order
from tools.faults.world import Span

BEGIN, END = "<!-- the table: written by make faults -->", "<!-- end of the table -->"
_SUMMED = ("accepted", "ended", "lost", "doubled", "twice", "errors_500", "errors_503", "cut_off", "refused")
#: A row as it is kept in JSON. Any: the fields of `Result`, and some more.
Figures = dict[str, Any]
BIN = 5.0
WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 1200, 300, 45, 40, 60


class Kept(TypedDict):
    """The file of all figures: the rows by their names, and the last line of the tests."""

    rows: dict[str, Figures]
    suite: str


def write(page: Path, figures: Path, results: Sequence[Result], suite: str | None, known: Collection[str]) -> None:
    """Put these rows into the figures (a JSON file), and the table of all figures into the page.

    `known`: the rows that there are; figures of others, which were renamed or removed, go. `suite`: the last line of
    the tests that show the rest, None when they were not all run.
    """
    with page.open("rb") as alone:  # other parts of the matrix may be writing theirs
        fcntl.flock(alone, fcntl.LOCK_EX)
        kept: Kept = {"rows": {}, "suite": ""}
        if figures.exists():
            kept = json.loads(figures.read_text(encoding="utf-8"))
        kept["rows"] = {key: row for key, row in kept["rows"].items() if key in known} | _together(results)
        kept["suite"] = suite if suite is not None else kept["suite"]
        figures.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
        _, _, after = rest.partition(END)
        table = _table(list(kept["rows"].values()), kept["suite"])
        page.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}", encoding="utf-8")


def named(ids: Sequence[str], title: str) -> str:
    """What a row's figures are kept under."""
    return f"{' '.join(ids)}: {title}"


def _together(results: Sequence[Result]) -> dict[str, Figures]:
    """One figure for each row, however often it was run: sums, the longest wait, everything that was wrong."""
    rows: dict[str, Figures] = {}
    for result in results:
        key = named(result.ids, result.title)
        once = {**asdict(result), "on": time.strftime("%Y-%m-%d"), "passed": result.passed, "times": 1}
        rows[key] = _added(rows[key], once) if key in rows else once
    return rows


def _added(sums: Figures, once: Figures) -> Figures:
    added = {name: sums[name] + once[name] for name in (*_SUMMED, "violations", "seconds", "times")}
    most = {"longest": max(sums["longest"], once["longest"]), "passed": sums["passed"] and once["passed"]}
    return {**once, **added, **most}


def _table(figures: Sequence[Figures], suite: str) -> str:
    def total(name: str) -> int:
        return sum(each[name] for each in figures)

    days = sorted({each["on"] for each in figures})
    lines = [
        f"Run on {' and '.join(days)}: {len(figures)} faults, {_times(figures)}, "
        f"{total('accepted')} invocations accepted, {total('lost')} lost, {total('doubled')} doubled, "
        f"{total('twice')} charged twice, {total('errors_500')} answers 500.",
        "",
        "| F | fault | what was done | accepted | ended | lost | doubled | charged twice | 500 | 503 | cut off "
        "| refused | longest wait | verdict |",
        "|---|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|",
    ]
    rows = [(order(each["ids"][0]), _line(each)) for each in figures]
    for id_, (title, named) in SHOWN.items():
        tests = ", ".join(f"`{test}`" for test in named)
        rows.append((order(id_), f"| {id_} | {title} | tests: {tests} | | | | | | | | | | | below |"))
    lines += [text for _, text in sorted(rows)]
    return "\n".join([*lines, "", f"The tests named in the table, run with it: {suite.strip('= ') or 'not run'}."])


def _times(figures: Sequence[Figures]) -> str:
    times = {each.get("times", 1) for each in figures}
    return f"each {max(times)} × in a row" if len(times) == 1 else f"each {min(times)} to {max(times)} × in a row"


def _line(r: Figures) -> str:
    wrong = "; ".join(each.replace("|", "/")[:160] for each in r["violations"][:3])
    verdict = f"passed {r.get('times', 1)} ×" if r["passed"] else f"**failed**: {wrong}"
    return (
        f"| {' '.join(r['ids'])} | {r['title']} | {r['injected'] or '–'} | {r['accepted']} | {r['ended']} "
        f"| {r['lost']} | {r['doubled']} | {r['twice']} | {r['errors_500']} | {r['errors_503']} | {r['cut_off']} "
        f"| {r['refused']} "
        f"| {r['longest']:.1f} s | {verdict} |"
    )


def draw(file: Path, accepted: Sequence[float], ended: Sequence[float], spans: Sequence[Span]) -> None:
    """Accepted and ended a second, in steps of five seconds, with the faults behind them."""
    began, until = min(accepted), max([*ended, *accepted]) + BIN
    lines = [_per_second(times, began) for times in (accepted, ended)]
    top = max(1.0, *(max(each.values(), default=0) for each in lines))
    scale = (WIDTH - LEFT - 10) / (until - began)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        'font-size="10">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="14" font-size="13">Invocations a second through the faults (<tspan fill="#1f77b4">'
        'accepted</tspan>, <tspan fill="#2ca02c">ended</tspan>; shaded: the fault is there)</text>',
        *_shades(spans, began, scale),
        *_axes(top, until - began, scale),
    ]
    for each, colour in zip(lines, ("#1f77b4", "#2ca02c"), strict=True):
        steps = range(int((until - began) // BIN))
        points = " ".join(f"{LEFT + (n + 0.5) * BIN * scale:.1f},{_y(each.get(n, 0.0), top):.1f}" for n in steps)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.2"/>')
    file.write_text("\n".join([*parts, "</svg>"]) + "\n", encoding="utf-8")


def _y(rate: float, top: float) -> float:
    return HEIGHT - BOTTOM - rate * (HEIGHT - BOTTOM - TOP) / top


def _shades(spans: Sequence[Span], began: float, scale: float) -> Iterator[str]:
    for number, span in enumerate(spans):
        left, width = LEFT + (span.began - began) * scale, max(1.0, (span.ended - span.began) * scale)
        box = f'x="{left:.1f}" y="{TOP}" width="{width:.1f}" height="{HEIGHT - BOTTOM - TOP}"'
        yield f'<rect {box} fill="#d62728" opacity="0.18"/>'
        yield f'<text x="{left:.1f}" y="{26 + 10 * (number % 3)}" font-size="8">{escape(span.name)}</text>'


def _axes(top: float, seconds: float, scale: float) -> Iterator[str]:
    for rate in (0, top / 2, top):
        height = _y(rate, top)
        yield f'<line x1="{LEFT}" x2="{WIDTH - 10}" y1="{height:.1f}" y2="{height:.1f}" stroke="#ddd"/>'
        yield f'<text x="{LEFT - 6}" y="{height + 3:.1f}" text-anchor="end">{rate:.0f}</text>'
    for minute in range(0, int(seconds // 60) + 1, 5):
        left = LEFT + 60 * minute * scale
        yield f'<text x="{left:.1f}" y="{HEIGHT - 22}" text-anchor="middle">{minute} min</text>'


def _per_second(times: Sequence[float], began: float) -> dict[int, float]:
    return {step: count / BIN for step, count in Counter(int((at - began) // BIN) for at in times).items()}

"""The results as people read them: one line while it runs; a table, the machine and a picture in `docs/performance.md`.

Of that page only what stands between the two markers is written here; the rest is by hand.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from dev.platform import ROOT

PAGE = ROOT / "docs" / "performance.md"
PICTURE = ROOT / "docs" / "performance.svg"
BEGIN, END = "<!-- measured: written by make bench -->", "<!-- end of measured -->"
#: What `Found.as_json` wrote, read back from JSON. Any: numbers and words.
Figure = Mapping[str, Any]
Results = Mapping[str, Figure]

NAMES: Final = {
    "P1": "accepted submits/s of one web process ÷ bare submit",
    "P1_children": "submits/s of delegated keys, 10,000 of the account alive ÷ 32",
    "P2": "finished/s ÷ bare run, tool of 0 ms",
    "P3": "finished/s ÷ bare run, tool of 1 s, 800 in flight on two processes",
    "P4_p50": "submit → long-poll answer at 100/s, p50",
    "P4_p99": "the same, p99",
    "P5": "CPU of the whole platform for a finished invocation",
    "P6": "reads of one invocation/s ÷ bare read",
    "P6_304": "a 304 ÷ a 200, CPU",
    "P7": "submits/s with 2,000 waiting clients ÷ without",
    "P8": "usage of a long history ÷ of 10,000 rows, the slowest question's p95",
    "P8_lists": "lists of a long history by each filter ÷ of 10,000 rows, the slowest's p95",
    "P9_submits": "submits/s beside many ended invocations ÷ beside 10,000",
    "P9_finished": "finished/s beside many ended invocations ÷ beside 10,000",
    "P10": "another account's p99 beside 10,000 queued ÷ alone",
    "P11_rate": "webhook deliveries/s ÷ bare post",
    "P11_p99": "healthy receivers' p99 with half of all hanging ÷ without",
    "neighbours": "another account's p99 beside attacks of one tenant ÷ alone, the worst of them",
    "P12_web": "memory of a web process",
    "P12_worker": "memory of a worker process, 400 in flight",
    "P12_idle": "memory of the idle stack",
    "P13": "`make run` to the first finished invocation",
    "P15": "CPU of the idle platform",
    "P16_first": "first part of a streamed answer at its reader, after the tool wrote it, p50",
    "P16_rate": "chunks/s of 400 streams ÷ cores that a worker process used for them",
    "P16_cpu": "CPU of the web process for a chunk sent to one reader",
    "P17": "a list page of the console ÷ the same list of the API, CPU",
    "P17_growth": "the console's pages of a long history ÷ of 10,000 rows, the slowest page's p95",
    "shedding": "accepted submits/s at three times what PostgreSQL can store ÷ at just that",
    "shedding_p99": "p99 of accepted submits, the same",
    "shedding_refused": "p99 of the refusals meanwhile",
    "shedding_reads": "p99 of reads meanwhile",
    "size": "disk for a finished invocation, indexes included",
    "hosts": "two web and two worker hosts: the share of the one that ran fewer",
    "peer": "finished/s ÷ litellm proxy",
}


def line(name: str, found: Figure) -> str:
    mark = "ok  " if found["reached"] else "SHORT"
    beside = "" if found["limit"] is None else f"  ({found['ours']:g} beside {found['limit']:g})"
    return (
        f"{name:<12} {found['value']:>9.4g} {found['unit']:<22} goal {found['goal']:g}  {mark}{beside}  {found['note']}"
    )


def write(results: Results) -> None:
    """Table and machine into the page, the picture beside it."""
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
    yield "| | measure | measured | reach | then | ours | beside | |"
    yield "|---|---|--:|--:|--:|--:|--:|---|"
    for name, words in NAMES.items():
        if name in results:
            found = results[name]
            least = "≤" if _least(name) else "≥"
            then = "" if found["then"] is None else f"{found['then']:g}"
            ours, limit = ("" if found[key] is None else f"{found[key]:.4g}" for key in ("ours", "limit"))
            mark = "reached" if found["reached"] else "**short**"
            value = f"{found['value']:.3g} {_unit(found['unit'])}".strip()
            yield f"| {name} | {words} | {value} | {least} {found['goal']:g} | {then} | {ours} | {limit} | {mark} |"
    yield ""
    for name in NAMES:
        if name in results and results[name]["note"]:
            yield f"- {name}: {results[name]['note']}"


def _unit(unit: str) -> str:
    return "" if "ratio" in unit or "÷" in unit else unit


def _least(name: str) -> bool:
    return name not in (
        "P1",
        "P1_children",
        "P2",
        "P3",
        "P6",
        "P7",
        "P9_submits",
        "P9_finished",
        "P11_rate",
        "P16_rate",
        "shedding",
        "peer",
        "hosts",
    )


# -- picture -----------------------------------------------------------------------------------------------------

WIDTH, ROW, LEFT, RIGHT = 1100, 26, 560, 110


def picture(results: Results) -> str:
    """How far each goal is reached: bars of value ÷ goal (goal ÷ value where less is better), the goal at 1."""
    shown = [(name, results[name]) for name in NAMES if name in results and name not in ("size", "P6_304")]
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
    reach = found["goal"] / found["value"] if _least(name) else found["value"] / found["goal"]
    top, width = ROW * (number + 1), _scale(reach)
    color = "#2a7f62" if found["reached"] else "#c8553d"
    words = NAMES[name].replace("`", "").replace("&", "&amp;").replace("<", "&lt;")
    value = f"{found['value']:.3g} {_unit(found['unit'])}".strip()
    yield f'<text x="{LEFT - 8}" y="{top + 17}" text-anchor="end" fill="#222">{name}  {words}</text>'
    yield f'<rect x="{LEFT}" y="{top + 4}" width="{width:.0f}" height="{ROW - 8}" fill="{color}"/>'
    yield f'<text x="{LEFT + width + 6:.0f}" y="{top + 17}" fill="#222">{value}</text>'


def _scale(reach: float) -> float:
    """Pixels for so many times the goal; beyond three times the bar ends."""
    return min(reach, 3.0) / 3.0 * (WIDTH - LEFT - RIGHT)

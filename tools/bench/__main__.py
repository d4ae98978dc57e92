"""`make bench`: every goal of the performance page, measured; `make bench ONLY=P2` one of them.

Writes `tools/bench/results.json` (what was not measured this time stays as it was) and the table and the picture of
`docs/performance.md`. With `PAIRS` below 5, measurements are tried and nothing is written.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from dev import supervisor
from tools.bench import measures, pairs, peer, report
from tools.bench.goals import (
    Found,
    answering,
    delegating,
    growing,
    hosting,
    paging,
    queueing,
    reading,
    running,
    sharing,
    shedding,
    standing,
    streaming,
    submitting,
)
from tools.bench.ground import Ground, prepared

RESULTS = Path(__file__).parent / "results.json"
#: All at once, or part by part, if a later one is not to take the earlier ones with it.
Goal = Callable[[Ground], dict[str, Found] | Iterator[dict[str, Found]]]

#: In the order in which they are measured. Those of one line share their servers and what runs on them.
TOGETHER: tuple[dict[str, Goal], ...] = (
    {"P1": submitting.p1, "P1_children": delegating.p1_children, "P7": submitting.p7},
    {"shedding": shedding.shedding},
    {"P6": reading.p6},
    {"P16": streaming.p16},
    {"P17": paging.p17},
    {"P2": running.p2, "P3": running.p3, "P14": queueing.p14, "naive": queueing.naive},
    {"P4": answering.p4, "P5": answering.p5, "P5b": answering.p5b, "peer": peer.measure},
    {"P12": standing.p12},
    {"P15": standing.p15},
)
#: These bring servers of their own.
ALONE: dict[str, Goal] = {
    "P10": sharing.p10,
    "P11": sharing.p11,
    "neighbours": sharing.neighbours,
    "P13": standing.p13,
    "hosts": hosting.hosts,
    "P8 P8_lists P9 P17_growth": growing.grown_platform,
}


def main(only: str) -> int:
    supervisor.raise_on_signals()  # so that temporary directories are removed
    wanted = [name.upper() for name in only.replace(",", " ").split()]
    failed: list[str] = []
    for goals in TOGETHER:
        chosen = {name: goal for name, goal in goals.items() if asked(name, wanted)}
        if chosen:
            with prepared() as ground:
                failed += [name for name, goal in chosen.items() if not measured(name, goal, ground)]
                ground.stop_all()
    for name, goal in ALONE.items():
        if asked(name, wanted) and not measured(name, goal, None):
            failed.append(name)
    if RESULTS.exists() and pairs.PAIRS >= pairs.LEAST:
        report.write(json.loads(RESULTS.read_text()))
    return 1 if failed else 0


def asked(name: str, wanted: list[str]) -> bool:
    return not wanted or any(part.upper() in wanted for part in name.split())


def measured(name: str, goal: Goal, ground: Ground | None) -> bool:
    """Measure one goal and write it down; a goal that cannot be measured keeps no other from being."""
    begun = time.perf_counter()
    try:
        found = goal(ground)  # type: ignore[arg-type]
        for part in [found] if isinstance(found, dict) else found:
            _write_down(part)
    except Exception:  # noqa: BLE001 - the edge: it is told, and the next one is measured
        print(f"{name}: could not be measured", flush=True)
        traceback.print_exc()
        return False
    print(f"     ({time.perf_counter() - begun:.0f} s)", flush=True)
    return True


def _write_down(found: dict[str, Found]) -> None:
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    about = {"measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "load": round(os.getloadavg()[0], 1)}
    new = {key: {**value.as_json(key), **about} for key, value in found.items()}
    if pairs.PAIRS >= pairs.LEAST:
        RESULTS.write_text(json.dumps(measures.judged(results | new), indent=1) + "\n")
    for key, value in new.items():
        print(report.line(key, value), flush=True)


if __name__ == "__main__":
    logging.disable(logging.INFO)
    sys.exit(main(os.environ.get("ONLY", "")))

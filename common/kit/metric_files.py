"""Compact the metric files of processes (`PROMETHEUS_MULTIPROC_DIR`): those of ended processes are folded into one.

Counters must never go backwards or be counted twice, even when a process is killed during a fold. So readers share a
lock that a fold holds exclusively, and a fold writes down its plan first: if it is interrupted, the next process to
hold the lock finishes it.

    counter_17.db, counter_18.db (both ended), counter_0.db  →  counter_0.db
"""

from __future__ import annotations

import fcntl
import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from prometheus_client.mmap_dict import MmapedDict

T = TypeVar("T")

LOCK = "fold.lock"
PLAN = "fold.json"
#: In place of the pid, for all ended processes; no process has this pid.
FOLDED = "0"
#: Metric types whose values are kept after a process has ended; its gauges are dropped.
SUMMED = ("counter", "histogram", "summary")


def read(directory: Path, reader: Callable[[], T]) -> T:
    """Call `reader` while no fold is under way, and return its result."""
    with _lock(directory, fcntl.LOCK_SH) as held:
        if held and not (directory / PLAN).exists():
            return reader()
    with _lock(directory, fcntl.LOCK_EX):
        _finish(directory)
        return reader()


def fold(directory: Path) -> int:
    """Fold the files of ended processes, unless a read or a fold is under way. Returns the number of files."""
    with _lock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB) as held:
        if not held:
            return 0
        _finish(directory)
        ended = _ended(directory)
        if not ended:
            return 0
        made = [_summed(directory, kind, files) for kind in SUMMED if (files := _of(kind, ended))]
        _write_plan(directory, {"made": made, "gone": [file.name for file in ended]})
        _finish(directory)
    return len(ended)


@contextmanager
def _lock(directory: Path, how: int) -> Iterator[bool]:
    """Hold the directory's lock; yields False when another process has it (with LOCK_NB)."""
    with (directory / LOCK).open("a") as lock:
        try:
            fcntl.flock(lock, how)
        except BlockingIOError:
            yield False
        else:
            yield True


def _ended(directory: Path) -> list[Path]:
    """The files of ended processes; an empty list on systems without /proc."""
    if not Path("/proc/self").exists():
        return []
    files = [(file, file.stem.rpartition("_")[2]) for file in directory.glob("*_*.db")]
    return [file for file, pid in files if pid != FOLDED and pid.isdigit() and not Path(f"/proc/{pid}").exists()]


def _of(kind: str, files: list[Path]) -> list[Path]:
    return [file for file in files if file.name.startswith(f"{kind}_")]


def _summed(directory: Path, kind: str, files: list[Path]) -> str:
    """Write the sums to a temporary file beside the one it will replace. Returns the name of the latter."""
    target = directory / f"{kind}_{FOLDED}.db"
    sums: defaultdict[str, float] = defaultdict(float)
    for file in (*files, *([target] if target.exists() else [])):
        for key, value, *_ in MmapedDict.read_all_values_from_file(file):  # type: ignore[no-untyped-call]
            sums[key] += value
    unfinished = directory / f"{target.name}.new"
    unfinished.unlink(missing_ok=True)
    written = MmapedDict(str(unfinished))  # type: ignore[no-untyped-call]
    for key, value in sums.items():
        written.write_value(key, value, 0.0)  # type: ignore[no-untyped-call]
    written.close()  # type: ignore[no-untyped-call]
    return target.name


def _write_plan(directory: Path, plan: dict[str, list[str]]) -> None:
    unfinished = directory / f"{PLAN}.new"
    unfinished.write_text(json.dumps(plan))
    unfinished.replace(directory / PLAN)


def _finish(directory: Path) -> None:
    """Carry out the plan, or what is left of it after an interruption."""
    plan = directory / PLAN
    if not plan.exists():
        return
    planned = json.loads(plan.read_text())
    for name in planned["made"]:
        with suppress(FileNotFoundError):  # already done
            (directory / f"{name}.new").replace(directory / name)
    for name in planned["gone"]:
        (directory / name).unlink(missing_ok=True)
    plan.unlink()

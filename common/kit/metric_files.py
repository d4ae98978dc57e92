"""The files in which processes count (`PROMETHEUS_MULTIPROC_DIR`): those of processes that have ended become one.

Counters must never go backwards, nor count twice, whoever reads or is killed meanwhile. So readers share a lock that
whoever folds holds alone, and what a fold is about to do is written down first: should it be interrupted, the next one
to hold the lock finishes it.

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
#: Stands for all processes that have ended; no process has this number.
FOLDED = "0"
#: What adds up; gauges of a process end with it.
SUMMED = ("counter", "histogram", "summary")


def read(directory: Path, reader: Callable[[], T]) -> T:
    """What `reader` makes of the files, while none of them is folded."""
    with _lock(directory, fcntl.LOCK_SH) as held:
        if held and not (directory / PLAN).exists():
            return reader()
    with _lock(directory, fcntl.LOCK_EX):
        _finish(directory)
        return reader()


def fold(directory: Path) -> int:
    """Fold the files of processes that have ended, unless somebody reads or folds just now. Returns how many."""
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
    """Hold the directory's lock; False: somebody else has it (with LOCK_NB)."""
    with (directory / LOCK).open("a") as lock:
        try:
            fcntl.flock(lock, how)
        except BlockingIOError:
            yield False
        else:
            yield True


def _ended(directory: Path) -> list[Path]:
    """The files of processes that are no more. None where that cannot be told."""
    if not Path("/proc/self").exists():
        return []
    files = [(file, file.stem.rpartition("_")[2]) for file in directory.glob("*_*.db")]
    return [file for file, pid in files if pid != FOLDED and pid.isdigit() and not Path(f"/proc/{pid}").exists()]


def _of(kind: str, files: list[Path]) -> list[Path]:
    return [file for file in files if file.name.startswith(f"{kind}_")]


def _summed(directory: Path, kind: str, files: list[Path]) -> str:
    """Write the sums beside the file that they will replace; its name."""
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
    """Do what was planned, or what is left of it."""
    plan = directory / PLAN
    if not plan.exists():
        return
    planned = json.loads(plan.read_text())
    for name in planned["made"]:
        with suppress(FileNotFoundError):  # done already
            (directory / f"{name}.new").replace(directory / name)
    for name in planned["gone"]:
        (directory / name).unlink(missing_ok=True)
    plan.unlink()

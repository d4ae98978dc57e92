"""Two things measured in turn, in one run: A B, B A, A B … Whatever else the machine does falls on both.

What judges is the median of the ratios of at least five pairs; with `PAIRS=1` a measurement is only tried. CPU time is
taken beside the clock's, because it says the same on a busy machine.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

#: What is written down has at least so many.
LEAST = 5
PAIRS = int(os.environ.get("PAIRS", str(LEAST)))
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(slots=True)
class Pairs:
    """The pairs so far: (ours, limit). More is better in both."""

    values: list[tuple[float, float]] = field(default_factory=list)

    @property
    def ratios(self) -> list[float]:
        return [ours / limit for ours, limit in self.values]

    @property
    def ratio(self) -> float:
        return median(self.ratios)

    @property
    def ours(self) -> float:
        return median(ours for ours, _ in self.values)

    @property
    def limit(self) -> float:
        return median(limit for _, limit in self.values)


def in_turn(ours: Callable[[], float], limit: Callable[[], float], pairs: int = PAIRS) -> Pairs:
    """Measure both so often, each first in every other pair."""
    found = Pairs()
    for n in range(pairs):
        if n % 2:
            other, mine = limit(), ours()
        else:
            mine, other = ours(), limit()
        found.values.append((mine, other))
    return found


# -- CPU time ----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Spent:
    """CPU seconds by the name of who spent them, filled in when the block ends."""

    seconds: dict[int, float] = field(default_factory=dict)

    @property
    def total(self) -> float:
        return sum(self.seconds.values())


def by_part(names: Mapping[int, str], rounds: Sequence[Mapping[int, float]]) -> str:
    """The medians of what each process has spent in these rounds, by name: "web 2.1, PostgreSQL 1.9"."""
    parts = {name: median(each[pid] for each in rounds) for pid, name in names.items()}
    return ", ".join(f"{name} {parts[name]:.1f}" for name in sorted(parts))


@contextmanager
def cpu(pids: Iterable[int]) -> Iterator[Spent]:
    """What these processes and all their descendants spend during the block."""
    roots, spent = list(pids), Spent()
    before = {pid: _of_tree(pid) for pid in roots}
    yield spent
    spent.seconds = {pid: _of_tree(pid) - before[pid] for pid in roots}


def _of_tree(pid: int) -> float:
    """CPU seconds of a process, its ended children (that it has waited for) and its living descendants."""
    own = _stat(pid)
    if own is None:
        return 0.0
    return (own[0] + own[1]) / _TICKS + sum(_of_tree(child) for child in children(pid))


def _stat(pid: int) -> tuple[int, int] | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return int(fields[11]) + int(fields[12]), int(fields[13]) + int(fields[14])


def children(pid: int) -> list[int]:
    """The living children of a process."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [int(child) for child in task.read_text().split()]
        except OSError:
            continue
    return found


def descendants(pid: int) -> list[int]:
    return [each for child in children(pid) for each in (child, *descendants(child))]


def resident(pid: int) -> float:
    """Megabytes of a process and its descendants, shared pages counted by share (PSS)."""
    return sum(_pss(each) for each in (pid, *descendants(pid)))


def _pss(pid: int) -> float:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")) / 1024


def described(**values: object) -> dict[str, object]:
    """Numbers with as many digits as they mean."""
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in values.items()}

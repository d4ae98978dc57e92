"""The goals of the performance page, one function each: it takes the ground and returns what it found by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tools.bench.pairs import Pairs


@dataclass(slots=True)
class Found:
    """One figure. `goal` is what to reach, `then` what comes after it; `least`: as little as can be is wanted."""

    value: float
    unit: str
    goal: float
    then: float | None = None
    pairs: Sequence[object] = ()
    ours: float | None = None
    limit: float | None = None
    least: bool = False
    note: str = ""

    @property
    def reached(self) -> bool:
        return self.value <= self.goal if self.least else self.value >= self.goal

    def as_json(self) -> dict[str, object]:
        return {
            "value": _short(self.value),
            "unit": self.unit,
            "goal": self.goal,
            "then": self.then,
            "reached": self.reached,
            "pairs": [
                [_short(x) for x in pair] if isinstance(pair, tuple | list) else _short(pair) for pair in self.pairs
            ],
            "ours": _short(self.ours),
            "limit": _short(self.limit),
            "note": self.note,
        }


def ratio(found: Pairs, goal: float, then: float | None, *, least: bool = False, note: str = "") -> Found:
    """The median of the pairs' ratios."""
    return Found(found.ratio, "ratio", goal, then, list(found.values), found.ours, found.limit, least, note)


def _short(value: object) -> object:
    return float(f"{value:.4g}") if isinstance(value, float) else value

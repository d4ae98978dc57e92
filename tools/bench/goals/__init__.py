"""The goals of the performance page, one function each: it takes the ground and returns what it found by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from tools.bench import measures
from tools.bench.pairs import Pairs


@dataclass(slots=True)
class Found:
    """One figure. `spread`: least and most, where they are not those of `pairs`."""

    value: float
    unit: str
    pairs: Sequence[object] = ()
    ours: float | None = None
    limit: float | None = None
    note: str = ""
    spread: tuple[float, float] | None = None

    def as_json(self, name: str) -> dict[str, object]:
        return {
            "value": _short(self.value),
            "unit": self.unit,
            **measures.judgement(name, self.value),
            "pairs": [_short(pair) for pair in self.pairs],
            "spread": _short(self.spread or measures.spread(self.pairs)),
            "ours": _short(self.ours),
            "limit": _short(self.limit),
            "note": self.note,
        }


def ratio(found: Pairs, *, unit: str = "ratio", note: str = "") -> Found:
    """The median of the pairs' ratios."""
    return Found(found.ratio, unit, list(found.values), found.ours, found.limit, note)


def middle(values: Sequence[float], unit: str, note: str = "") -> Found:
    """The median of figures that have nothing beside them."""
    return Found(median(values), unit, list(values), median(values), None, note)


def _short(value: object) -> object:
    if isinstance(value, tuple | list):
        return [_short(each) for each in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value

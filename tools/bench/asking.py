"""The same questions of two databases in turn; the slowest one, by its p95, judges."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import median, quantiles
from time import perf_counter

from tools.bench.goals import Found
from tools.bench.ground import Ground

ROUNDS, WARM_UPS, TIMINGS = 5, 6, 20

Questions = Mapping[str, Callable[[], object]]
#: Milliseconds of each timing, by question.
Timings = dict[str, list[float]]


def compared(small: Ground, large: Ground, questions: Callable[[Ground], Questions]) -> Found:
    """p95 of each question of `large` ÷ of `small`, asked of this process's own connection to each."""
    asked: list[Questions] = []
    for ground in (small, large):
        ground.connect()
        asked.append(questions(ground))
    timings: tuple[Timings, Timings] = ({}, {})
    for n in range(ROUNDS):
        for which in (n % 2, 1 - n % 2):
            (small, large)[which].connect()
            ask(asked[which], timings[which], WARM_UPS)
    return slowest(*timings)


def ask(questions: Questions, timings: Timings, warm_ups: int, times: int = TIMINGS) -> None:
    """Each question some times; those after the first `warm_ups` are noted."""
    for name, question in questions.items():
        for n in range(warm_ups + times):
            begun = perf_counter()
            question()
            if n >= warm_ups:
                timings.setdefault(name, []).append(1000 * (perf_counter() - begun))


def slowest(small: Timings, large: Timings) -> Found:
    """What was found of the question whose p95 grew most."""
    each = {name: (_p95(large[name]), _p95(small[name])) for name in small}
    ratios = {name: ours / limit for name, (ours, limit) in each.items()}
    worst = max(ratios, key=lambda name: ratios[name])
    note = "; ".join(f"{name} {value:.2f}" for name, value in ratios.items())
    found = Found(ratios[worst], "ratio of p95", list(each.values()), *each[worst], note=note)
    found.spread = _spread(small[worst], large[worst])
    return found


def _p95(values: Sequence[float]) -> float:
    return quantiles(values, n=20)[-1]


def _spread(small: Sequence[float], large: Sequence[float]) -> tuple[float, float]:
    """Of the rounds: their timings follow each other. A round is too short for a p95: by medians."""
    size = len(small) // ROUNDS
    rounds = range(0, size * ROUNDS, size)
    ratios = [median(large[n : n + size]) / median(small[n : n + size]) for n in rounds]
    return min(ratios), max(ratios)

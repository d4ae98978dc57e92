"""What each figure is, and the goals of record that the table judges by: what to reach, and what comes after it.

Results that were measured when a goal was another one are judged by the one that stands here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

#: One figure of `results.json`. Any: numbers, words and lists of numbers.
Figure = Mapping[str, Any]
Results = Mapping[str, Figure]


@dataclass(frozen=True, slots=True)
class Measure:
    """`least`: as little as can be is wanted."""

    words: str
    goal: float
    then: float | None = None
    least: bool = False

    def reached(self, value: float) -> bool:
        return value <= self.goal if self.least else value >= self.goal


def _least(words: str, goal: float, then: float | None = None) -> Measure:
    return Measure(words, goal, then, least=True)


#: In the order of the table.
MEASURES: Final[Mapping[str, Measure]] = {
    "P1": Measure("accepted submits/s of one web process ÷ bare submit", 0.9, 1.0),
    "P1_children": Measure("submits/s of delegated keys, 10,000 of the account alive ÷ 32", 0.95, 1.0),
    "P2": Measure("finished/s from a backlog ÷ bare run with its best threads, tool of 0 ms", 1.5, 2.0),
    "P3": Measure("finished/s ÷ bare run, tool of 1 s, 800 in flight on two processes", 1.0, 1.2),
    "P4_p50": _least("submit → long-poll answer at 100/s, p50", 8, 5),
    "P4_p99": _least("the same, p99", 30, 15),
    "P5": _least("CPU of the whole platform for a finished invocation at saturation ÷ bare run", 3.0, 2.0),
    "P5b": _least("CPU of the whole platform for a finished invocation at 25/s", 8, 5),
    "P6": Measure("reads of one invocation/s ÷ bare read", 0.9, 1.0),
    "P6_304": _least("a 304 ÷ a 200, CPU", 0.6, 0.4),
    "P7": Measure("submits/s with 2,000 waiting clients ÷ without", 0.9, 0.95),
    "P8": _least("usage of a long history ÷ of 10,000 rows, the slowest question's p95", 1.5, 1.1),
    "P8_lists": _least("lists of a long history by each filter ÷ of 10,000 rows, the slowest's p95", 1.5, 1.1),
    "P9_submits": Measure("submits/s beside many ended invocations ÷ beside 10,000", 0.98, 1.0),
    "P9_finished": Measure("finished/s beside many ended invocations ÷ beside 10,000", 0.98, 1.0),
    "P10": _least("another account's p99 beside 10,000 queued ÷ alone", 1.2, 1.05),
    "P11_rate": Measure("webhook deliveries/s ÷ bare post", 0.8, 1.0),
    "P11_p99": _least("healthy receivers' p99 with half of all hanging ÷ without", 1.1, 1.05),
    "neighbours": _least("another account's p99 beside attacks of one tenant ÷ alone, the worst of them", 2),
    "P12_web": _least("memory of a web process", 130, 100),
    "P12_worker": _least("memory of a worker process, 400 in flight", 100, 80),
    "P12_idle": _least("memory of the idle stack", 400, 300),
    "P13": _least("`make run` to the first finished invocation, first start", 5, 3),
    "P13_later": _least("the same, later starts on the same ports", 3, 2),
    "P14": Measure("finished/s from a backlog ÷ procrastinate's async worker", 1.5, 2.0),
    "naive": Measure("finished/s from a backlog ÷ Celery, Redis and SQLAlchemy as a user would put them together", 2.0),
    "peer": Measure("finished/s ÷ litellm proxy", 1.0),
    "P15": _least("CPU of the idle platform", 30, 10),
    "P16_first": _least("first part of a streamed answer at its reader, after the tool wrote it, p50", 10),
    "P16_rate": Measure("chunks/s of 400 streams ÷ cores that a worker process used for them", 5_000),
    "P16_cpu": _least("CPU of the web process for a chunk sent to one reader", 0.2),
    "P17": _least("a list page of the console ÷ the same list of the API, CPU", 1.5, 1.2),
    "P17_growth": _least("the console's pages of a long history ÷ of 10,000 rows, the slowest page's p95", 1.5, 1.1),
    "shedding": Measure("accepted submits/s at three times what PostgreSQL can store ÷ at just that", 0.9, 0.98),
    "shedding_p99": _least("p99 of accepted submits, the same", 3, 2),
    "shedding_refused": _least("p99 of the refusals meanwhile", 100, 20),
    "shedding_reads": _least("p99 of reads meanwhile", 100, 20),
    "size": _least("disk for a finished invocation, indexes included", 2_500),
    "hosts": Measure("two web and two worker hosts: the share of the one that ran fewer", 0.1),
}


def judged(results: Results) -> dict[str, dict[str, Any]]:
    """The results that are still measured, in the order of the table, by the goals of record."""
    return {name: {**results[name], **judgement(name, results[name]["value"])} for name in MEASURES if name in results}


def judgement(name: str, value: float) -> dict[str, object]:
    measure = MEASURES[name]
    return {"goal": measure.goal, "then": measure.then, "reached": measure.reached(value)}


def spread(pairs: Sequence[object]) -> tuple[float, float] | None:
    """The least and the most of the ratios of pairs, or of single figures; nothing of fewer than two.

    Each pair is (ours, limit).
    """
    values = [_value(pair) for pair in pairs]
    return (min(values), max(values)) if len(values) > 1 else None


def _value(pair: object) -> float:
    if isinstance(pair, tuple | list):
        ours, limit = pair
        return float(ours / limit)
    if isinstance(pair, int | float):
        return float(pair)
    raise TypeError(f"neither a pair nor a figure: {pair!r}")

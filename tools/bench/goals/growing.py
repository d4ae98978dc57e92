"""P8, P9, P17_growth: the same questions, work and pages with 10,000 and with 10,000,000 ended invocations (`GROWN`).

Two databases on one PostgreSQL, both there from the beginning, asked in turn.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from statistics import quantiles
from time import perf_counter

from common import usage
from common.kit import clock
from tools.bench import growth, pairs, usage_growth
from tools.bench.goals import Found, answering, paging, ratio, running, submitting
from tools.bench.ground import Ground, prepared

SMALL = 10_000
LARGE = int(os.environ.get("GROWN", "10000000"))
ROUNDS, WARM_UPS, TIMINGS = 5, 6, 8
#: Rows that no rollup has seen yet are few on a running platform; here there are none.
ROLL_UP = 50_000
CALLS = 3_000


def grown_platform(_: Ground) -> dict[str, Found]:
    with ExitStack() as stack:
        small, large = (stack.enter_context(grown(rows)) for rows in (SMALL, LARGE))
        found = p8(small, large)
        found |= paging.p17_growth(small, large)
        found |= p9(small, large)
        sizes = growth.bytes_of(large, LARGE)
    parts = ", ".join(f"{name} {size:.0f}" for name, size in sorted(sizes.items(), key=lambda kv: -kv[1]) if size >= 1)
    told = f"{LARGE:,} invocations: {parts}"
    found["size"] = Found(sum(sizes.values()), "bytes an invocation", 2_500, None, [], None, None, True, told)
    return found


@contextmanager
def grown(rows: int) -> Iterator[Ground]:
    """Servers of its own with so many ended invocations, rolled up by the real rollup."""
    with prepared() as ground:
        seconds, begun = growth.fill(ground, rows), perf_counter()
        while usage.rollup(ROLL_UP):
            pass
        ground.sql("vacuum (analyze)")  # as it would have been done over the years, and not while it is measured
        ground.sql("checkpoint")
        print(f"     {rows:,} rows in {seconds:.0f} s, rolled up in {perf_counter() - begun:.0f} s", flush=True)
        yield ground


# -- P8 ----------------------------------------------------------------------------------------------------------


def p8(small: Ground, large: Ground) -> dict[str, Found]:
    """What an account's usage page asks for; the slowest of the questions judges."""
    until, asked = clock.now(), {}
    for ground in (small, large):
        ground.connect()
        asked[ground.settings.database_url] = usage_growth.questions(ground.accounts[0].user_id, until)
    timings: list[dict[str, list[float]]] = [{}, {}]
    for n in range(ROUNDS):
        for which in (n % 2, 1 - n % 2):
            ground = (small, large)[which]
            ground.connect()
            _ask(asked[ground.settings.database_url], timings[which])
    each = {name: (_p95(timings[1][name]), _p95(timings[0][name])) for name in timings[0]}
    ratios = {name: ours / limit for name, (ours, limit) in each.items()}
    worst = max(ratios, key=lambda name: ratios[name])
    note = f"{LARGE:,} rows; " + "; ".join(f"{name} {value:.2f}" for name, value in ratios.items())
    return {
        "P8": Found(
            ratios[worst], "ratio of p95", 1.5, 1.1, list(each.values()), each[worst][0], each[worst][1], True, note
        )
    }


def _ask(questions: Mapping[str, Callable[[], object]], timings: dict[str, list[float]]) -> None:
    for name, question in questions.items():
        for n in range(WARM_UPS + TIMINGS):
            begun = perf_counter()
            question()
            if n >= WARM_UPS:
                timings.setdefault(name, []).append(1000 * (perf_counter() - begun))


def _p95(values: list[float]) -> float:
    return quantiles(values, n=20)[-1]


# -- P9 ----------------------------------------------------------------------------------------------------------


def p9(small: Ground, large: Ground) -> dict[str, Found]:
    """Submits of one web process, and calls finished from a backlog, in both in turn."""
    for ground in (small, large):
        ground.start(submitting.web(ground))
    submits = pairs.in_turn(lambda: _submits(large), lambda: _submits(small))
    for ground in (small, large):
        ground.stop("web")
        ground.sql(
            "set session_replication_role = replica; delete from invocations where status = 'open'; delete from queue"
        )
        submitting.forget(ground)
        ground.start(*ground.workers(running.PROCESSES, running.THREADS))
    finished = pairs.in_turn(lambda: _finished(large), lambda: _finished(small))
    for ground in (small, large):
        answering.stop(ground)
    note = f"{LARGE:,} ended invocations"
    return {
        "P9_submits": ratio(submits, 0.9, 0.98, note=note),
        "P9_finished": ratio(finished, 0.9, 0.98, note=note),
    }


def _submits(ground: Ground) -> float:
    ground.connect()
    return submitting.ours(ground, [])


def _finished(ground: Ground) -> float:
    ground.connect()
    return running.ours(ground, ["quick"], CALLS, [])

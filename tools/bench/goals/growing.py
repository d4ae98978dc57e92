"""P8, P8_lists, P9, P17_growth: the same questions, work and pages beside 10,000 and 10,000,000 ended invocations.

`GROWN` is another number than 10,000,000.

Two databases on one PostgreSQL, both there from the beginning, asked in turn.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from time import perf_counter

from common import invocations, usage
from common.kit import clock
from tools.bench import asking, growth, pairs, usage_growth
from tools.bench.goals import Found, finding, paging, ratio, running, submitting
from tools.bench.ground import Ground, prepared

SMALL = 10_000
LARGE = int(os.environ.get("GROWN", "10000000"))
#: Rows that no rollup has seen yet are few on a running platform; here there are none.
ROLL_UP = 50_000
CALLS = 3_000


def grown_platform(_: Ground) -> Iterator[dict[str, Found]]:
    with ExitStack() as stack:
        small, large = (stack.enter_context(grown(rows)) for rows in (SMALL, LARGE))
        sizes = growth.bytes_of(large, LARGE)
        each = (f"{name} {size:.0f}" for name, size in sorted(sizes.items(), key=lambda kv: -kv[1]) if size >= 1)
        told = f"{LARGE:,} invocations: {', '.join(each)}"
        yield {"size": Found(sum(sizes.values()), "bytes an invocation", note=told)}
        for measure in (p8, finding.lists, paging.p17_growth, p9):
            yield measure(small, large)


@contextmanager
def grown(rows: int) -> Iterator[Ground]:
    """Servers of its own with so many ended invocations, rolled up by the real rollup."""
    with prepared() as ground:
        seconds, begun = growth.fill(ground, rows), perf_counter()
        while usage.rollup(ROLL_UP):
            pass
        invocations.failure_sums.roll_up()
        invocations.storage.measure()
        ground.sql("vacuum (analyze)")  # as it would have been done over the years, and not while it is measured
        ground.sql("checkpoint")
        print(f"     {rows:,} rows in {seconds:.0f} s, rolled up in {perf_counter() - begun:.0f} s", flush=True)
        yield ground


# -- P8 ----------------------------------------------------------------------------------------------------------


def p8(small: Ground, large: Ground) -> dict[str, Found]:
    """What an account's usage page asks for; the slowest of the questions judges."""
    until = clock.now()
    found = asking.compared(small, large, lambda ground: usage_growth.questions(ground.accounts[0].user_id, until))
    found.note = f"{LARGE:,} rows; {found.note}"
    return {"P8": found}


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
        ground.stop_all()
    note = f"{LARGE:,} ended invocations"
    return {
        "P9_submits": ratio(submits, note=note),
        "P9_finished": ratio(finished, note=note),
    }


def _submits(ground: Ground) -> float:
    ground.connect()
    return submitting.ours(ground, [])


def _finished(ground: Ground) -> float:
    ground.connect()
    return running.ours(ground, ["quick"], CALLS, [])

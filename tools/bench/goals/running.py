"""P2 and P3: finished invocations of two worker processes ÷ bare tasks with the same call, tool of 0 ms and of 1 s."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter, sleep

from common.queueing import messages
from dev.supervisor import Part
from tools.bench import backlog, pairs
from tools.bench.goals import Found, ratio
from tools.bench.ground import Ground

PROCESSES = 2
#: Numbers of threads of a process that are tried with a tool that answers at once, before anything is measured.
TRIED = (1, 2, 4, 8)
TRIED_CALLS, TIMES = 1_000, 3
THREADS = 200
QUICK_CALLS = 4_000
#: With a tool of one second: as many at once as both sides have threads, for five rounds.
IN_FLIGHT = 800
SLOW_CALLS = 4_000


@dataclass(frozen=True, slots=True)
class Best:
    """The workers with the number of threads that most calls went through with, and how that was seen."""

    workers: list[Part]
    note: str


def best_of(
    ground: Ground,
    what: str,
    worker: Callable[[int, int], Part],
    drain: Callable[[int], float],
    tried: Sequence[int] = TRIED,
) -> Best:
    """Try each number of threads. `worker(number, threads)` is a process, `drain(calls)` runs so many → calls/s."""
    rates: dict[int, float] = {}
    for threads in tried:
        parts = [worker(n + 1, threads) for n in range(PROCESSES)]
        ground.start(*parts)
        drain(TRIED_CALLS)  # both are there, and connected
        rates[threads] = median(drain(TRIED_CALLS) for _ in range(TIMES))
        ground.stop(*(part.name for part in parts))
    best = max(rates, key=lambda threads: rates[threads])
    each = ", ".join(f"{threads}: {rate:.0f}" for threads, rate in rates.items())
    workers = [worker(n + 1, best) for n in range(PROCESSES)]
    return Best(workers, f"{what} with {best} threads a process, its best (calls/s of each number: {each})")


def best_bare(ground: Ground) -> Best:
    """The bare run with a tool that answers at once."""
    return best_of(
        ground,
        "bare",
        lambda number, threads: ground.bare_worker(number, threads, "/tool"),
        lambda calls: bare_tasks(ground, calls, []),
    )


def p2(ground: Ground) -> dict[str, Found]:
    """From a backlog, so that neither side waits for submits: claim, call, end, usage row, settle."""
    best = best_bare(ground)
    ground.start(*ground.workers(PROCESSES, THREADS), *best.workers)
    spent: dict[str, list[float]] = {"ours": [], "bare": []}
    bare_tasks(ground, TRIED_CALLS, [])
    found = pairs.in_turn(
        lambda: ours(ground, ["quick"], QUICK_CALLS, spent["ours"]),
        lambda: bare_tasks(ground, QUICK_CALLS, spent["bare"]),
    )
    ground.stop_all()
    return {"P2": ratio(found, note=f"{_cpu(spent)}; {best.note}")}


def p3(ground: Ground) -> dict[str, Found]:
    """Two tools: none may fill more than four fifths of a process's threads."""
    each = IN_FLIGHT // PROCESSES
    bare = [ground.bare_worker(n + 1, each, "/tool/1000") for n in range(PROCESSES)]
    ground.start(*ground.workers(PROCESSES, each), *bare)
    spent: dict[str, list[float]] = {"ours": [], "bare": []}
    bare_tasks(ground, IN_FLIGHT, [])
    found = pairs.in_turn(
        lambda: ours(ground, ["slow", "slow-too"], SLOW_CALLS, spent["ours"]),
        lambda: bare_tasks(ground, SLOW_CALLS, spent["bare"]),
    )
    ground.stop_all()
    threads = f"bare with {each} threads a process, the fewest that have {IN_FLIGHT} in flight"
    reached = f"{found.limit / IN_FLIGHT:.0%} of the {IN_FLIGHT}/s that can be"
    return {"P3": ratio(found, note=f"{IN_FLIGHT} in flight; {_cpu(spent)}; {threads}: {reached}")}


def _cpu(spent: dict[str, list[float]]) -> str:
    mine, theirs = (1000 * median(spent[name]) for name in ("ours", "bare"))
    return f"CPU of the workers: {mine:.2f} ms a call, bare {theirs:.2f} ms"


def ours(ground: Ground, tools: Sequence[str], calls: int, spent: list[float]) -> float:
    """Calls a second, and afterwards a look at whether each of them is in the books."""
    before = ground.sql("select count(*) from usage_logs where status = 'success'")[0][0]

    def fill() -> None:
        accounts = ground.accounts[:8]
        backlog.ours(ground, [ground.tools[name] for name in tools], calls // 8, accounts, 1_000)
        messages.notify_times(messages.RUN_INVOCATION, 1_000)

    rate = drained(ground, "invocations-", calls, fill, spent)
    while ground.sql("select count(*) from queue")[0][0]:
        sleep(0.05)
    ended = ground.sql("select count(*) from usage_logs where status = 'success'")[0][0] - before
    if ended != calls:
        raise RuntimeError(f"{calls} calls, but {ended} in the books")
    return rate


def bare_tasks(ground: Ground, calls: int, spent: list[float]) -> float:
    return drained(ground, "bare-", calls, lambda: backlog.bare(ground, calls), spent)


def drained(ground: Ground, parts: str, calls: int, fill: Callable[[], None], spent: list[float]) -> float:
    """Answers of the tool a second between the first and the last tenth of a backlog."""
    pids = pids_of(ground, parts)
    ground.answered(reset=True)
    with pairs.cpu(pids) as cpu:
        fill()
        seen = _watch(ground, calls)
    spent.append(cpu.total / calls)
    body = [(at, count) for at, count in seen if calls * 0.1 <= count <= calls * 0.9]
    (begun, first), (over, last) = body[0], body[-1]
    return (last - first) / (over - begun)


def pids_of(ground: Ground, parts: str) -> list[int]:
    """Of the parts whose names begin so."""
    return [child.pid for name, child in ground.supervisor.children.items() if name.startswith(parts)]


def _watch(ground: Ground, calls: int) -> list[tuple[float, int]]:
    """When how many had been answered, until all are."""
    seen, give_up = [(perf_counter(), 0)], perf_counter() + 120
    while seen[-1][1] < calls:
        if perf_counter() > give_up:
            raise RuntimeError(f"only {seen[-1][1]} of {calls} calls")
        sleep(0.02)
        seen.append((perf_counter(), ground.answered()))
    return seen


def stop_bare(ground: Ground) -> None:
    ground.stop(*[name for name in ground.supervisor.children if name.startswith("bare-")])

"""P2 and P3: finished invocations of two worker processes ÷ bare tasks with the same call, tool of 0 ms and of 1 s."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median
from time import perf_counter, sleep

from common.queueing import messages
from tools.bench import backlog, pairs
from tools.bench.goals import Found, ratio
from tools.bench.ground import Ground

PROCESSES = 2
#: The best of 4, 8, 16 and 200 for bare tasks with a tool that answers at once.
BARE_THREADS = 8
THREADS = 200
QUICK_CALLS = 4_000
#: With a tool of one second: as many at once as both sides have threads, for five rounds.
IN_FLIGHT = 800
SLOW_CALLS = 4_000


def p2(ground: Ground) -> dict[str, Found]:
    """From a backlog, so that neither side waits for submits: claim, call, end, usage row, settle."""
    bare = [ground.bare_worker(n + 1, BARE_THREADS, "/tool") for n in range(PROCESSES)]
    ground.start(*ground.workers(PROCESSES, THREADS), *bare)
    spent: dict[str, list[float]] = {"ours": [], "bare": []}
    found = pairs.in_turn(
        lambda: ours(ground, ["quick"], QUICK_CALLS, spent["ours"]),
        lambda: bare_tasks(ground, QUICK_CALLS, spent["bare"]),
    )
    stop(ground)
    return {"P2": ratio(found, 1.0, 1.5, note=_cpu(spent))}


def p3(ground: Ground) -> dict[str, Found]:
    """Two tools: none may fill more than four fifths of a process's threads."""
    each = IN_FLIGHT // PROCESSES
    bare = [ground.bare_worker(n + 1, each, "/tool/1000") for n in range(PROCESSES)]
    ground.start(*ground.workers(PROCESSES, each), *bare)
    spent: dict[str, list[float]] = {"ours": [], "bare": []}
    found = pairs.in_turn(
        lambda: ours(ground, ["slow", "slow-too"], SLOW_CALLS, spent["ours"]),
        lambda: bare_tasks(ground, SLOW_CALLS, spent["bare"]),
    )
    stop(ground)
    return {"P3": ratio(found, 0.9, 1.2, note=f"{IN_FLIGHT} in flight; {_cpu(spent)}")}


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

    rate = _drained(ground, "invocations-", calls, fill, spent)
    while ground.sql("select count(*) from queue")[0][0]:
        sleep(0.05)
    ended = ground.sql("select count(*) from usage_logs where status = 'success'")[0][0] - before
    if ended != calls:
        raise RuntimeError(f"{calls} calls, but {ended} in the books")
    return rate


def bare_tasks(ground: Ground, calls: int, spent: list[float]) -> float:
    return _drained(ground, "bare-", calls, lambda: backlog.bare(ground, calls), spent)


def _drained(ground: Ground, parts: str, calls: int, fill: Callable[[], None], spent: list[float]) -> float:
    """Answers of the tool a second between the first and the last tenth of a backlog."""
    pids = [child.pid for name, child in ground.supervisor.children.items() if name.startswith(parts)]
    ground.answered(reset=True)
    with pairs.cpu(pids) as cpu:
        fill()
        seen = _watch(ground, calls)
    spent.append(cpu.total / calls)
    body = [(at, count) for at, count in seen if calls * 0.1 <= count <= calls * 0.9]
    (begun, first), (over, last) = body[0], body[-1]
    return (last - first) / (over - begun)


def _watch(ground: Ground, calls: int) -> list[tuple[float, int]]:
    """When how many had been answered, until all are."""
    seen, give_up = [(perf_counter(), 0)], perf_counter() + 120
    while seen[-1][1] < calls:
        if perf_counter() > give_up:
            raise RuntimeError(f"only {seen[-1][1]} of {calls} calls")
        sleep(0.02)
        seen.append((perf_counter(), ground.answered()))
    return seen


def stop(ground: Ground) -> None:
    ground.stop(*[name for name in ground.supervisor.children if name.startswith(("invocations-", "bare-"))])

"""P4: from submit to the answer of the long-poll. P5: CPU of the whole platform for a finished call ÷ bare run."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median, quantiles

from dev import platform
from tools.bench import backlog, load, pairs
from tools.bench.goals import Found, middle, ratio, running
from tools.bench.ground import Ground
from tools.bench.load import Load

RATE = 100.0
FEW = 25.0
FEW_SECONDS = 5.0
SECONDS = 10.0
WAIT = {"Prefer": "wait=30"}


def whole(ground: Ground) -> None:
    """Every process of the platform, with the threads that it has by default."""
    ground.start(ground.web(), *ground.workers(2, 200), *platform.background(ground.settings))


def p4(ground: Ground) -> dict[str, Found]:
    """At 100 a second, whether or not earlier ones have been answered; the tool takes 0 ms."""
    whole(ground)
    requests = ground.submits("quick", **WAIT)
    load.steady(ground.settings.port, requests, rate=RATE / 2, seconds=3)
    rounds = []
    for _ in range(pairs.PAIRS):
        cuts = quantiles(good(load.steady(ground.settings.port, requests, rate=RATE, seconds=SECONDS)).waits, n=100)
        rounds.append((1000 * cuts[49], 1000 * cuts[98]))
    halves, tails = [p50 for p50, _ in rounds], [p99 for _, p99 in rounds]
    note = f"{RATE:.0f} a second, {pairs.PAIRS} rounds of {SECONDS:.0f} s; from when a request was due"
    return {
        "P4_p50": middle(halves, "ms", note),
        "P4_p99": middle(tails, "ms", note),
    }


def p5(ground: Ground) -> dict[str, Found]:
    """As many as go through, submit to answer, in turn with bare tasks: all that either side needs for a call."""
    best = running.best_bare(ground)
    whole(ground)
    ground.start(*best.workers)
    names, rates, parts = ground.names(), list[float](), list[dict[int, float]]()
    good(load.closed(ground.settings.port, ground.submits("quick", **WAIT), clients=32, seconds=3))
    running.bare_tasks(ground, running.TRIED_CALLS, [])
    found = pairs.in_turn(lambda: _full(ground, names, rates, parts), lambda: _bare(ground))
    running.stop_bare(ground)
    note = (
        f"ms of CPU; at {median(rates):.0f}/s, submit to answer: {pairs.by_part(names, parts)}; {best.note}, with Redis"
    )
    return {"P5": ratio(found, unit="ratio of CPU", note=note)}


def p5b(ground: Ground) -> dict[str, Found]:
    """A few a second: what a platform does anyway weighs more, and so does whatever has to be woken. Bare tasks at the
    same rate are measured in turn.
    """
    whole(ground)
    ground.start(*[ground.bare_worker(n + 1, 1, "/tool") for n in range(running.PROCESSES)])
    requests, names = ground.submits("quick", **WAIT), ground.names()
    good(load.closed(ground.settings.port, requests, clients=32, seconds=2))
    running.bare_tasks(ground, running.TRIED_CALLS, [])
    parts: list[dict[int, float]] = []

    def ours() -> float:
        with pairs.cpu(names) as cpu:
            found = good(load.steady(ground.settings.port, requests, rate=FEW, seconds=FEW_SECONDS))
        parts.append({pid: 1000 * seconds / found.good for pid, seconds in cpu.seconds.items()})
        return sum(parts[-1].values())

    def bare() -> float:
        with pairs.cpu([*running.pids_of(ground, "bare-"), ground.redis.pid]) as cpu:
            calls = backlog.bare_at(ground, FEW, FEW_SECONDS)
        return 1000 * cpu.total / calls

    found = pairs.in_turn(ours, bare)
    running.stop_bare(ground)
    beside = f"a bare task at the same rate, with Redis: {found.limit:.1f}"
    note = f"{pairs.PAIRS} rounds of {FEW_SECONDS:.0f} s, submit to answer: {pairs.by_part(names, parts)}; {beside}"
    return {"P5b": middle([mine for mine, _ in found.values], "ms of CPU", note)}


def _full(ground: Ground, names: Mapping[int, str], rates: list[float], parts: list[dict[int, float]]) -> float:
    """Milliseconds of the platform for a call, with its servers."""
    with pairs.cpu(names) as cpu:
        found = good(load.closed(ground.settings.port, ground.submits("quick", **WAIT), clients=32, seconds=5))
    rates.append(found.rate)
    calls = found.good * 1.2  # warming up is a fifth more
    parts.append({pid: 1000 * seconds / calls for pid, seconds in cpu.seconds.items()})
    return sum(parts[-1].values())


def _bare(ground: Ground) -> float:
    """Milliseconds of the bare workers and of Redis for a call."""
    spent: list[float] = []
    with pairs.cpu([ground.redis.pid]) as cpu:
        running.bare_tasks(ground, running.QUICK_CALLS, spent)
    return 1000 * (spent[0] + cpu.total / running.QUICK_CALLS)


def good(found: Load) -> Load:
    """Every answer was the end. Raises `RuntimeError`."""
    if set(found.statuses) != {200}:
        raise RuntimeError(f"the web process answered {dict(found.statuses)}")
    return found

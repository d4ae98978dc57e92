"""P4: from submit to the answer of the long-poll. P5: CPU of the whole platform for a finished invocation."""

from __future__ import annotations

from statistics import median, quantiles

from dev import platform
from tools.bench import load, pairs
from tools.bench.goals import Found
from tools.bench.ground import Ground
from tools.bench.load import Load

RATE = 100.0
FEW = 25.0
SECONDS = 10.0
ROUNDS = 5
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
    for _ in range(ROUNDS):
        cuts = quantiles(good(load.steady(ground.settings.port, requests, rate=RATE, seconds=SECONDS)).waits, n=100)
        rounds.append((1000 * cuts[49], 1000 * cuts[98]))
    halves, tails = [p50 for p50, _ in rounds], [p99 for _, p99 in rounds]
    note = f"{RATE:.0f} a second, {ROUNDS} rounds of {SECONDS:.0f} s; from when a request was due"
    return {
        "P4_p50": Found(median(halves), "ms", 15, 8, list(halves), median(halves), None, True, note),
        "P4_p99": Found(median(tails), "ms", 60, 30, list(tails), median(tails), None, True, note),
    }


def p5(ground: Ground) -> dict[str, Found]:
    """As many as go through; then at 25 a second, where what a platform does anyway weighs more."""
    whole(ground)
    requests = ground.submits("quick", **WAIT)
    good(load.closed(ground.settings.port, requests, clients=32, seconds=3))
    full, rates, steady = [], [], []
    for _ in range(ROUNDS):
        cpu, found = _spent(ground, lambda: load.closed(ground.settings.port, requests, clients=32, seconds=5))
        full.append(1000 * cpu / (found.good * 1.2))
        rates.append(found.rate)
        cpu, found = _spent(ground, lambda: load.steady(ground.settings.port, requests, rate=FEW, seconds=5))
        steady.append(1000 * cpu / found.good)
    note = f"at {median(rates):.0f}/s, submit to answer; at {FEW:.0f}/s {median(steady):.1f} ms"
    return {"P5": Found(median(full), "ms of CPU", 5, 3, list(full), median(full), None, True, note)}


def _spent(ground: Ground, work: object) -> tuple[float, Load]:
    with pairs.cpu(ground.pids()) as cpu:
        found = good(work())  # type: ignore[operator]
    return cpu.total, found


def good(found: Load) -> Load:
    """Every answer was the end. Raises `RuntimeError`."""
    if set(found.statuses) != {200}:
        raise RuntimeError(f"the web process answered {dict(found.statuses)}")
    return found


def stop(ground: Ground) -> None:
    ground.stop(*[name for name in ground.supervisor.children if name != "tool"])

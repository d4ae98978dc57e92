"""`make soak`: constant load, random faults, memory and connections sampled, the books at the end.

By time (SOAK_MINUTES), or by count (`ARGS="--invocations 100000"`): then in batches, as fast as they are done.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import psycopg

from tools.faults import checks, run, strikes
from tools.faults.checks import Result
from tools.faults.load import Client, order_for
from tools.faults.people import PASSWORD
from tools.faults.world import Span, Violation, World, memory_of, open_files_of

EVERY = 20.0
BATCH = 25
#: So many open invocations are enough; more would only wait.
BACKLOG = 1500
SLOPE = 0.10
#: How often two strike at once.
PAIRS = 0.5


@dataclass(frozen=True, slots=True)
class Sample:
    """One look: seconds since the beginning, bytes, open files and sessions of everything together."""

    at: float
    memory: int
    files: int
    sessions: int
    by_part: dict[str, int]


def main(world: World, *, minutes: float, invocations: int | None, rate: float) -> int:
    """Exit status: 0 when nothing was lost, doubled or charged twice, the books agree, and memory is flat."""
    nemesis, samples = Random(world.seed), []
    began, wall = time.monotonic(), time.time()
    world.history.fresh()
    struck: list[str] = []
    over: Callable[[], bool] = lambda: time.monotonic() - began > minutes * 60  # noqa: E731
    feeding: list[threading.Thread] = []
    if invocations is not None:
        feeding = _feed_in(world, invocations, began + minutes * 60)
        over = lambda: not any(thread.is_alive() for thread in feeding)  # noqa: E731
    with world.under_load(rate) if invocations is None else contextlib.nullcontext():
        while not over():
            world.sleep(2 if invocations is not None else nemesis.uniform(0.5, 1.5) * EVERY / 2)
            samples.append(_sample(world, time.monotonic() - began))
            struck.append(_strike(world, nemesis))
            _say(world, samples[-1], struck[-1])
            world.sleep(nemesis.uniform(10, 20) if invocations is not None else EVERY / 2)
            world.heal()
    return _judge(world, wall, samples, struck)


# -- breaking things at random ------------------------------------------------------------------------------------


def _strike(world: World, nemesis: Random) -> str:
    """One random fault, or two at once; over when this returns, or striking by itself."""
    fault = time.time()
    if nemesis.random() < PAIRS:
        name = strikes.pair(world, nemesis)
    else:
        name, act = nemesis.choice(strikes.choices(world, nemesis))
        with contextlib.suppress(Exception):  # whatever is just being restarted cannot be broken once more
            act()
    world.spans.append(Span(name, fault, time.time()))
    return name


# -- a given number of invocations --------------------------------------------------------------------------------


def _feed_in(world: World, invocations: int, until: float) -> list[threading.Thread]:
    """Threads that submit so many in batches, no faster than they are done; none after `until` (monotonic)."""
    left = [invocations]
    lock = threading.Lock()

    def work(number: int) -> None:
        client = Client(world.hub.url, world.history)
        account = world.accounts[number % len(world.accounts)]
        while True:
            while _backlog(world) > BACKLOG:
                time.sleep(0.3)
            with lock:
                size = min(BATCH, left[0])
                left[0] -= size
            if not size or time.monotonic() > until:
                return
            tool = "once0" if number % 4 == 3 else "echo"
            client.batch(account, [order_for(account, tool) for _ in range(size)])

    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(6)]
    for thread in threads:
        thread.start()
    return threads


def _backlog(world: World) -> int:
    with contextlib.suppress(psycopg.Error):
        return world.number("select count(*) from queue")
    return 0


# -- looking ------------------------------------------------------------------------------------------------------


def _sample(world: World, at: float) -> Sample:
    up = {name: child.pid for name, child in world.children.items() if child.is_up and name != "oracle"}
    by_part = {name: memory_of(pid) for name, pid in up.items()}
    sessions = 0
    with contextlib.suppress(psycopg.Error):
        sessions = world.number("select count(*) from pg_stat_activity where application_name like 'joyfull%'")
    return Sample(at, sum(by_part.values()), sum(open_files_of(pid) for pid in up.values()), sessions, by_part)


def _say(world: World, sample: Sample, strike: str) -> None:
    accepted = len(world.history.accepted)
    print(
        f"{sample.at:6.0f} s  accepted {accepted:6d}  memory {sample.memory >> 20} MB  files {sample.files}  "
        f"sessions {sample.sessions}  {strike}",
        flush=True,
    )


def _judge(world: World, began: float, samples: list[Sample], struck: list[str]) -> int:
    result = Result(("soak",), f"{len(struck)} random faults")
    seconds = time.time() - began
    try:
        world.heal()
        run.settle(world, 300)
        if failure := checks.canary(world):
            result.violations.append(failure)
        run.settle(world, 300)
        checks.all_of(world, result, began)
    except Violation as error:
        result.violations.append(str(error))
    result.violations += [f"I25 {each}" for each in secrets_in_logs(world)]
    first, last = _mean(samples, 0.1, first=True), _mean(samples, 0.1, first=False)
    samples.append(_sample(world, time.time() - began))
    growth = (last - first) / first if first else 0.0
    print(run.line(result), flush=True)
    print(f"seed {world.seed}; {len(struck)} faults in {seconds:.0f} s; {result.accepted / seconds:.1f} invocations/s")
    print(f"memory: {first / 2**20:.0f} MB in the first tenth, {last / 2**20:.0f} MB in the last: {growth:+.1%}")
    for name in samples[0].by_part:
        print(f"  {name}: {[each.by_part.get(name, 0) >> 20 for each in samples[:: max(1, len(samples) // 8)]]} MB")
    print(
        f"open files {samples[0].files} → {samples[-1].files}, sessions {samples[0].sessions} → {samples[-1].sessions}"
    )
    return 0 if result.passed and growth <= SLOPE else 1


def _mean(samples: list[Sample], share: float, *, first: bool) -> float:
    count = max(1, int(len(samples) * share))
    chosen = samples[:count] if first else samples[-count:]
    return sum(each.memory for each in chosen) / len(chosen)


def secrets_in_logs(world: World) -> list[str]:
    """I25: keys, passwords and signing secrets of this run that stand in a log of the platform, by the log's name."""
    canaries = [PASSWORD, *(each.key for each in world.accounts), *(each.secret for each in world.accounts)]
    found = []
    for log in world.logs.glob("*.log"):
        text = log.read_text(errors="replace")
        found += [log.name for canary in canaries if canary in text]
    return sorted(set(found))

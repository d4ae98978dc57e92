"""The simulation of `tools/cells` against cases whose result is known, and its model against its own arithmetic."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from dataclasses import replace

import pytest

from tools.cells import costs, running, steps
from tools.cells.engine import Outcome, Simulation, Station, Visit

COSTS = replace(costs.read()[0], accounts=100)
DESK = ("desk", 0)


def poisson(load: float, servers: int = 1, fixed: float = 0.0, jobs: int = 20_000) -> Outcome:
    """Jobs of 1 s on average, in a Poisson process; `fixed`: the share of a service that does not vary."""
    chance, times, now = random.Random(20), list[float](), 0.0
    for _ in range(jobs):
        now += chance.expovariate(load * servers)
        times.append(now)
    simulation = Simulation({DESK: Station(servers)}, running.services(chance, fixed))
    return simulation.run((time, (Visit(DESK, 1.0),)) for time in times)


# -- queues whose waits are known ----------------------------------------------------------------------------------


@pytest.mark.parametrize("load", [0.3, 0.5, 0.7])
def test_one_server_waits_as_long_as_the_theory_says(load: float) -> None:
    """M/M/1: the mean wait is load / (1 - load) services; longer than t wait load × e^-(1 - load)t of all."""
    waits = poisson(load).waits

    assert sum(waits) / len(waits) == pytest.approx(load / (1 - load), rel=0.1)
    for least in (0, 2, 5):
        expected = load * math.exp(-(1 - load) * least)
        assert sum(wait > least for wait in waits) / len(waits) == pytest.approx(expected, abs=0.02)


def test_a_steadier_service_waits_less() -> None:
    """M/G/1 (Pollaczek and Khinchine): half of the wait, times 1 + the square of deviation ÷ mean."""
    waits = poisson(0.6, fixed=0.5).waits

    assert sum(waits) / len(waits) == pytest.approx(0.6 / 0.4 * (1 + 0.5**2) / 2, rel=0.1)


def test_two_servers_share_one_queue() -> None:
    """M/M/2: the mean wait is load² / (1 - load²) services."""
    waits = poisson(0.7, servers=2).waits

    assert sum(waits) / len(waits) == pytest.approx(0.49 / 0.51, rel=0.1)


def test_a_flush_takes_all_that_wait() -> None:
    """At 0, 1 and 2 s, with flushes of 10 s: the first begins at once, the others share the one after it."""
    stations = {DESK: Station(flush=9.0)}
    outcome = Simulation(stations, lambda mean: mean).run((float(n), (Visit(DESK, 1.0),)) for n in range(3))

    assert outcome.waits == [0.0, 8.0, 9.0]
    assert (outcome.done, outcome.waiting) == (0, 3)


def test_work_of_others_slows_a_server_down() -> None:
    stations = {DESK: Station(background=0.5)}
    outcome = Simulation(stations, lambda mean: mean).run([(1.0, (Visit(DESK, 1.0),)), (2.0, (Visit(DESK, 1.0),))])

    assert outcome.waits == [0.0, 1.0]
    assert outcome.loads[DESK] == 2 / 2 + 0.5


# -- the model -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", steps.STEPS, ids=[step.name for step in steps.STEPS])
def test_nothing_is_lost_and_the_loads_are_as_calculated(step: steps.Step) -> None:
    rate = 20_000.0  # too much for the first steps
    platform = steps.platform(step, COSTS, rate)
    outcome = running.simulated(platform, rate, invocations=1_000)
    place, load = running.fullest(platform, COSTS, rate)

    assert outcome.arrived == 1_000 == outcome.done + outcome.waiting
    assert sum(platform.routes.values()) == pytest.approx(1)
    assert 0 < outcome.loads[place] <= load * 1.25, "a queue before it may hold work back"
    if max(platform.loads(rate).values()) < 1:
        assert outcome.loads[place] == pytest.approx(load, rel=0.25)


def test_load_and_wait_grow_with_the_rate() -> None:
    step = steps.STEPS[0]
    full, _ = running.limits(step, COSTS)[0]
    at = [running.found(step, COSTS, share * full, invocations=4_000) for share in (0.5, 0.8, 0.95, 1.05)]

    assert [found.load for found in at] == pytest.approx([0.5, 0.8, 0.95, 1.05])
    assert [found.p99 for found in at] == sorted({found.p99 for found in at}), "each longer than the one before"
    assert at[-1].p99 == float("inf")


def limit(step: steps.Step) -> float:
    return min((rate for rate, _ in running.limits(step, COSTS, points=10)), default=float("inf"))


def test_no_step_is_full_before_the_one_that_it_improves() -> None:
    rates = [limit(step) for step in steps.STEPS if not step.pooled]

    assert rates == sorted(rates)
    assert rates[-1] > 20 * rates[0]


def test_statements_that_are_planned_each_time_cost_more_than_connections_gain() -> None:
    [pooled] = [step for step in steps.STEPS if step.pooled]

    assert limit(pooled) < limit(replace(pooled, pooled=False)) < limit(replace(pooled, pooled=False, raised=True))


def test_accounts_are_placed_more_evenly_than_hashed() -> None:
    hashed, placed = (
        next(step for step in steps.STEPS if step.cells and step.placed is each) for each in (False, True)
    )
    shares = steps.shares(COSTS, 20_000, split=True)

    def most(step: steps.Step) -> float:
        parts = defaultdict[int, float](float)
        for share, cell in zip(shares, steps.cells(step, COSTS, 20_000, shares), strict=True):
            parts[cell] += share
        assert len(parts) == 4
        return max(parts.values())

    assert sum(shares) == pytest.approx(1)
    assert max(shares) * 20_000 <= COSTS.account_rate
    assert most(placed) == pytest.approx(0.25, abs=0.01)
    assert most(placed) < most(hashed)


# -- the inputs ----------------------------------------------------------------------------------------------------


def test_an_input_that_is_no_longer_noted_is_missed() -> None:
    gone = costs.Input("web_submit", "", 0, "ms", "P1", r"([\d.]+) ms a submit")

    with pytest.raises(LookupError, match="P1"):
        costs.measured(gone, {"P1": {"note": "CPU of the web process: not measured"}})

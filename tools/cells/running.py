"""A step at a rate, simulated: Poisson arrivals, accounts by their shares, services half fixed and half exponential."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from tools.cells.costs import Costs
from tools.cells.engine import Draw, Outcome, Place, Route, Simulation
from tools.cells.steps import Platform, Step, platform

#: How many invocations arrive in one simulation; waits of the first fifth are not counted.
INVOCATIONS: Final = 20_000
#: The share of a service's mean that is the same each time; the rest is exponential. So the deviation is half the mean.
FIXED: Final = 0.5
RATES: Final = (1_000, 10_000, 100_000)
#: Of these there are more when they are filled as far as they should be: they are a bottleneck beyond that only.
MULTIPLIED: Final = ("web", "workers", "replicas", "node")


@dataclass(frozen=True, slots=True)
class Found:
    """A step at one rate. `fullest`: kind of the fullest resource, at `load` (above 1 nothing is stationary).

    `p99`: seconds that an invocation waits in all queues together, or infinite.
    """

    step: Step
    rate: float
    fullest: str
    load: float
    p99: float


def simulated(at: Platform, rate: float, *, invocations: int = INVOCATIONS, seed: int = 1) -> Outcome:
    """One run. `rate`: invocations a second."""
    chance = random.Random(seed)
    return Simulation(at.stations, services(chance, FIXED)).run(
        arrivals(chance, at, rate, invocations), warm_up=invocations / rate / 5
    )


def arrivals(chance: random.Random, at: Platform, rate: float, number: int) -> Iterator[tuple[float, Route]]:
    """Times (seconds) of a Poisson process with so many a second, each with the route of an account."""
    now, routes, weights = 0.0, list(at.routes), list(accumulate(at.routes.values()))
    for route in chance.choices(routes, cum_weights=weights, k=number):
        now += chance.expovariate(rate)
        yield now, route


def services(chance: random.Random, fixed: float) -> Draw:
    """Draws durations around a mean: this share of it fixed, the rest exponential."""
    return lambda mean: mean * (fixed + (1 - fixed) * chance.expovariate(1.0))


def found(step: Step, costs: Costs, rate: float, *, invocations: int = INVOCATIONS) -> Found:
    """The fullest resource of a step and the waits; of what is overloaded, only by how much."""
    at = platform(step, costs, rate)
    place, load = fullest(at, costs, rate)
    if load >= 1:
        return Found(step, rate, place[0], load, math.inf)
    return Found(step, rate, place[0], load, simulated(at, rate, invocations=invocations).wait(0.99))


def fullest(at: Platform, costs: Costs, rate: float) -> tuple[Place, float]:
    """The place with the highest load that no further process or node would lower, and that load."""
    loads = sorted(at.loads(rate).items(), key=lambda each: -each[1])
    return next((place, load) for place, load in loads if place[0] not in MULTIPLIED or load > costs.filled)


def limits(step: Step, costs: Costs, points: int = 40) -> list[tuple[float, str]]:
    """The rates (invocations a second) at which each kind of resource is full, the first one first.

    Looked for at so many rates for a factor of ten, from 1,000 to 1,000,000.
    """
    full = dict[str, float]()
    for rate in curve(1_000, 1_000_000, points):
        for (kind, _), load in platform(step, costs, rate).loads(rate).items():
            if load >= 1:
                full.setdefault(kind, rate / load)
    return sorted((rate, kind) for kind, rate in full.items())


def curve(first: float, last: float, points: int) -> list[float]:
    """Rates from the first to the last, so many for a factor of ten, at equal ratios."""
    steps = round(points * math.log10(last / first))
    return [first * (last / first) ** (n / steps) for n in range(steps + 1)]

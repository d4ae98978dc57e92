"""`make cells`: simulate each step of `docs/scaling.md`, and write the table and the plot there (about a minute)."""

from __future__ import annotations

from tools.cells import report, running
from tools.cells.costs import Costs, read
from tools.cells.steps import STEPS, Step

#: Points of a curve for a factor of ten, and shares of the load at which the first resource is full.
POINTS = 6
NEAR = (0.8, 0.9, 0.95, 0.98)


def main() -> None:
    """All steps, one after the other; the same inputs give the same files."""
    costs, inputs = read()
    report.write([row(step, costs) for step in STEPS], inputs)


def row(step: Step, costs: Costs) -> report.Row:
    """One step at the rates of the table, along its curve, and near its limit."""
    limits = running.limits(step, costs)
    full = limits[0][0] if limits else report.ACROSS[1]
    print(step.name, flush=True)
    return report.Row(step.name, limits, {rate: running.found(step, costs, rate) for rate in rates(full)})


def rates(full: float) -> list[float]:
    """Invocations a second to look at, for a step that ends at so many: nothing beyond that but for the table."""
    before = [rate for rate in running.curve(*report.ACROSS, POINTS) if rate < 0.7 * full]
    return sorted({*running.RATES, *before, *(share * full for share in NEAR)})


if __name__ == "__main__":
    main()

"""Whatever happens in whatever order, the books are right: a state machine against real PostgreSQL and Redis.

Two accounts submit, two workers work; web processes and workers die between any two steps, what they tell the gate
arrives late, out of order or never, Redis is wiped or comes back from an old dump. After every step the rows are what
the model says and nobody has spent or run more than allowed; when all is quiet, the gate says what the rows say.

`MODEL_EXAMPLES=2000 MODEL_STEPS=100 pytest tests/budgets/test_model.py` runs it for longer.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    invariant,
    rule,
    run_state_machine_as_test,
)

from common import budgets, subscriptions
from common.invocations import sweeping
from common.kit import redis as redis_kit
from common.operations import ledger
from tests.budgets import world
from tests.budgets.model.booking import Booking
from tests.budgets.model.ground import AT_ONCE
from tests.budgets.model.losing import Losing
from tests.subscriptions import one_by_one

EXAMPLES = int(os.environ.get("MODEL_EXAMPLES", "12"))
STEPS = int(os.environ.get("MODEL_STEPS", "50"))


class Story(Booking, Losing):
    """What must hold whatever happens."""

    @invariant()
    def rows_are_as_they_should_be(self) -> None:
        believed = {each: (row.token, row.held, row.attempts) for each, row in self.open.items()}
        assert world.open_rows() == believed
        assert world.ended_rows() == self.ended

    @invariant()
    def nobody_spends_or_runs_more_than_allowed(self) -> None:
        for each in world.books().values():
            assert each.charged + each.held <= each.granted
        for each in world.keys().values():
            assert each.charged + each.held <= each.granted, "more than an allowance"
        for placed, running in world.busy().values():
            assert running <= placed <= AT_ONCE
        assert all(placed <= most for placed, most in world.busy_keys()), "more than a key may have at once"

    @rule()
    def quiet(self) -> None:
        """When all is told and swept, the gate says what the rows say."""
        while self.late:
            self.a_late_word(number=0)
        self.slow.clear()
        subscriptions.settle_remainders()
        assert subscriptions.settle_remainders() == 0
        budgets.free_orphans(older_than=-1)
        assert ledger.verify().differences == ()
        for account in (0, 1):
            left = one_by_one.naive_balance(self.period(account), datetime.now(UTC))
            assert self.available(account) == left.valid, "what is left of what has not expired, to the token"

    def teardown(self) -> None:
        """Everything that was accepted comes to an end, and nothing is left over."""
        try:
            self._heal()
        finally:
            self.stack.close()

    def _heal(self) -> None:
        while self.late:
            self.a_late_word(number=0)
        self.slow.clear()
        budgets.free_orphans(older_than=-1)
        for _ in range(3 + 2 * len(self.open)):
            self.time_passes()
            sweeping.admit_waiting([])
            sweeping.place_waiting([])
            self.claim(0)
            while self.tasks:
                self.end(number=0, cost=5, good=True, take_next=True, how="at once")
        assert not self.open, "left over"
        self.quiet()
        assert world.open_rows() == {}


@pytest.fixture
def reset(
    db: None, _sweeper: psycopg.Connection[tuple[str]], _sweep_statement: bytes, hurried: None
) -> Callable[[], object]:
    def begin_anew() -> None:
        _sweeper.execute(_sweep_statement)
        redis_kit.client().flushall()

    return begin_anew


def test_the_books_are_right_whatever_happens(reset: Callable[[], object]) -> None:
    bounds = settings(
        max_examples=EXAMPLES, stateful_step_count=STEPS, deadline=None, suppress_health_check=list(HealthCheck)
    )
    run_state_machine_as_test(type("ThisStory", (Story,), {"reset": staticmethod(reset)}), settings=bounds)

"""The world of the model, and what is submitted in it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import wraps
from typing import Any
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    rule,
)

from common import budgets, invocations, subscriptions
from common.errors import BudgetExhausted
from common.invocations import Again, Task, storing, submitting
from common.invocations.choosing import ChosenTool
from common.kit import db
from common.kit import redis as redis_kit
from common.kit.clock import uuid7
from common.tools import ListedTool
from tests import factories
from tests.budgets import world
from tests.budgets.world import Ended, Open
from tests.factories import Customer

AT_ONCE = 2
TOKENS = 60
#: Of the keys that the accounts submit with: for ever, and by the day and one at a time.
KEYS = ((100, "total", None), (45, "day", 1))

numbers = st.integers(0, 10**6)
accounts = st.integers(0, 1)
#: Mostly at once, or else nothing but chaos would ever be seen.
posts = st.sampled_from(["at once"] * 4 + ["late", "never"])


def only_with(what: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A step that is none while there is nothing of that.

    Not a precondition: who takes which of two equal rows is PostgreSQL's choice, and Hypothesis does not like it when
    such things decide what may be drawn.
    """

    def decorated(step: Callable[..., None]) -> Callable[..., None]:
        @wraps(step)
        def maybe(self: Ground, **drawn: Any) -> None:
            if getattr(self, what):
                step(self, **drawn)

        return maybe

    return decorated


class Ground(RuleBasedStateMachine):
    reset: Callable[[], object]

    # -- the world -------------------------------------------------------------------------------------------------

    def __init__(self) -> None:
        super().__init__()
        type(self).reset()
        self.stack = ExitStack()
        self.post = self.stack.enter_context(world.post())
        self.late = self.post.late
        self.customers = [self._joins(account) for account in range(2)]
        self.roots = list(self.customers)
        self.tools = [
            factories.tool(adapter="chat_completion", streaming=True),
            factories.tool(idempotent=False, max_attempts=1),
            factories.tool(price={"base_tokens": 7, "per_unit": None, "max_tokens": 40}),
            factories.tool(price={"base_tokens": 0, "per_unit": None, "max_tokens": 0}),
        ]
        self.admin = factories.admin()
        self.workers = [factories.worker(), factories.worker()]
        self.open: dict[UUID, Open] = {}
        self.ended: dict[UUID, Ended] = {}
        self.owners: dict[UUID, int] = {}
        self.tasks: dict[UUID, Task] = {}
        self.spent: list[Task] = []
        self.slow: list[tuple[int, ListedTool, UUID, budgets.Hold, Customer]] = []
        self.revoked: set[UUID] = set()
        self.line: dict[UUID, set[UUID]] = {}
        self.dump: dict[str, dict[str, str]] = {}
        self.renewed: set[int] = set()

    @staticmethod
    def _joins(account: int) -> Customer:
        """A customer who submits with a key: one for ever, one by the day."""
        return factories.keyed(factories.customer(TOKENS, at_once=AT_ONCE), *KEYS[account])

    def period(self, account: int) -> UUID:
        return subscriptions.for_submit(self.customers[account].user_id).period_id

    def available(self, account: int) -> int:
        """By the account's own budget."""
        return world.books()[self.period(account)].available

    def left(self, account: int) -> int:
        """By the allowance of its key as well."""
        keys_of = (self.customers[account].caller.api_key_id, self.roots[account].caller.api_key_id)
        spent = world.keys()
        return min([self.available(account), *(spent[key_id].available for key_id in keys_of if key_id)])

    # -- submit ----------------------------------------------------------------------------------------------------

    @rule(account=accounts, number=numbers)
    def submit(self, account: int, number: int) -> None:
        self._submit(account, self.tools[number % len(self.tools)])

    @rule(account=accounts, number=numbers)
    def submit_many(self, account: int, number: int) -> None:
        for _ in range(3):
            self._submit(account, self.tools[number % 2])

    @rule(number=numbers)
    @only_with("owners")
    def rerun(self, number: int) -> None:
        """Once more, whatever has become of it: what is held is as of any submit."""
        original = list(self.owners)[number % len(self.owners)]
        account, tool_id = self.owners[original], invocations.get(original, None).tool_id
        if account > 1:
            return  # whoever made it has left
        again = Again(original, {}, "test")
        (tool,) = (each for each in self.tools if each.id == tool_id)
        self._submit(account, tool, lambda: invocations.rerun(self.customers[account].caller, again).id)

    def _submit(self, account: int, tool: ListedTool, ask: Callable[[], UUID] | None = None) -> None:
        """Accepted if and only if the rows cover it: a gate that believes otherwise is not believed."""
        self._look_again()
        covered = self.left(account) >= tool.current.price.max_tokens
        try:
            made = ask() if ask else self.customers[account].submit(tool, stream=tool.current.streaming)
        except BudgetExhausted:
            assert not covered, "refused, but the rows cover it"
            return
        assert covered, "accepted, but the rows do not cover it"
        self._accepted(account, tool, made)

    def _accepted(self, account: int, tool: ListedTool, made: UUID) -> None:
        version = tool.current
        self.owners[made] = account
        self.open[made] = Open(account, version.price.max_tokens, version.max_attempts)

    @staticmethod
    def _look_again() -> None:
        """The rows are asked once a second at most: now a second has passed."""
        for key in redis_kit.client().scan_iter(match="checked:*"):
            redis_kit.client().delete(key)

    @rule(account=accounts, number=numbers)
    def hold_and_pause(self, account: int, number: int) -> None:
        """A web process stops between its hold and its row (perhaps for ever)."""
        tool, made = self.tools[number % len(self.tools)], uuid7()
        try:
            hold = budgets.hold(self.customers[account].account(), made, tool.current.price.max_tokens)
        except BudgetExhausted:
            return
        assert isinstance(hold, budgets.Hold)
        self.slow.append((account, tool, made, hold, self.customers[account]))

    @rule(number=numbers)
    @only_with("slow")
    def go_on_and_commit(self, number: int) -> None:
        """… and goes on much later. If its row is still accepted, the rows must have covered it."""
        account, tool, made, hold, customer = self.slow.pop(number % len(self.slow))
        if self._row_is_accepted(tool, made, hold, customer):
            assert customer.caller.api_key_id not in self.revoked, "accepted from a key that was revoked before"
            self._accepted(account, tool, made)
        else:
            budgets.release(replace(customer.account(), period_id=customer.period_id), made)

    @staticmethod
    def _row_is_accepted(tool: ListedTool, made: UUID, hold: budgets.Hold, customer: Customer) -> bool:
        chosen = ChosenTool(tool, tool.current.price.max_tokens)
        row = submitting._row(customer.caller, factories.order(), chosen, customer.period_id, hold)
        return bool(db.execute(storing.SUBMIT, {**row, "id": made, "request_hash": "-"}))

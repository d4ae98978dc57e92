"""Redis is wiped, restored and rebuilt, words are late, and sweeps put it right."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import (
    rule,
)

from common import budgets
from common.invocations import sweeping
from common.kit import db, failpoints
from common.kit import redis as redis_kit
from tests.budgets import world
from tests.budgets.model.ground import accounts, numbers, only_with, posts
from tests.budgets.model.working import Working
from tests.timing import once


class Losing(Working):
    """Redis is wiped, restored and rebuilt, words are late, and sweeps put it right."""

    @rule()
    def wipe(self) -> None:
        redis_kit.client().flushall()

    @rule()
    def take_a_dump(self) -> None:
        self.dump = world.dumped()

    @rule()
    def restore_the_dump(self) -> None:
        world.restored(self.dump)

    @rule(account=accounts)
    def rebuild(self, account: int) -> None:
        customer = self.customers[account]
        budgets.rebuild(customer.user_id, customer.period_id)

    @rule(account=accounts, begun=st.booleans())
    def die_while_rebuilding(self, account: int, begun: bool) -> None:
        customer = self.customers[account]
        with db.transaction() as session:
            epoch = budgets.bump(session, customer.period_id)
        if begun:
            gate = budgets.budget_key(customer.user_id, customer.period_id)
            redis_kit.run("rebuild_begin", [gate, budgets.allowances_key(customer.user_id)], [epoch])

    @rule(account=accounts, number=numbers, wiped=st.booleans())
    @only_with("late")
    def rebuild_while_words_arrive(self, account: int, number: int, wiped: bool) -> None:
        """Words come in between the snapshot and the install."""
        customer = self.customers[account]

        def meanwhile() -> None:
            self.a_late_word(number=number)
            if wiped:
                redis_kit.client().flushall()

        with failpoints.calling("rebuild.after_read", once(meanwhile)):
            budgets.rebuild(customer.user_id, customer.period_id)

    @rule(number=numbers, good=st.booleans())
    @only_with("tasks")
    def end_while_rebuilding(self, number: int, good: bool) -> None:
        """An end is committed and told between the snapshot and the install."""
        account = self.open[list(self.tasks.values())[number % len(self.tasks)].id].account
        customer = self.customers[account]

        def meanwhile() -> None:
            if good:
                self.end(number=number, cost=9, good=True, take_next=True, how="at once")
            else:
                self.retry_later(number=number, delay=0.0, take_next=True, how="at once")

        with failpoints.calling("rebuild.after_read", once(meanwhile)):
            budgets.rebuild(customer.user_id, customer.period_id)

    @rule(number=numbers)
    @only_with("late")
    def a_late_word(self, number: int) -> None:
        self.late.pop(number % len(self.late))()

    @rule()
    def time_passes(self) -> None:
        """Whatever was to wait has waited."""
        world.shift("due_at", list(self.open), -60)
        world.shift("key_due_at", list(self.open), -60)

    @rule(how=posts)
    def place_waiting(self, how: str) -> None:
        with self.post.sending(how):
            sweeping.place_waiting([])

    @rule(how=posts)
    def admit_waiting(self, how: str) -> None:
        with self.post.sending(how):
            sweeping.admit_waiting([])

    @rule(number=numbers, how=posts)
    def unplace_paused(self, number: int, how: str) -> None:
        with self.post.sending(how):
            sweeping.unplace_paused([self.tools[number % 3].id])

    @rule()
    def free_orphans(self) -> None:
        budgets.free_orphans(older_than=0)

    @rule()
    def lift(self) -> None:
        sweeping.raise_start_tags()

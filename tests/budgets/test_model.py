"""Whatever happens in whatever order, the books are right: a state machine against real PostgreSQL and Redis.

Two accounts submit, two workers work; web processes and workers die between any two steps, what they tell the gate
arrives late, out of order or never, Redis is wiped or comes back from an old dump. After every step the rows are what
the model says and nobody has spent or run more than allowed; when all is quiet, the gate says what the rows say.

`MODEL_EXAMPLES=2000 MODEL_STEPS=100 pytest tests/budgets/test_model.py` runs it for longer.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from common import account_deletion, budgets, invocations, subscriptions
from common.errors import AlreadyFinished, BudgetExhausted, Conflict, NotFound, SubscriptionRequired
from common.identity import accounts as identity
from common.identity import keys
from common.invocations import Again, ClaimOptions, Filters, Task, storing, submitting, sweeping
from common.invocations.choosing import ChosenTool
from common.kit import db, failpoints
from common.kit import redis as redis_kit
from common.kit.clock import uuid7
from common.operations import ledger
from common.subscriptions import months
from common.tools import ListedTool
from tests import factories
from tests.budgets import world
from tests.budgets.world import Ended, Open
from tests.factories import Customer
from tests.subscriptions import one_by_one
from tests.subscriptions.accounts import began, expire
from tests.timing import once

EXAMPLES = int(os.environ.get("MODEL_EXAMPLES", "12"))
STEPS = int(os.environ.get("MODEL_STEPS", "50"))
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
        def maybe(self: Story, **drawn: Any) -> None:
            if getattr(self, what):
                step(self, **drawn)

        return maybe

    return decorated


class Story(RuleBasedStateMachine):
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
            factories.tool(),
            factories.tool(idempotent=False, max_attempts=1),
            factories.tool(price={"base_tokens": 7, "per_unit": None, "max_tokens": 40}),
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
        self._submit(account, self.tools[number % 3])

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
            made = ask() if ask else self.customers[account].submit(tool)
        except BudgetExhausted:
            assert not covered, "refused, but the rows cover it"
            return
        assert covered, "accepted, but the rows do not cover it"
        self._accepted(account, tool, made)

    def _accepted(self, account: int, tool: ListedTool, made: UUID) -> None:
        version = tool.current
        self.owners[made] = account
        self.open[made] = Open(account, version.price.max_tokens, version.idempotent, version.max_attempts)

    @staticmethod
    def _look_again() -> None:
        """The rows are asked once a second at most: now a second has passed."""
        for key in redis_kit.client().scan_iter(match="checked:*"):
            redis_kit.client().delete(key)

    @rule(account=accounts, number=numbers)
    def hold_and_pause(self, account: int, number: int) -> None:
        """A web process stops between its hold and its row (perhaps for ever)."""
        tool, made = self.tools[number % 3], uuid7()
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

    # -- work ------------------------------------------------------------------------------------------------------

    def _took(self, task: Task | None, worker: ClaimOptions) -> None:
        if task is None:
            return
        row = self.open[task.id]
        assert row.token is None, "taken twice"
        row.token, row.worker, row.attempts = task.token, worker.worker, row.attempts + 1
        assert task.attempt == row.attempts
        self.tasks[task.token] = task

    def _task(self, number: int) -> Task:
        task = list(self.tasks.values())[number % len(self.tasks)]
        del self.tasks[task.token]
        self.spent.append(task)
        return task

    def _worker(self, number: int, *, take_next: bool = True) -> ClaimOptions:
        return replace(self.workers[number % 2], take_next=take_next)

    def _ends(self, task_id: UUID, status: str, charged: int) -> None:
        row = self.open.pop(task_id)
        self.ended[task_id] = Ended(status, charged, row.attempts)

    def _parks(self, task_id: UUID) -> None:
        row = self.open[task_id]
        row.token, row.worker, row.sent = None, None, False

    @rule(number=numbers)
    def claim(self, number: int) -> None:
        worker = self._worker(number)
        self._took(invocations.claim(worker), worker)

    @rule(number=numbers, cost=st.integers(0, 60), good=st.booleans(), take_next=st.booleans(), how=posts)
    @only_with("tasks")
    def end(self, number: int, cost: int, good: bool, take_next: bool, how: str) -> None:
        task, worker = self._task(number), self._worker(number, take_next=take_next)
        row = self.open[task.id]
        if good:
            self._ends(task.id, "succeeded", min(cost, row.held))
        else:
            self._ends(task.id, "canceled" if row.canceled else "failed", 0)
        end = replace(factories.GOOD, cost=cost) if good else factories.BAD
        with self.post.sending(how):
            self._took(invocations.complete(task, end, worker), worker)

    @rule(number=numbers, more=st.integers(1, 60), take_next=st.booleans(), how=posts)
    @only_with("tasks")
    def end_above_the_cap(self, number: int, more: int, take_next: bool, how: str) -> None:
        """The tool did the work, and it cost more than was allowed: the hold is charged, canceled or not."""
        task, worker = self._task(number), self._worker(number, take_next=take_next)
        held = self.open[task.id].held
        self._ends(task.id, "failed", held)
        end = replace(factories.TOO_DEAR, cost=held + more)
        with self.post.sending(how):
            self._took(invocations.complete(task, end, worker), worker)

    @rule(number=numbers)
    @only_with("spent")
    def end_again(self, number: int) -> None:
        """A worker that lost its row, or a repeated write: nothing changes, and nothing is taken."""
        task = self.spent[number % len(self.spent)]
        assert invocations.complete(task, factories.GOOD, self._worker(number)) is None
        assert invocations.retry_later(task, factories.BAD, 0.0, self._worker(number)) is None

    @rule(number=numbers, delay=st.sampled_from([0.0, 0.0, 30.0]), take_next=st.booleans(), how=posts)
    @only_with("tasks")
    def retry_later(self, number: int, delay: float, take_next: bool, how: str) -> None:
        task, worker = self._task(number), self._worker(number, take_next=take_next)
        if self.open[task.id].canceled:
            self._ends(task.id, "canceled", 0)
        else:
            self._parks(task.id)
        with self.post.sending(how):
            self._took(invocations.retry_later(task, factories.BAD, delay, worker), worker)

    @rule(number=numbers)
    @only_with("tasks")
    def give_back(self, number: int) -> None:
        task = self._task(number)
        if self.open[task.id].canceled:
            self._ends(task.id, "canceled", 0)
        else:
            self._parks(task.id)
            self.open[task.id].attempts -= 1
        invocations.give_back(task)

    @rule(number=numbers)
    @only_with("tasks")
    def send(self, number: int) -> None:
        task = list(self.tasks.values())[number % len(self.tasks)]
        row = self.open[task.id]
        may = not row.canceled and not row.sent
        assert invocations.mark_dispatched(task) is may
        row.sent = row.sent or may

    @rule(number=numbers, how=posts)
    @only_with("open")
    def cancel(self, number: int, how: str) -> None:
        wanted = list(self.open)[number % len(self.open)]
        row = self.open[wanted]
        with self.post.sending(how):
            ended = invocations.cancel(self.customers[row.account].caller, wanted)
        assert ended is (row.token is None)
        if ended:
            self._ends(wanted, "canceled", 0)
        else:
            row.canceled = True

    @rule(number=numbers, how=posts)
    @only_with("open")
    def cancel_many(self, number: int, how: str) -> None:
        """All that an account has open, by its number."""
        account = list(self.open.values())[number % len(self.open)].account % 2
        mine = {each: row for each, row in self.open.items() if row.account == account}
        caller = self.customers[account].caller
        with pytest.raises(Conflict):
            invocations.cancel_matching(caller, Filters(caller.user_id), len(mine) + 1)
        with self.post.sending(how):
            counts = invocations.cancel_matching(caller, Filters(caller.user_id), len(mine))
        queued = [each for each, row in mine.items() if row.token is None]
        assert (counts.canceled, counts.requested) == (len(queued), len(mine) - len(queued))
        for each, row in mine.items():
            if row.token is None:
                self._ends(each, "canceled", 0)
            else:
                row.canceled = True

    @rule(number=numbers)
    @only_with("ended")
    def cancel_what_has_ended(self, number: int) -> None:
        wanted = list(self.ended)[number % len(self.ended)]
        owner = self.owners[wanted]
        with pytest.raises(AlreadyFinished):
            invocations.cancel(self.customers[owner].caller, wanted)
        with pytest.raises(NotFound):
            invocations.cancel(self.customers[(owner + 1) % 2].caller, wanted)

    @rule(number=numbers, how=posts)
    @only_with("open")
    def run_out_of_time(self, number: int, how: str) -> None:
        queued = [each for each, row in self.open.items() if row.token is None]
        if not queued:
            return
        late = queued[number % len(queued)]
        world.shift("expires_at", [late], -90_000)
        with self.post.sending(how):
            sweeping.expire()
        self._ends(late, "failed" if self.open[late].attempts else "expired", 0)

    @rule(number=numbers, how=posts)
    def lose_a_worker(self, number: int, how: str) -> None:
        lost = self.workers[number % 2]
        self.workers[number % 2] = factories.worker()
        invocations.leave(lost.worker)
        with self.post.sending(how):
            sweeping.reap_dead_processes()
        for task_id, row in list(self.open.items()):
            if row.worker == lost.worker:
                self._lost(task_id, row)

    def _lost(self, task_id: UUID, row: Open) -> None:
        assert row.token is not None
        self.spent.append(self.tasks.pop(row.token))
        if row.canceled:
            self._ends(task_id, "canceled", 0)
        elif (row.sent and not row.repeatable) or row.attempts >= row.max_attempts or row.crash_count + 1 >= 3:
            self._ends(task_id, "failed", 0)
        else:
            self._parks(task_id)
            row.crash_count += 1

    # -- the budget ------------------------------------------------------------------------------------------------

    @rule(account=accounts, tokens=st.integers(-40, 40))
    def grant(self, account: int, tokens: int) -> None:
        covered = self.available(account) + tokens >= 0
        try:
            subscriptions.grant(self.customers[account].user_id, tokens, reason="model", actor=self.admin)
        except Conflict:
            assert not covered
        else:
            assert covered or tokens >= 0

    @rule(account=accounts, tokens=st.integers(1, 40), days=st.sampled_from([1, 400]))
    def grant_until(self, account: int, tokens: int, days: int) -> None:
        until = datetime.now(UTC) + timedelta(days=days)
        user_id = self.customers[account].user_id
        subscriptions.grant(user_id, tokens, reason="model", actor=self.admin, expires_at=until)

    @rule(account=accounts, number=numbers, how=st.sampled_from(["a submit", "a sweep", "not yet"]))
    def expire(self, account: int, number: int, how: str) -> None:
        """The last day of a grant is over, and somebody comes upon it, or nobody yet."""
        lasting = one_by_one.lasting(self.period(account))
        if not lasting:
            return
        user_id = expire(lasting[number % len(lasting)])
        if how == "a submit":
            subscriptions.for_submit(user_id)
        elif how == "a sweep":
            assert subscriptions.settle_remainders() >= 1

    @rule(account=accounts, more=st.integers(1, 50))
    def upgrade(self, account: int, more: int) -> None:
        current = subscriptions.current(self.customers[account].user_id)
        plan = factories.plan(current.tokens.granted + more, at_once=AT_ONCE)
        subscriptions.subscribe(self.customers[account].user_id, plan)

    @rule(account=accounts)
    def renew(self, account: int) -> None:
        """A month ends. What is open settles in the period that it was accepted in."""
        if account in self.renewed:
            return
        self.renewed.add(account)
        customer = self.customers[account]
        began(customer.user_id, months.beginning(datetime.now(UTC), -1) - timedelta(hours=1))
        assert subscriptions.renew_due() == 1
        assert self.period(account) != customer.period_id
        self.customers[account] = replace(customer, period_id=self.period(account))
        self.roots[account] = replace(self.roots[account], period_id=self.period(account))

    @rule(account=accounts, number=numbers, how=posts, at_once=st.booleans())
    def leave(self, account: int, number: int, how: str, at_once: bool) -> None:
        """The owner deletes the account: what is queued is canceled, what runs is settled. Somebody else follows.

        Or the process dies after the commit, and a sweep does the rest.
        """
        if len(self.customers) > 3:
            return
        customer = self.customers[account]
        with self.post.sending(how), pytest.MonkeyPatch.context() as patch:
            patch.setattr(account_deletion, "CANCEL_SECONDS", 10.0 if at_once else 0.0)
            account_deletion.close(identity.get(customer.user_id), actor=self.admin)
            account_deletion.finish()
        with pytest.raises(SubscriptionRequired):
            customer.submit(self.tools[number % 3])
        for slow in [slow for slow in self.slow if slow[0] == account]:
            assert not self._row_is_accepted(*slow[1:]), "stored for an account that is gone"
            self.slow.remove(slow)
        self.customers.append(customer)
        self.customers[account] = self.roots[account] = self._joins(account)
        self.renewed.discard(account)
        left = len(self.customers) - 1
        for each in [each for each, owner in self.owners.items() if owner == account]:
            self.owners[each] = left
            if each in self.open:
                self.open[each].account = left
        self._finished()

    @rule()
    def finish_deletions(self) -> None:
        """What went back to the queue since its owner has left is not tried again."""
        account_deletion.finish()
        self._finished()

    def _finished(self) -> None:
        for each in [each for each, row in self.open.items() if row.account > 1 and row.token is None]:
            self._ends(each, "canceled", 0)

    @rule()
    def a_day_ends(self) -> None:
        """What was charged is of yesterday; what is open counts on. A hold that has no row yet is not good any more."""
        if self.late:
            return  # an end that nobody was told of would move to another day than it says
        self.slow = [slow for slow in self.slow if slow[0] == 0]
        world.a_day_passes()
        self.dump = {}

    @rule(account=accounts)
    def revoke_the_key(self, account: int) -> None:
        """The account makes another one; what was accepted from the first runs on, and nothing new is."""
        root = self.roots[account]
        assert root.caller.api_key_id is not None
        keys.revoke(root.user_id, root.caller.api_key_id, actor=self.admin)
        self.revoked |= self.line.pop(root.caller.api_key_id, set()) | {root.caller.api_key_id}
        self.roots[account] = factories.keyed(root, *KEYS[account])
        self.customers[account] = self.roots[account]

    @rule(account=accounts, tokens=st.sampled_from([15, 30, 200]))
    def delegate(self, account: int, tokens: int) -> None:
        """From now on the account submits with a key that comes from its key."""
        root = self.roots[account]
        self.customers[account] = child = factories.delegated(root, tokens)
        assert root.caller.api_key_id is not None
        assert child.caller.api_key_id is not None
        self.line.setdefault(root.caller.api_key_id, set()).add(child.caller.api_key_id)

    # -- Redis -----------------------------------------------------------------------------------------------------

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

    # -- sweeps ----------------------------------------------------------------------------------------------------

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

    # -- what must hold ----------------------------------------------------------------------------------------------

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

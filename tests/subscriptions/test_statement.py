"""Statements sum to zero, whatever happens to the account; a check finds what is not so."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from importlib import import_module
from itertools import pairwise
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from sqlalchemy import text

from common import invocations, subscriptions, usage
from common.errors import BudgetExhausted, Conflict, NotFound, RateLimited, SubscriptionRequired
from common.identity.audit import OPERATOR
from common.kit import db as kit
from common.kit import redis as redis_kit
from common.kit.paging import Window
from common.subscriptions import PeriodBalance, Statement, plans
from tests import factories
from tests.budgets import world
from tests.plain import plain as run
from tests.subscriptions import one_by_one
from tests.subscriptions.accounts import account, began, expire, last_31st, used

#: The module: its package exports a function of the same name.
statements = import_module("common.subscriptions.statement")
numbers = st.integers(0, 10**6)
ROLLOVER = 30
_ROWS = text("""
select (select count(*) from grants where period_id = :period)
     + (select count(*) from invocations where period_id = :period) as rows
""")

_CURRENT = text("select id from periods where id = :period and closed_at is null")


def every_period(user_id: UUID) -> list[PeriodBalance]:
    return list(subscriptions.listing(user_id, Window(100)).items)


def a_minute_later() -> None:
    kit.rowcount(text("delete from throttles"), {})


def total(shown: Statement) -> int:
    """What must be zero."""
    granted = sum(line.tokens or 0 for line in shown.grants)
    charged = sum(day.tokens for day in shown.charges)
    held = sum(hold.tokens for hold in shown.holds) + shown.other_holds.tokens
    assert (granted, charged, held) == (shown.balance.granted, shown.balance.charged, shown.balance.held)
    return granted - charged - held - shown.balance.available


class Life(RuleBasedStateMachine):
    """An account that submits, is granted, changes plans, leaves and returns; its months end."""

    reset: Callable[[], object]

    def __init__(self) -> None:
        super().__init__()
        type(self).reset()
        self.customer = factories.customer(100)
        plans.edit(self.customer.plan, {"rollover_percent": ROLLOVER}, actor=OPERATOR)
        self.user_id = self.customer.user_id
        self.tools = [factories.tool(), factories.tool(price={"base_tokens": 3, "max_tokens": 25, "per_unit": None})]
        self.admin, self.worker = factories.admin(), factories.worker()
        self.open: list[UUID] = []
        self.months_are_over = False
        self.renewed: list[UUID] = []

    @rule(number=numbers)
    def submit(self, number: int) -> None:
        with suppress(BudgetExhausted, SubscriptionRequired):
            self.open.append(self.customer.submit(self.tools[number % 2]))

    @rule(cost=st.integers(0, 30), how=st.sampled_from(["good", "good", "bad", "dear"]))
    def run_one(self, cost: int, how: str) -> None:
        only = replace(self.worker, take_next=False)
        if task := invocations.claim(only):
            ends = {"good": replace(factories.GOOD, cost=cost), "bad": factories.BAD, "dear": factories.TOO_DEAR}
            invocations.complete(task, ends[how], only)
            self.open.remove(task.id)

    @rule(number=numbers)
    def cancel(self, number: int) -> None:
        if self.open:
            assert invocations.cancel(self.customer.caller, self.open.pop(number % len(self.open)))

    @rule(tokens=st.integers(-60, 60).filter(bool))
    def grant(self, tokens: int) -> None:
        with suppress(Conflict):
            subscriptions.grant(self.user_id, tokens, reason="a test", actor=self.admin)

    @rule(tokens=st.integers(1, 60), days=st.sampled_from([1, 400]))
    def grant_until(self, tokens: int, days: int) -> None:
        until = datetime.now(UTC) + timedelta(days=days)
        with suppress(Conflict):
            subscriptions.grant(self.user_id, tokens, reason="a gift", actor=self.admin, expires_at=until)

    @rule(number=numbers)
    def expire(self, number: int) -> None:
        """Somebody looks, or nobody does for now."""
        lasting = one_by_one.lasting(every_period(self.user_id)[0].period.id)
        if lasting:
            expire(lasting[number % len(lasting)])
            if number % 2:
                subscriptions.current(self.user_id)

    @rule(more=st.integers(1, 50))
    def upgrade(self, more: int) -> None:
        granted = subscriptions.current(self.user_id).tokens.granted
        subscriptions.subscribe(self.user_id, factories.plan(max(granted, 100) + more, rollover=ROLLOVER))

    @rule()
    def downgrade(self) -> None:
        with suppress(Conflict):
            subscriptions.subscribe(self.user_id, factories.plan(5, rollover=ROLLOVER))

    @rule(at_period_end=st.booleans())
    def unsubscribe(self, at_period_end: bool) -> None:
        with suppress(Conflict):
            subscriptions.cancel(self.user_id, at_period_end=at_period_end)

    @rule()
    def subscribe_again(self) -> None:
        """Reopens what is left of the period, or begins anew."""
        with suppress(Conflict):
            subscriptions.subscribe(self.user_id, self.customer.plan)

    @rule(months=st.integers(1, 3))
    def months_end(self, months: int) -> None:
        if not self.months_are_over:
            self.months_are_over = True
            began(self.user_id, datetime.now(UTC) - timedelta(days=31 * months + 2))
            subscriptions.renew(self.user_id)
            self.renewed = [each.period.id for each in every_period(self.user_id)]

    @rule(limit=st.sampled_from([1, 5_000]))
    def roll_up(self, limit: int) -> None:
        usage.rollup(limit)

    @rule()
    def settle(self) -> None:
        """Everything that has expired or come back is booked: available is what is left of what is valid."""
        for _ in range(2):
            subscriptions.settle_remainders()
        for listed in every_period(self.user_id):
            left = one_by_one.naive_balance(listed.period.id, datetime.now(UTC))
            assert listed.balance.available == left.valid
        assert subscriptions.settle_remainders() == 0

    def teardown(self) -> None:
        """When nothing is open any more, every renewed period has handed on all that it should."""
        while self.open:
            self.run_one(cost=2, how="good")
        self.settle()
        for period_id, later in zip(self.renewed[1:], self.renewed, strict=False):
            left = one_by_one.naive_balance(period_id, datetime.now(UTC))
            if run(_CURRENT, {"period": later}):
                assert one_by_one.handed_on(period_id) == (left.lasting * ROLLOVER // 100, left.later)

    @invariant()
    def every_statement_sums_to_zero(self) -> None:
        periods = every_period(self.user_id)  # books what is due
        books = world.books()
        for listed in periods:
            shown = subscriptions.statement(self.user_id, listed.period.id)
            plain = books[listed.period.id]
            assert total(shown) == 0
            assert shown.balance == listed.balance
            assert (plain.granted, plain.charged, plain.held) == (
                shown.balance.granted,
                shown.balance.charged,
                shown.balance.held,
            )
            a_minute_later()
            found = subscriptions.check(self.user_id, listed.period.id)
            rows = run(_ROWS, {"period": listed.period.id})[0].rows
            assert (found.difference, found.rows) == (0, rows)
            assert subscriptions.statement(self.user_id, listed.period.id).checked == found
        shown_first = subscriptions.statement(self.user_id).period.id
        assert shown_first == subscriptions.statement(self.user_id, periods[0].period.id).period.id


@pytest.fixture
def reset(db: None, _sweeper: psycopg.Connection[tuple[str]], _sweep_statement: bytes) -> Callable[[], object]:
    def begin_anew() -> None:
        _sweeper.execute(_sweep_statement)
        redis_kit.client().flushall()

    return begin_anew


def test_every_statement_sums_to_zero_whatever_happens(reset: Callable[[], object]) -> None:
    bounds = settings(max_examples=6, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(type("ThisLife", (Life,), {"reset": staticmethod(reset)}), settings=bounds)


# -- what it says ------------------------------------------------------------------------------------------------


def test_grants_say_who_why_and_when(db: None) -> None:
    user, admin = account("free"), factories.admin()
    subscriptions.subscribe(user, "pro")
    subscriptions.grant(user, -500, reason="taken back", actor=admin)
    shown = subscriptions.statement(user)
    assert [(line.kind, line.tokens, line.reason, line.actor_id) for line in shown.grants] == [
        ("plan", 10_000, "free plan", None),
        ("upgrade", 990_000, "pro plan", None),
        ("admin", -500, "taken back", admin.id),
    ]
    assert all(timedelta(0) <= datetime.now(UTC) - line.created_at < timedelta(minutes=1) for line in shown.grants)
    assert (shown.period.plan, shown.period.status, shown.checked) == ("pro", "current", None)


def test_charges_are_by_the_day_on_which_they_ended(db: None) -> None:
    """Rolled up or not, also after the period's end; days are those of UTC."""
    user = account("free")
    period = subscriptions.statement(user).period
    days = [datetime(2026, 3, 1, 23, 59, 59, tzinfo=UTC), datetime(2026, 3, 2, 0, 0, tzinfo=UTC)]
    began(user, days[0] - timedelta(days=3))
    with kit.transaction() as session:
        session.execute(text("update periods set closed_at = now() where id = :period"), {"period": period.id})
        for at, tokens in [(days[0], 7), (days[1], 5), (days[1] + timedelta(days=40), 3)]:
            session.execute(
                text("""
insert into usage_logs (invocation_id, id, user_id, period_id, tool_id, tool_version_id, status, tokens_used, held,
                        created_at)
values (uuid7(), uuid7(), :user, :period, uuid7(), uuid7(), 'success', :tokens, :tokens, :at)
"""),
                {"user": user, "period": period.id, "tokens": tokens, "at": at},
            )
    wanted = [(date(2026, 3, 1), 1, 7), (date(2026, 3, 2), 1, 5), (date(2026, 4, 11), 1, 3)]
    for _ in range(2):
        shown = subscriptions.statement(user, period.id)
        assert [tuple(day) for day in shown.charges] == wanted
        assert total(shown) == 0
        usage.catch_up(10.0)


def test_the_oldest_holds_are_listed_and_the_others_summed_up(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statements, "MOST_HOLDS", 2)
    customer, tool = factories.customer(100), factories.tool()
    ids = [customer.submit(tool) for _ in range(5)]
    shown = subscriptions.statement(customer.user_id)
    assert [(hold.invocation_id, hold.tool, hold.tokens) for hold in shown.holds] == [
        (each, tool.slug, 10) for each in ids[:2]
    ]
    assert shown.other_holds == (3, 30)
    assert total(shown) == 0


def test_without_a_limit_there_is_nothing_to_sum(db: None) -> None:
    customer = factories.customer(None)
    subscriptions.grant(customer.user_id, 5, reason="more", actor=factories.admin())
    shown = subscriptions.statement(customer.user_id)
    assert [(line.kind, line.tokens) for line in shown.grants] == [("plan", None), ("admin", 5)]
    assert shown.balance.shown == {"granted": None, "charged": 0, "held": 0, "available": None}
    assert subscriptions.check(customer.user_id).difference == 0


def test_periods_are_listed_newest_first_with_what_became_of_them(db: None) -> None:
    user = account("free")
    used(user, 40)
    began(user, last_31st())
    listed = every_period(user)
    assert len(listed) > 5
    assert [each.period.status for each in listed] == ["current"] + ["closed"] * (len(listed) - 1)
    assert [each.balance.charged for each in listed] == [0] * (len(listed) - 1) + [40]
    assert all(later.period.starts_at == each.period.ends_at for later, each in pairwise(listed))
    found: list[PeriodBalance] = []
    window = Window(2)
    while True:
        page = subscriptions.listing(user, window)
        found += page.items
        if not page.has_more:
            break
        window = Window(2, page.next)
    assert found == listed
    subscriptions.cancel(user, at_period_end=False)
    assert every_period(user)[0].period.status == "canceled"
    assert subscriptions.statement(user).period.status == "canceled"


def test_what_is_not_there(db: None) -> None:
    nobody, stranger, user = account(None), account("free"), account("free")
    theirs = subscriptions.statement(stranger).period.id
    assert every_period(nobody) == []
    for ask in (subscriptions.statement, subscriptions.check):
        with pytest.raises(NotFound, match="no subscription"):
            ask(nobody)
        with pytest.raises(NotFound, match="no such period"):
            ask(user, theirs)
    assert subscriptions.statement(stranger).checked is None


# -- checks ------------------------------------------------------------------------------------------------------


def test_a_check_finds_what_the_invocations_do_not_account_for(db: None) -> None:
    customer, tool = factories.customer(100), factories.tool()
    customer.submit(tool)
    assert subscriptions.check(customer.user_id).difference == 0
    used(customer.user_id, 4)  # a usage row of no invocation
    a_minute_later()
    found = subscriptions.check(customer.user_id)
    assert (found.difference, found.rows) == (-4, 2)
    assert subscriptions.statement(customer.user_id).checked == found


def test_an_account_is_checked_once_a_minute(db: None) -> None:
    user, other = account("free"), account("free")
    first = subscriptions.check(user)
    with pytest.raises(RateLimited) as refused:
        subscriptions.check(user)
    assert 1 <= refused.value.retry_after <= 60
    assert subscriptions.check(other).difference == 0
    assert subscriptions.statement(user).checked == first
    with pytest.raises(RateLimited):  # whatever the period
        subscriptions.check(user, subscriptions.statement(user).period.id)

"""Grants that expire, in their period or in a later one, and what rolls over: each booked exactly once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import text

from common import budgets, invocations, subscriptions
from common.errors import BudgetExhausted, Invalid
from common.identity.audit import OPERATOR, Actor
from common.invocations import storing, submitting
from common.invocations.choosing import ChosenTool
from common.kit import db as kit
from common.kit import redis as redis_kit
from common.kit.clock import uuid7
from common.kit.db import pool
from common.models.subscriptions import Grant
from common.operations import ledger
from common.settings import Settings
from common.subscriptions import periods, plans, renewal
from tests import factories
from tests.factories import Customer
from tests.plain import plain as run
from tests.subscriptions.accounts import account, began, expire, grants_of, last_31st, periods_of

DAY = timedelta(days=1)


def in_days(days: float) -> datetime:
    return datetime.now(UTC) + days * DAY


def given(user_id: UUID, tokens: int, days: float = 1, admin: Actor | None = None) -> Grant:
    """An expiring grant."""
    actor = admin or factories.admin()
    return subscriptions.grant(user_id, tokens, reason="a gift", actor=actor, expires_at=in_days(days))


def booked(user_id: UUID, kind: str) -> list[int]:
    return [tokens for each, tokens in grants_of(user_id) if each == kind]


def available(user_id: UUID) -> int:
    return subscriptions.current(user_id).tokens.available


def ran(customer: Customer, cost: int, tool: str | None = None) -> None:
    """One invocation, from submit to its end."""
    customer.submit(tool or factories.tool(price={"base_tokens": 1, "per_unit": None, "max_tokens": cost}))
    end_one(cost)


def end_one(cost: int) -> None:
    worker = factories.worker()
    task = factories.taken(replace(worker, take_next=False))
    invocations.complete(task, replace(factories.GOOD, cost=cost), replace(worker, take_next=False))


def month_ends(user_id: UUID) -> None:
    """The current period, which began less than a month ago, is over: the next one is running."""
    began(user_id, datetime.now(UTC) - timedelta(days=32))
    subscriptions.renew(user_id)
    subscriptions.forget_terms(user_id)


def right(user_id: UUID) -> None:
    assert ledger.verify().differences == ()
    run(text("delete from throttles"), {})
    for period in periods_of(user_id):
        shown = subscriptions.statement(user_id, period.id)
        tokens = [line.tokens for line in shown.grants]
        assert shown.balance.unlimited or sum(each or 0 for each in tokens) == shown.balance.granted
        assert subscriptions.check(user_id, period.id).difference == 0
        run(text("delete from throttles"), {})
        assert shown.balance.available >= 0


# -- within a period ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cost", "taken_off", "left"), [(30, [-20], 100), (50, [], 100), (70, [], 80), (0, [-50], 100)]
)
def test_what_expires_is_spent_first_and_what_is_left_is_taken_off(
    db: None, cost: int, taken_off: list[int], left: int
) -> None:
    customer = factories.customer(100)
    gift = given(customer.user_id, 50)
    if cost:
        ran(customer, cost)
    assert available(customer.user_id) == 150 - cost
    expire(gift.id)
    assert available(customer.user_id) == left
    assert booked(customer.user_id, "expiry") == taken_off
    line = subscriptions.statement(customer.user_id).grants[-1]
    assert not taken_off or (line.kind, line.tokens, line.source_id) == ("expiry", taken_off[0], gift.id)
    right(customer.user_id)


def test_what_was_spent_before_a_grant_or_after_its_expiry_is_not_its(db: None) -> None:
    customer, admin = factories.customer(100), factories.admin()
    ran(customer, 40)
    first = given(customer.user_id, 50, 1, admin)
    ran(customer, 5)
    second = given(customer.user_id, 20, 2, admin)
    subscriptions.grant(customer.user_id, -10, reason="taken back", actor=admin)
    expire(first.id)
    ran(customer, 7)
    expire(second.id)
    ran(customer, 1)
    assert booked(customer.user_id, "expiry") == [-35, -13]
    assert available(customer.user_id) == 100 - 40 - 1
    right(customer.user_id)


def test_the_next_submit_cannot_spend_what_has_expired(db: None) -> None:
    """By the clock alone: no sweep, no read in between, and terms that are still cached."""
    customer, tool = factories.customer(0), factories.tool()
    gift = subscriptions.grant(
        customer.user_id, 100, reason="-", actor=factories.admin(), expires_at=in_days(0) + timedelta(seconds=0.4)
    )
    customer.submit(tool)
    assert gift.expires_at is not None
    while run(text("select clock_timestamp() < :at as early"), {"at": gift.expires_at})[0].early:
        pass
    with pytest.raises(BudgetExhausted) as refused:
        customer.submit(tool)
    assert refused.value.members["available"] == 0
    assert booked(customer.user_id, "expiry") == [-90]


def test_a_hold_from_before_cannot_become_a_row_after(db: None) -> None:
    customer, tool, made = factories.customer(0), factories.tool(), uuid7()
    gift = given(customer.user_id, 10)
    hold = budgets.hold(customer.account(), made, 10)
    assert isinstance(hold, budgets.Hold)
    expire(gift.id)
    assert available(customer.user_id) == 0
    row = submitting._row(customer.caller, factories.order(), ChosenTool(tool, 10), customer.period_id, hold)
    assert not kit.execute(storing.SUBMIT, {**row, "id": made, "request_hash": "-"})
    assert booked(customer.user_id, "expiry") == [-10]


def test_what_a_hold_from_before_gives_back_expires_too(db: None) -> None:
    customer, tool = (
        factories.customer(100),
        factories.tool(price={"base_tokens": 1, "per_unit": None, "max_tokens": 30}),
    )
    gift = given(customer.user_id, 50)
    customer.submit(tool)
    customer.submit(tool)
    expire(gift.id)
    customer.submit(tool)
    assert (available(customer.user_id), booked(customer.user_id, "expiry")) == (60, [])
    assert subscriptions.settle_remainders() == 0
    end_one(5)
    assert [subscriptions.settle_remainders() for _ in range(2)] == [1, 0]
    assert booked(customer.user_id, "expiry") == [-15]
    end_one(1)
    assert [subscriptions.settle_remainders() for _ in range(2)] == [1, 0]
    assert booked(customer.user_id, "expiry") == [-15, -29]
    end_one(10)
    assert subscriptions.settle_remainders() == 0, "accepted after the expiry"
    assert available(customer.user_id) == 90
    right(customer.user_id)


def test_what_was_given_back_and_spent_at_once_is_nobody_elses_loss(db: None) -> None:
    """Spent before anybody looked: a later grant does not pay for it, and when it is given back it expires."""
    customer, admin = factories.customer(10), factories.admin()
    dear = factories.tool(price={"base_tokens": 1, "per_unit": None, "max_tokens": 50})
    gift = given(customer.user_id, 50, admin=admin)
    customer.submit(dear)
    expire(gift.id)
    assert available(customer.user_id) == 10
    end_one(1)
    customer.submit(dear)  # 10 of them are the plan's, 40 had expired
    subscriptions.grant(customer.user_id, 200, reason="more", actor=admin)
    assert subscriptions.settle_remainders() == 1
    assert (booked(customer.user_id, "expiry"), available(customer.user_id)) == ([-9], 200)
    end_one(2)
    assert [subscriptions.settle_remainders() for _ in range(2)] == [1, 0]
    assert (booked(customer.user_id, "expiry"), available(customer.user_id)) == ([-9, -40], 208)
    right(customer.user_id)


def test_everybody_looks_at_once_and_it_expires_once(db: None) -> None:
    customers = [factories.customer(100) for _ in range(3)]
    gifts = [given(customer.user_id, 50) for customer in customers]
    for gift in gifts:
        expire(gift.id)
    looks: list[Callable[[UUID], object]] = [
        subscriptions.for_submit,
        subscriptions.current,
        subscriptions.renew,
        lambda _: subscriptions.settle_remainders(),
    ]
    with ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(look, customer.user_id) for customer in customers for look in looks for _ in range(2)]
        for job in jobs:
            job.result()
    for customer in customers:
        assert booked(customer.user_id, "expiry") == [-50]
        right(customer.user_id)


@pytest.mark.parametrize("wiped", [False, True])
def test_a_gate_that_was_not_told_is_rebuilt_by_the_next_submit(db: None, wiped: bool) -> None:
    """The process died between commit and word; or Redis was wiped."""
    customer, tool = factories.customer(5), factories.tool()
    gift = given(customer.user_id, 50)
    customer.submit(tool)
    expire(gift.id)
    with kit.transaction() as session:
        renewal.up_to_date(session, customer.user_id, periods.lock(session, customer.user_id))
    assert int(budgets.gate(customer.user_id, customer.period_id)["granted"]) == 55
    if wiped:
        redis_kit.client().flushall()
    with pytest.raises(BudgetExhausted):
        customer.submit(tool)
    assert booked(customer.user_id, "expiry") == [-40]
    right(customer.user_id)


def test_it_expires_in_a_canceled_period_and_upgrades_do_not_count_it(db: None) -> None:
    user = account("free")
    gift = given(user, 50_000)
    subscriptions.cancel(user, at_period_end=False)
    expire(gift.id)
    assert subscriptions.settle_remainders() == 1
    found, _ = subscriptions.subscribe(user, "free")
    assert found.tokens == budgets.Balance(10_000, 0, 0)
    subscriptions.subscribe(user, "pro")
    assert grants_of(user) == [("plan", 10_000), ("admin", 50_000), ("expiry", -50_000), ("upgrade", 990_000)]
    right(user)


def test_only_a_later_time_and_only_for_what_is_added(db: None) -> None:
    user, admin = account("free"), factories.admin()
    for tokens, days in ((5, -1.0), (-5, 1.0)):
        with pytest.raises(Invalid) as refused:
            subscriptions.grant(user, tokens, reason="-", actor=admin, expires_at=in_days(days))
        assert [fault.pointer for fault in refused.value.errors] == ["/expires_at"]
    assert grants_of(user) == [("plan", 10_000)]


def test_without_a_limit_an_expiry_takes_off_nothing_of_the_plan(db: None) -> None:
    customer = factories.customer(None)
    gift = given(customer.user_id, 50)
    ran(customer, 20)
    expire(gift.id)
    assert subscriptions.current(customer.user_id).tokens.unlimited
    assert booked(customer.user_id, "expiry") == [-30]
    right(customer.user_id)


# -- at the end of a period --------------------------------------------------------------------------------------


def test_what_expires_later_is_carried_over_until_then(db: None) -> None:
    customer = factories.customer(100)
    gift = given(customer.user_id, 50, 40)
    ran(customer, 120)
    month_ends(customer.user_id)
    found = subscriptions.statement(customer.user_id).grants
    assert [(line.kind, line.tokens, line.expires_at, line.source_id) for line in found] == [
        ("plan", 100, None, None),
        ("carried", 30, gift.expires_at, gift.id),
    ]
    ran(customer, 10)
    expire(found[1].id)
    assert available(customer.user_id) == 100
    assert booked(customer.user_id, "expiry") == [-20]
    right(customer.user_id)


@pytest.mark.parametrize(("percent", "rolled"), [(0, []), (1, []), (33, [19]), (100, [60])])
def test_a_share_of_what_is_left_rolls_over(db: None, percent: int, rolled: list[int]) -> None:
    customer = factories.customer(100)
    plans.edit(customer.plan, {"rollover_percent": percent}, actor=OPERATOR)
    given(customer.user_id, 50, 40)
    ran(customer, 40)
    month_ends(customer.user_id)
    assert (booked(customer.user_id, "carried"), booked(customer.user_id, "rollover")) == ([50], rolled)
    assert available(customer.user_id) == 150 + sum(rolled)
    right(customer.user_id)


def test_what_open_holds_give_back_after_the_end_follows_once(db: None) -> None:
    customer = factories.customer(100)
    plans.edit(customer.plan, {"rollover_percent": 50}, actor=OPERATOR)
    given(customer.user_id, 50, 40)
    tool = factories.tool(price={"base_tokens": 1, "per_unit": None, "max_tokens": 60})
    customer.submit(tool)
    customer.submit(tool)
    month_ends(customer.user_id)
    assert (booked(customer.user_id, "carried"), booked(customer.user_id, "rollover")) == ([30], [])
    end_one(10)
    assert subscriptions.settle_remainders() == 0, "one is open still"
    end_one(20)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: subscriptions.settle_remainders(), range(4)))
    assert (booked(customer.user_id, "carried"), booked(customer.user_id, "rollover")) == ([30, 20], [35])
    assert available(customer.user_id) == 100 + 50 + 35
    assert subscriptions.settle_remainders() == 0
    right(customer.user_id)


def test_nothing_follows_a_subscription_that_has_ended(db: None) -> None:
    customer, tool = factories.customer(100), factories.tool()
    plans.edit(customer.plan, {"rollover_percent": 100}, actor=OPERATOR)
    given(customer.user_id, 50, 40)
    customer.submit(tool)
    subscriptions.cancel(customer.user_id)
    month_ends(customer.user_id)
    subscriptions.subscribe(customer.user_id, customer.plan)
    end_one(1)
    assert [subscriptions.settle_remainders() for _ in range(2)] == [1, 0]
    assert grants_of(customer.user_id) == [("plan", 100), ("admin", 50), ("plan", 100)]
    right(customer.user_id)


def test_unlimited_plans_have_no_rollover_and_get_none(db: None) -> None:
    endless = factories.customer(None)
    plans.edit(endless.plan, {"rollover_percent": 100}, actor=OPERATOR)
    limited = factories.customer(100)
    plans.edit(limited.plan, {"rollover_percent": 100}, actor=OPERATOR)
    subscriptions.subscribe(endless.user_id, limited.plan)
    given(endless.user_id, 5, 40)
    month_ends(endless.user_id)
    assert [kind for kind, _ in grants_of(endless.user_id)] == ["plan", "admin", "plan", "carried"]
    assert available(endless.user_id) == 105
    right(endless.user_id)


def test_skipped_months_hand_on_what_is_left_each_to_the_next(db: None) -> None:
    """However often somebody looked: what rolls over grows month by month, what is carried over ends on its day."""
    plan, anchor = factories.plan(1_000), last_31st()
    plans.edit(plan, {"rollover_percent": 50}, actor=OPERATOR)
    often, once = account(plan), account(plan)
    for user in (often, once):
        gift = given(user, 500, 400)
        began(user, anchor)
        with kit.transaction() as session:  # until the middle of its third month
            session.execute(text("set local session_replication_role = replica"))
            session.execute(
                text("update grants set expires_at = :at where id = :id"), {"at": anchor + 75 * DAY, "id": gift.id}
            )
    for days in range(0, (datetime.now(UTC) - anchor).days, 9):
        with kit.transaction() as session:
            periods.lock(session, often)
            renewal.up_to_date(session, often, anchor + days * DAY)
    for user in (often, once):
        subscriptions.renew(user)
        right(user)
    assert grants_of(often) == grants_of(once)
    found = grants_of(once)
    assert [tokens for kind, tokens in found if kind == "rollover"][:3] == [500, 750, 875]
    assert [each for each in found if each[0] in ("carried", "expiry")] == [
        ("carried", 500),
        ("carried", 500),
        ("expiry", -500),
    ]


def test_verification_finds_what_there_never_was(db: None) -> None:
    customer = factories.customer(100)
    gift = given(customer.user_id, 50)
    month_ends(customer.user_id)
    forged = text("""
insert into grants (id, period_id, user_id, kind, tokens, source_id, expires_at)
select uuid7(), (select id from periods p where p.user_id = g.user_id and closed_at is null), g.user_id, :kind, :tokens,
       case when :kind = 'rollover' then g.period_id else g.id end,
       case when :kind = 'carried' then g.expires_at end
  from grants g where g.id = :id
""")
    for kind, tokens in (("expiry", -51), ("carried", 60), ("rollover", 500)):
        with kit.transaction() as session:
            session.execute(forged, {"kind": kind, "tokens": tokens, "id": gift.id})
    found = [each for each in ledger.verify().differences if each.invariant.startswith("no more has expired")]
    assert sorted(each.where for each in found) == sorted([str(gift.id), str(customer.period_id)])


@pytest.fixture
def cut_off(db: None, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """New connections, whose statements take 0.2 s at most; the tests after this one have others."""

    def connect() -> None:
        kit.connect(settings.database_url, pool_size=20, application_name="test", shared=settings.shares_connections)

    with monkeypatch.context() as patched:
        patched.setattr(pool, "STATEMENT_TIMEOUT_MS", 200)
        connect()
        yield
    connect()


def test_what_is_summed_up_for_too_long_for_a_request_is_done_by_the_sweep(cut_off: None, database_url: str) -> None:
    customer = factories.customer(100)
    given(customer.user_id, 50)
    began(customer.user_id, datetime.now(UTC) - timedelta(days=32))
    with psycopg.connect(database_url) as blocker, ThreadPoolExecutor(1) as sweep:
        blocker.execute("lock table invocations in access exclusive mode")
        with pytest.raises(kit.Busy):
            subscriptions.renew(customer.user_id)
        renewed = sweep.submit(subscriptions.renew_due)
        time.sleep(0.5)  # longer than a statement of a request may take
        blocker.rollback()
        assert renewed.result(30) == 1
    right(customer.user_id)

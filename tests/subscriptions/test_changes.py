"""Subscribing, changing plans, canceling, and taking it back."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from common import budgets, subscriptions
from common.errors import Conflict, Invalid, NotFound, SubscriptionRequired
from common.identity.audit import Actor
from common.kit import db as kit
from common.models.subscriptions import UNLIMITED_TOKENS
from common.subscriptions import plans
from tests.subscriptions.accounts import account, grants_of, periods_of, used

ADMIN = Actor("platform")


def allowing(required: int, terms: subscriptions.PeriodTerms) -> list[str]:
    return subscriptions.remedies(required, terms).plans


def test_a_subscription_begins_with_the_plans_tokens(db: None) -> None:
    user = account(None)
    with pytest.raises(NotFound):
        subscriptions.current(user)
    with pytest.raises(SubscriptionRequired):
        subscriptions.for_submit(user)
    found, began = subscriptions.subscribe(user, "free")
    assert began
    assert (found.plan, found.status, found.tokens) == ("free", "active", budgets.Balance(10_000, 0, 0))
    terms = subscriptions.for_submit(user)
    assert (terms.plan, terms.rate_limit_per_minute, terms.max_concurrency) == ("free", 300, 10)
    assert terms.ends_at == found.current_period_end


def test_a_higher_plan_counts_at_once_and_grants_the_difference(db: None) -> None:
    user = account("free")
    used(user, 4_000)
    subscriptions.for_submit(user)
    found, began = subscriptions.subscribe(user, "pro")
    assert not began
    assert (found.plan, found.tokens) == ("pro", budgets.Balance(1_000_000, 4_000, 0))
    assert subscriptions.for_submit(user).max_concurrency == 100
    subscriptions.subscribe(user, "enterprise")
    assert grants_of(user) == [("plan", 10_000), ("upgrade", 990_000), ("upgrade", 49_000_000)]
    assert len(periods_of(user)) == 1


def test_a_lower_plan_waits_for_the_periods_end_and_can_be_undone(db: None) -> None:
    user = account("pro")
    found, _ = subscriptions.subscribe(user, "free")
    assert (found.plan, found.pending_plan, found.tokens.granted) == ("pro", "free", 1_000_000)
    found, _ = subscriptions.subscribe(user, "pro")
    assert (found.plan, found.pending_plan) == ("pro", None)
    with pytest.raises(Conflict):
        subscriptions.subscribe(user, "pro")
    assert grants_of(user) == [("plan", 1_000_000)]


def test_canceling_at_the_end_can_be_undone_by_the_same_or_a_higher_plan(db: None) -> None:
    for plan, granted in (("free", 10_000), ("pro", 1_000_000)):
        user = account("free")
        found = subscriptions.cancel(user)
        assert (found.status, found.cancel_at_period_end) == ("active", True)
        assert subscriptions.cancel(user) == found
        assert subscriptions.for_submit(user).plan == "free"
        found, began = subscriptions.subscribe(user, plan)
        assert (began, found.plan, found.cancel_at_period_end, found.tokens.granted) == (False, plan, False, granted)


def test_canceling_drops_a_pending_plan(db: None) -> None:
    user = account("pro")
    subscriptions.subscribe(user, "free")
    found = subscriptions.cancel(user)
    assert (found.pending_plan, found.cancel_at_period_end) == (None, True)


@pytest.mark.parametrize(
    ("again", "plan", "pending", "granted"),
    [
        ("pro", "pro", None, 1_000_000),
        ("enterprise", "enterprise", None, 50_000_000),
        ("free", "pro", "free", 1_000_000),
    ],
)
def test_after_an_immediate_cancel_the_same_period_opens_again_with_its_charges(
    db: None, again: str, plan: str, pending: str | None, granted: int
) -> None:
    user = account("pro")
    used(user, 600_000)
    found = subscriptions.cancel(user, at_period_end=False)
    assert (found.status, found.tokens.charged) == ("canceled", 600_000)
    with pytest.raises(SubscriptionRequired):
        subscriptions.for_submit(user)
    with pytest.raises(Conflict):
        subscriptions.cancel(user)
    found, began = subscriptions.subscribe(user, again)
    assert began
    assert (found.plan, found.status, found.pending_plan) == (plan, "active", pending)
    assert found.tokens == budgets.Balance(granted, 600_000, 0)
    assert subscriptions.for_submit(user).plan == plan
    assert len(periods_of(user)) == 1


def test_an_unknown_or_retired_plan_cannot_be_subscribed_to(db: None) -> None:
    user = account("pro")
    plans.edit("free", {"is_active": False}, actor=ADMIN)
    for slug in ("free", "never-heard-of"):
        with pytest.raises(Invalid):
            subscriptions.subscribe(user, slug)


def test_an_unlimited_plan_is_the_highest_and_its_books_still_add_up(db: None) -> None:
    plans.create({"slug": "endless", "name": "Endless", "monthly_tokens": None}, actor=ADMIN)
    user = account("enterprise")
    found, _ = subscriptions.subscribe(user, "endless")
    assert (found.plan, found.tokens.granted) == ("endless", UNLIMITED_TOKENS)
    assert subscriptions.for_submit(user).rate_limit_per_minute is None
    with kit.snapshot() as session:
        gate = budgets.gate(user, subscriptions.for_submit(user).period_id)
        assert int(gate["granted"]) == UNLIMITED_TOKENS
        assert session.scalar(text("select sum(tokens) from grants")) < 2**53


def test_which_plans_would_allow_it(db: None) -> None:
    user = account("free")
    used(user, 9_000)
    terms = subscriptions.for_submit(user)
    assert allowing(1_001, terms) == ["pro", "enterprise"]
    assert allowing(991_000, terms) == ["pro", "enterprise"]
    assert allowing(991_001, terms) == ["enterprise"]
    assert allowing(50_000_000, terms) == []
    subscriptions.subscribe(user, "enterprise")
    assert allowing(49_991_001, subscriptions.for_submit(user)) == []


# -- grants by hand ----------------------------------------------------------------------------------------------


def test_an_admin_adds_and_takes_back_what_is_still_there(db: None) -> None:
    user, admin = account("free"), Actor("session", account(None))
    used(user, 4_000)
    subscriptions.grant(user, 500, reason="for the trouble", actor=admin)
    (period,) = periods_of(user)
    with pytest.raises(Conflict):
        subscriptions.grant(user, -6_501, reason="too much", actor=admin)
    subscriptions.grant(user, -6_500, reason="all of it", actor=admin)
    assert subscriptions.current(user).tokens == budgets.Balance(4_000, 4_000, 0)
    raised = periods_of(user)[0].epoch - period.epoch
    assert raised == 2, "by the grant itself, lest holds taken before become rows, and by the gate's rebuild"
    assert int(budgets.gate(user, subscriptions.for_submit(user).period_id)["granted"]) == 4_000
    with kit.snapshot() as session:
        actions = session.scalars(text("select action from audit_log where actor_id = :id"), {"id": admin.id}).all()
    assert actions == ["user.grant", "user.grant"]


def test_grants_need_a_running_period(db: None) -> None:
    with pytest.raises(Conflict):
        subscriptions.grant(account(None), 5, reason="-", actor=Actor("session", account(None)))


# -- what the tables refuse ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statement", "constraint"),
    [
        ("update grants set tokens = 1", "grants_append_only"),
        ("delete from grants", "grants_append_only"),
        (
            "insert into grants (id, period_id, user_id, kind, tokens)"
            " select uuid7(), id, user_id, 'plan', 1 from periods",
            "uq_grants_plan",
        ),
        (
            "insert into periods (id, subscription_id, user_id, plan_id, starts_at, ends_at, closed_at) select uuid7(),"
            " subscription_id, user_id, plan_id, starts_at + interval '1 day', ends_at, ends_at from periods",
            "periods_disjoint",
        ),
        (
            "insert into periods (id, subscription_id, user_id, plan_id, starts_at, ends_at) select uuid7(),"
            " subscription_id, user_id, plan_id, ends_at, ends_at + interval '1 month' from periods",
            "uq_periods_open",
        ),
        ("update periods set closed_at = ends_at - interval '1 s'", "ck_periods_closed_after_its_end"),
        (
            "insert into subscriptions (id, user_id, plan_id) select uuid7(), user_id, plan_id from subscriptions",
            "uq_subscriptions_active",
        ),
    ],
)
def test_a_wrong_state_cannot_be_stored(db: None, statement: str, constraint: str) -> None:
    account("free")
    with pytest.raises(IntegrityError) as refusal, kit.transaction() as session:
        session.execute(text(statement))
    assert kit.violated(refusal.value) == constraint

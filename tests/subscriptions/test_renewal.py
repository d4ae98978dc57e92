"""Periods follow each other: on the right day, never twice, never left out, whoever looks and whenever."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common import budgets, invocations, subscriptions
from common.errors import SubscriptionRequired
from common.identity.audit import Actor
from common.kit import db as kit
from common.operations import ledger
from common.subscriptions import months, periods, plans, renewal
from tests import factories
from tests.factories import GOOD
from tests.subscriptions.accounts import account, began, grants_of, last_31st, periods_of, used

ADMIN = Actor("platform")
LOOKS: list[Callable[[UUID], object]] = [
    subscriptions.current,
    subscriptions.for_submit,
    subscriptions.period_bounds,
    lambda _: subscriptions.renew_due(),
    lambda user: subscriptions.subscribe(user, "pro"),
]


@pytest.mark.parametrize("look", LOOKS, ids=["current", "submit", "bounds", "beat", "subscribe"])
def test_months_that_nobody_looked_at_are_made_up_for(db: None, look: Callable[[UUID], object]) -> None:
    user, anchor = account("free"), last_31st()
    began(user, anchor)
    look(user)
    found = periods_of(user)
    months_passed = months.containing(anchor, datetime.now(UTC))
    assert [p.starts_at for p in found] == [months.beginning(anchor, n) for n in range(months_passed + 1)]
    assert [p.ends_at for p in found[:-1]] == [p.starts_at for p in found[1:]]
    assert [p.closed_at is None for p in found] == [False] * months_passed + [True]
    assert [f"{p.starts_at:%d}" for p in found[:3]][::2] == ["31", "31"]
    assert [grant for grant in grants_of(user) if grant[0] == "plan"] == [("plan", 10_000)] * (months_passed + 1)
    assert subscriptions.for_submit(user).period_id == found[-1].id


def test_unused_tokens_and_charges_stay_in_their_period(db: None) -> None:
    user = account("free")
    used(user, 4_000)
    began(user, last_31st(timedelta(days=40)))
    assert subscriptions.current(user).tokens.available == 10_000
    with kit.snapshot() as session:
        assert budgets.balance(session, periods_of(user)[0].id).charged == 4_000


def test_nobody_opens_a_period_twice(db: None) -> None:
    users = [account("free") for _ in range(4)]
    anchor = last_31st()
    for user in users:
        began(user, anchor)
    with ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(look, user) for user in users for look in LOOKS[:4] for _ in range(2)]
        for job in jobs:
            job.result()
    expected = months.containing(anchor, datetime.now(UTC)) + 1
    assert [len(periods_of(user)) for user in users] == [expected] * 4
    assert [len(grants_of(user)) for user in users] == [expected] * 4


def test_a_pending_plan_counts_from_the_next_period(db: None) -> None:
    user = account("pro")
    subscriptions.subscribe(user, "free")
    began(user, last_31st())
    found = subscriptions.current(user)
    assert (found.plan, found.pending_plan, found.tokens.granted) == ("free", None, 10_000)
    assert grants_of(user)[:3] == [("plan", 1_000_000), ("plan", 10_000), ("plan", 10_000)]


@pytest.mark.parametrize(("at_period_end", "status"), [(True, "expired"), (False, "canceled")])
def test_a_canceled_subscription_ends_with_its_period(db: None, at_period_end: bool, status: str) -> None:
    user = account("free")
    used(user, 4_000)
    subscriptions.cancel(user, at_period_end=at_period_end)
    began(user, last_31st())
    subscriptions.renew_due()
    with pytest.raises(SubscriptionRequired):
        subscriptions.for_submit(user)
    found = subscriptions.current(user)
    assert (found.status, found.tokens.charged) == (status, 4_000)
    assert len(periods_of(user)) == 1
    again, new = subscriptions.subscribe(user, "free")
    assert new
    assert (again.status, again.tokens.charged) == ("active", 0)
    assert again.current_period_start > found.current_period_end


def test_an_edited_plan_grants_from_the_next_period_on(db: None) -> None:
    user = account("free")
    plans.edit("free", {"monthly_tokens": 77, "max_concurrency": 3, "is_active": False}, actor=ADMIN)
    subscriptions.forget_terms(user)
    assert subscriptions.current(user).tokens.granted == 10_000
    assert subscriptions.for_submit(user).max_concurrency == 3
    began(user, last_31st())
    assert subscriptions.current(user).tokens.granted == 77


def test_the_beat_takes_the_oldest_first_and_as_many_as_it_may(db: None) -> None:
    users = [account("free") for _ in range(3)]
    for n, user in enumerate(users):
        began(user, last_31st() + timedelta(minutes=n))
    assert [subscriptions.renew_due(limit=2), len(periods_of(users[2])), subscriptions.renew_due(limit=2)] == [2, 1, 1]
    assert subscriptions.renew_due() == 0


def _look(user: UUID, now: datetime) -> None:
    with kit.transaction() as session:
        periods.lock(session, user)
        renewal.up_to_date(session, user, now)


@pytest.mark.parametrize(
    ("anchor", "starts"),
    [
        ("2024-01-31T23:59:59.999999", ["2024-01-31", "2024-02-29", "2024-03-31", "2024-04-30", "2024-05-31"]),
        ("2025-01-31T00:00:00", ["2025-01-31", "2025-02-28", "2025-03-31", "2025-04-30", "2025-05-31"]),
        (
            "2024-02-29T12:00:00",
            ["2024-02-29", "2024-03-29"] + [f"2024-{n:02}-29" for n in range(4, 13)] + ["2025-01-29"],
        ),
        ("2023-11-30T10:37:00", ["2023-11-30", "2023-12-30", "2024-01-30", "2024-02-29", "2024-03-30"]),
        ("2023-12-31T23:59:59", ["2023-12-31", "2024-01-31", "2024-02-29", "2024-03-31"]),
    ],
)
def test_a_period_ends_to_the_microsecond_across_months_and_years(db: None, anchor: str, starts: list[str]) -> None:
    user = account("free")
    first = datetime.fromisoformat(anchor).replace(tzinfo=UTC)
    began(user, first)
    for n, start in enumerate(starts):
        open_ = periods_of(user)[-1]
        assert (f"{open_.starts_at:%Y-%m-%d}", open_.starts_at.timetz()) == (start, first.timetz())
        _look(user, open_.ends_at - timedelta(microseconds=1))
        assert len(periods_of(user)) == n + 1
        _look(user, open_.ends_at)
    found = periods_of(user)
    assert [p.ends_at for p in found[:-1]] == [p.starts_at for p in found[1:]]
    assert grants_of(user) == [("plan", 10_000)] * (len(starts) + 1)


def test_what_was_accepted_before_a_years_end_settles_in_its_period(db: None) -> None:
    """Held in one period, charged to it when it ends in the next, and never to the other."""
    customer, worker = factories.customer(100), factories.worker()
    customer.submit(factories.tool())
    began(customer.user_id, last_31st())
    assert subscriptions.for_submit(customer.user_id).period_id != customer.period_id
    invocations.complete(factories.taken(worker), GOOD, worker)
    with kit.snapshot() as session:
        assert budgets.balance(session, customer.period_id) == budgets.Balance(100, 1, 0)
    assert subscriptions.current(customer.user_id).tokens == budgets.Balance(100, 0, 0)
    assert ledger.verify().differences == ()


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    anchor=st.datetimes(datetime(2023, 12, 25), datetime(2024, 2, 5), timezones=st.just(UTC)),  # noqa: DTZ001
    looks=st.lists(st.integers(0, 400 * 24), max_size=5),
    last=st.integers(0, 400 * 24),
)
def test_the_books_do_not_depend_on_when_somebody_looked(
    db: None, anchor: datetime, looks: list[int], last: int
) -> None:
    often, once = account("free"), account("free")
    for user in (often, once):
        began(user, anchor)
    for hours in sorted([*looks, last]):
        _look(often, anchor + timedelta(hours=hours))
    _look(once, anchor + timedelta(hours=max([*looks, last])))
    assert [(p.starts_at, p.ends_at) for p in periods_of(often)] == [(p.starts_at, p.ends_at) for p in periods_of(once)]
    assert grants_of(often) == grants_of(once)
    assert periods_of(once)[-1].ends_at > anchor + timedelta(hours=max([*looks, last]))

"""The windows that allowances are counted in: a day and a month in UTC, by what ended in them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from common import budgets, invocations
from common.kit.clock import uuid7
from common.subscriptions import for_submit
from tests import factories
from tests.budgets import world
from tests.keys.conftest import Account, Work
from tests.keys.spending import spent, stored, wipe


def test_windows_are_days_and_months_in_utc() -> None:
    moment = datetime(2028, 2, 29, 23, 59, 59, 999_999, tzinfo=UTC)
    day, month = budgets.window_at("day", moment), budgets.window_at("month", moment)
    assert (day.starts_at, day.ends_at) == (datetime(2028, 2, 29, tzinfo=UTC), datetime(2028, 3, 1, tzinfo=UTC))
    assert (month.starts_at, month.ends_at) == (datetime(2028, 2, 1, tzinfo=UTC), datetime(2028, 3, 1, tzinfo=UTC))
    december = budgets.window_at("month", datetime(2027, 12, 31, tzinfo=UTC))
    assert december.ends_at == datetime(2028, 1, 1, tzinfo=UTC)
    assert budgets.window_at("total", moment).start == 0


@pytest.mark.parametrize("wiped", [False, True])
def test_a_day_ends(account: Account, work: Work, wiped: bool) -> None:
    """What was charged is forgotten, what is open counts on, and ends in the day that it ends in."""
    key, tool = account.key(30, "day"), factories.tool()
    key.submit(tool)
    work.end(cost=9)
    key.submit(tool)
    assert spent(key) == (9, 10, 11)
    world.a_day_passes()
    if wiped:
        wipe()
    assert spent(key) == (0, 10, 20)
    account.right()
    assert [key.submit(tool).status for _ in range(3)] == [202, 202, 402]
    work.end(cost=8)
    assert spent(key) == (8, 20, 2)
    account.right()


def test_an_end_is_counted_in_its_own_day(account: Account, work: Work) -> None:
    """It ends in the new day before anything is submitted in it."""
    key, tool = account.key(30, "day"), factories.tool()
    key.submit(tool)
    work.end(cost=9)
    key.submit(tool)
    world.a_day_passes()
    work.end(cost=8)
    assert spent(key) == (8, 0, 22)
    account.right()


def test_a_hold_is_good_within_its_window_alone(account: Account) -> None:
    """Counted in one day and stored in another: the row is refused, and everything is done again."""
    key, tool = account.key(30, "day"), factories.tool()
    terms = for_submit(account.customer.user_id)
    shares = invocations.account_of(key.caller, terms).keys
    for moment in (terms.now() - timedelta(days=1), terms.now() + timedelta(days=1)):
        window = budgets.window_at("day", moment)
        asked = budgets.Account(
            terms.user_id, terms.period_id, None, None, (budgets.KeyShare(shares[0].key_id, 30, window, None),)
        )
        hold = budgets.hold(asked, uuid7(), 10)
        assert isinstance(hold, budgets.Hold)
        assert hold.window is not None
        assert hold.window.starts_at == window.starts_at
        assert not stored(key, tool, hold), f"stored outside of {window}"
        wipe()
    hold = budgets.hold(invocations.account_of(key.caller, terms), made := uuid7(), 10)
    assert isinstance(hold, budgets.Hold)
    assert stored(key, tool, hold, made)

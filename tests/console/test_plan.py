"""The plan: each change is said before it is done, and does what was said."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from flask import Flask

from common import subscriptions
from common.identity import accounts
from common.kit import db as kit_db
from common.models.subscriptions import Plan
from tests import factories
from tests.console.conftest import Browser, Trips
from tests.console.test_pages import HOSTILE
from tests.subscriptions.accounts import grants_of


@pytest.fixture
def small_and_large(db: None) -> tuple[str, str]:
    """Two plans: of 100 and of 1,000 tokens."""
    return factories.plan(100), factories.plan(1_000, price=2_500)


@pytest.fixture
def reader(app: Flask, small_and_large: tuple[str, str]) -> Browser:
    """An account without a subscription."""
    caller = factories.user()
    return Browser(app.test_client(), factories.Customer(caller, caller.user_id, "")).sign_in(
        accounts.get(caller.user_id).email
    )


def asked(browser: Browser, slug: str) -> str:
    """What choosing the plan is said to do."""
    return browser.get(f"/plan/change?plan={slug}").one("main").words


def current(browser: Browser) -> subscriptions.Current:
    assert browser.customer
    return subscriptions.current(browser.customer.user_id)


def test_what_is_no_plan_is_chosen_by_nobody(reader: Browser) -> None:
    for ask in (reader.ask, reader.send):
        unknown = ask("/plan/change?plan=nothing").status_code
        assert unknown < 500
        for name in ("%00", "a%00b", "%ED%A0%80"):
            assert ask(f"/plan/change?plan={name}").status_code == unknown, name


def test_up_and_down_and_back_as_it_was_said(reader: Browser, small_and_large: Sequence[str]) -> None:
    small, large = small_and_large
    assert "You have no subscription yet." in reader.get("/plan").words
    assert "A period of one month begins now with 100 tokens. Price: free." in asked(reader, small)
    reader.post("/plan/change", {"plan": small}, to="/console/plan?said=subscribed")
    assert "900 tokens are granted now" in asked(reader, large)
    assert "Price: 25.00 USD." in asked(reader, large)
    reader.post("/plan/change", {"plan": large})
    assert reader.customer
    assert [tokens for _, tokens in grants_of(reader.customer.user_id)] == [100, 900]
    assert "nothing changes: you keep the current plan" in asked(reader, small)
    reader.post("/plan/change", {"plan": small})
    assert (current(reader).plan, current(reader).pending_plan) == (large, small)
    page = reader.get("/plan")
    assert "from then on. Keep the current plan to undo this." in page.words
    assert "from the next period" in page.one("section", aria_labelledby=f"plan-{small}").words
    assert "is withdrawn. Nothing is granted" in asked(reader, large)
    reader.post("/plan/change", {"plan": large})
    assert current(reader).pending_plan is None
    assert "already on this plan" in asked(reader, large)
    reader.refused("/plan/change", 409, "conflict", {"plan": large})


@pytest.mark.parametrize(
    ("when", "said", "status"), [("end", "nothing changes", "active"), ("now", "No new runs are accepted", "canceled")]
)
def test_canceling_and_undoing_it(
    reader: Browser, small_and_large: Sequence[str], when: str, said: str, status: str
) -> None:
    small, _ = small_and_large
    reader.post("/plan/change", {"plan": small})
    question = reader.get(f"/plan/cancel?when={when}")
    assert said in question.one("main").words
    assert question.one("input", name="when").attributes["value"] == when
    reader.post("/plan/cancel", {"when": when}, to="/console/plan?said=canceled")
    assert current(reader).status == status
    page = reader.get("/plan")
    assert "Keep" in page.one("section", aria_labelledby=f"plan-{small}").words
    assert "opened again" in asked(reader, small) if when == "now" else "is withdrawn" in asked(reader, small)
    reader.post("/plan/change", {"plan": small})
    assert (current(reader).status, current(reader).cancel_at_period_end) == ("active", False)
    assert reader.customer
    assert [tokens for _, tokens in grants_of(reader.customer.user_id)] == [100], "nothing was granted by undoing"


def test_an_unlimited_plan_is_said_to_be_that(reader: Browser, small_and_large: Sequence[str]) -> None:
    reader.post("/plan/change", {"plan": small_and_large[0]})
    unlimited = factories.plan(None)
    assert "tokens without limit are granted now" in asked(reader, unlimited)


@pytest.mark.parametrize("slug", ["", "nothing", HOSTILE[:60], "x" * 500])
def test_a_plan_that_there_is_not_is_refused_with_a_page(reader: Browser, slug: str) -> None:
    answer = reader.ask("/plan/change", query_string={"plan": slug})
    assert answer.status_code == 422
    assert reader.send("/plan/change", {"plan": slug}).status_code == 422


def test_without_a_subscription_there_is_nothing_to_cancel(reader: Browser) -> None:
    reader.get("/plan/cancel?when=now", 404)
    assert reader.send("/plan/cancel", {"when": "now"}).status_code == 404


def test_plans_with_hostile_names_do_nothing(browser: Browser) -> None:
    with kit_db.transaction() as session:
        session.add(Plan(slug="hostile-plan", name=HOSTILE[:50], description=HOSTILE, price_cents=1))
    page = browser.get("/plan")
    assert "<script>alert(1)</script>" in page.one("section", aria_labelledby="plan-hostile-plan").words
    assert browser.get("/plan/change?plan=hostile-plan").one("h1").words.startswith("Upgrade")


def test_the_plan_asks_few_things(browser: Browser, trips: Trips) -> None:
    browser.get("/plan")
    trips.clear()
    browser.get("/plan")
    assert len(trips.statements) <= 5, trips.statements
    assert len(trips.commands) <= 3, trips.commands

"""The overview: what is left and how long it lasts, what needs a hand, and where to begin."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta

import psycopg
import pytest
import time_machine
from flask import Flask

from common.budgets import Balance
from common.identity import accounts, keys
from common.identity.audit import OPERATOR
from common.kit import clock
from common.kit.clock import uuid7
from common.models.webhooks import COMPLETED
from common.subscriptions import Burndown, Forecast
from common.subscriptions.forecast import Lasting, lasts_until
from common.usage import DayCharge, Pace
from tests import factories
from tests.console.charges import charge
from tests.console.conftest import Browser, Trips
from tests.console.test_pages import HOSTILE
from web.console import charts
from web.console.pages import overview

STARTS = datetime(2026, 11, 20, 12, tzinfo=UTC)
NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
RESETS = datetime(2026, 12, 20, 12, tzinfo=UTC)


def course(granted: int, charged: int, held: int, paces: tuple[float, float, float]) -> Burndown:
    """A period from 20 November to 20 December, in which everything was charged on 25 November."""
    balance = Balance(granted, charged, held)
    lasting = Lasting(*(lasts_until(NOW, balance.available, pace) for pace in paces))
    days = [DayCharge(date(2026, 11, 25), 3, charged)]
    return Burndown(STARTS, RESETS, balance, days, Forecast(balance.available, Pace(*paces), lasting, RESETS))


@pytest.mark.parametrize(
    ("paces", "said"),
    [
        ((50, 100, 200), "Lasts until 9 Dec (4 Dec – 19 Dec). New tokens come on 20 Dec."),
        ((0, 100, 200), "Lasts until 9 Dec (4 Dec – much later). New tokens come on 20 Dec."),
        ((0, 10, 20), "Lasts beyond 20 Dec, when new tokens come."),
        ((0, 10, 200), "Lasts beyond 20 Dec, when new tokens come. At the fastest pace it would be used up on 4 Dec."),
        ((0, 0, 0), "Lasts beyond 20 Dec, when new tokens come."),
    ],
)
def test_how_long_the_tokens_last_is_said_in_a_sentence(
    app: Flask, paces: tuple[float, float, float], said: str
) -> None:
    with time_machine.travel(NOW, tick=False), app.test_request_context("/console/"):
        assert overview.lasting(course(1_100, 100, 0, paces).forecast) == said
        assert overview.lasting(course(100, 100, 0, paces).forecast).startswith("Nothing is left.")


def test_the_chart_draws_what_was_left_and_where_each_pace_leads(app: Flask) -> None:
    with app.test_request_context("/console/"):
        drawn = charts.burndown(course(1_000, 400, 100, (0, 50, 100)), NOW, HOSTILE)
    left = re.search(r'class="left" d="M([^"]+)"', drawn.svg)
    assert left
    points = [tuple(int(each) for each in point.split()) for point in left[1].split("L")]
    assert points[0] == (0, 0)
    assert points[-1] == (300, 80), "9 of 30 days on, 600 of 1,000 are left: two fifths down from 200"
    assert 'class="held" d="M300 80L300 100"' in drawn.svg
    assert 'class="ahead" d="M300 100L633 200L1000 200"' in drawn.svg, "500 at 50 a day are gone after ten days"
    assert 'd="M300 100L1000 100L1000 200L467 200L300 100"' in drawn.svg
    assert "<script>" not in drawn.svg


def test_the_week_is_of_whole_days_and_counts_those_without_use(app: Flask) -> None:
    found = overview.week(course(1_000, 400, 0, (0, 50, 100)), NOW)
    assert found is not None
    assert (found.days, round(found.mean), found.lowest.tokens, found.highest.day) == (7, 57, 0, date(2026, 11, 25))
    assert overview.week(course(1_000, 400, 0, (0, 50, 100)), STARTS + timedelta(hours=20)) is None


def test_a_used_budget_is_drawn_with_its_table(browser: Browser) -> None:
    assert browser.customer
    charge(browser.customer, 300, 150)
    page = browser.get("/")
    [chart] = [each for each in page.all("svg") if each.attributes.get("role") == "img"]
    finding = page.one("figcaption").words
    assert chart.attributes["aria-label"] == finding
    assert finding.startswith("Lasts")
    cells = page.one("section", aria_labelledby="course-title").one("tbody").all("td")
    assert [cell.words for cell in cells] == ["2", "450", "999,550"]


def test_on_the_first_day_there_are_three_steps_with_commands(browser: Browser) -> None:
    slug = factories.tool().slug
    page = browser.get("/")
    steps = page.one("ol", class_="steps")
    assert len(steps.all("li")) == 3
    assert "/api/v1/tools" in steps.words
    assert re.search(r"/api/v1/tools/[a-z0-9-]+/quote", steps.words), slug
    assert not page.all("figure")


def test_without_a_subscription_there_are_the_plans(app: Flask, db: None) -> None:
    caller = factories.user()
    page = Browser(app.test_client()).sign_in(accounts.get(caller.user_id).email).get("/")
    assert "You have no subscription yet." in page.words
    assert page.all("section", class_="plan")


def test_what_needs_the_owner_is_named_whatever_its_name(browser: Browser, database_url: str) -> None:
    assert browser.customer
    owner = browser.customer.user_id
    soon, later = clock.now() + timedelta(days=13), clock.now() + timedelta(days=15)
    keys.create(owner, HOSTILE[:200], actor=OPERATOR, expires_at=soon)
    keys.create(owner, "not yet", actor=OPERATOR, expires_at=later)
    factories.delegated(browser.customer, 1)  # made to end soon
    columns = "(id, user_id, url, events, secret, status, disabled_reason, failing_since)"
    with psycopg.connect(database_url, autocommit=True) as sql:
        for url, reason, failing in [("gone", "gone", False), ("weak", None, True), ("mine", "manual", False)]:
            sql.execute(
                f"insert into webhook_endpoints {columns} "
                "values (%s, %s, %s, %s, '-', %s, %s, case when %s then now() end)",
                (
                    uuid7(),
                    owner,
                    f"https://{url}.example/",
                    [COMPLETED],
                    "disabled" if reason else "enabled",
                    reason,
                    failing,
                ),
            )
    rows = [row.words for row in browser.get("/").one("section", aria_labelledby="attention-title").all("tr")[1:]]
    assert len(rows) == 3
    assert any("gone.example" in row and "410 Gone" in row for row in rows)
    assert any("weak.example" in row and "failing" in row for row in rows)
    assert any("<script>alert(1)</script>" in row and "expires" in row for row in rows)
    _, key = keys.create(owner, "a program", actor=OPERATOR)
    told = browser.http.get("/api/v1/users/me/attention", headers={"X-API-Key": key}).get_json()["data"]
    assert [each["what"] for each in told["endpoints"]] == ["gone", "failing"]
    assert [(each["name"], each["what"]) for each in told["keys"]] == [(HOSTILE[:200], "expires")]


def test_the_overview_asks_few_things(browser: Browser, trips: Trips) -> None:
    assert browser.customer
    charge(browser.customer, *range(1, 60))
    browser.get("/")
    trips.clear()
    browser.get("/")
    assert len(trips.statements) <= 5, trips.statements
    assert len(trips.commands) <= 3, trips.commands

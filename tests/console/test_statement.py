"""The statement: an account that sums to zero, checked on demand, as a page and as a file."""

from __future__ import annotations

import csv
import io
from datetime import timedelta

import pytest
from flask import Flask

from common import subscriptions
from common.identity import accounts
from common.kit import clock
from tests import factories
from tests.console.charges import charge
from tests.console.conftest import Browser, Element, Trips, browser_of
from tests.console.test_pages import HOSTILE
from tests.subscriptions.accounts import began


def amounts(page: Element) -> dict[str, int]:
    """The sums of the account, by their name."""
    sums = page.one("table", class_="ledger").all("tr", class_="sum")
    numbers = {row.one("th").words: row.all("td")[-1].words for row in sums}
    return {name: int(text.replace(",", "").replace("−", "-").replace("+", "")) for name, text in numbers.items()}


def test_a_statement_sums_to_zero_on_the_page_and_in_the_file(browser: Browser) -> None:
    assert browser.customer
    owner = browser.customer.user_id
    subscriptions.grant(owner, 500, reason=f"=1+1 {HOSTILE}", actor=factories.admin())
    subscriptions.grant(owner, -100, reason="taken back", actor=factories.admin())
    charge(browser.customer, 300, 150)
    browser.customer.submit(factories.tool())
    page = browser.get("/statement")
    found = amounts(page)
    assert found == {"Granted": 1_000_400, "Charged": -450, "Held": -10, "Available": -999_940, "Sum": 0}
    assert "Granted: =1+1 <script>alert(1)</script>" in page.words
    assert "Taken back: taken back" in page.words
    answer = browser.ask("/statement/download")
    assert answer.content_type == "text/csv; charset=utf-8"
    head, *lines = csv.reader(io.StringIO(answer.text))
    assert head[-1] == "tokens"
    assert sum(int(line[-1]) for line in lines) == 0
    assert next(line[2] for line in lines if "1+1" in line[2]).startswith("'=1+1")


def test_a_check_is_shown_with_its_result_and_refused_within_the_minute(browser: Browser) -> None:
    assert browser.customer
    charge(browser.customer, 7)  # by no run that there is: a difference
    assert "not yet" in browser.get("/statement").words
    path = browser.post("/statement/check")
    page = browser.get(path)
    assert "differs by -7 tokens" in page.words or "differs by 7 tokens" in page.words
    refused = browser.refused("/statement/check", 429, "rate_limited")
    assert amounts(refused)["Sum"] == 0


def test_a_statement_without_a_difference_says_so(browser: Browser) -> None:
    assert browser.customer
    browser.customer.submit(factories.tool())
    page = browser.get(browser.post("/statement/check"))
    assert "no difference" in page.words
    assert "statement adds up" in page.one("div", id="head").words


def test_earlier_periods_are_listed_and_shown(app: Flask, db: None) -> None:
    customer = factories.customer()
    began(customer.user_id, clock.now() - timedelta(days=40))
    page = browser_of(app, customer).get("/statement")
    periods = page.one("section", aria_labelledby="periods-title")
    assert len(periods.all("tbody")[0].all("tr")) == 2
    [earlier] = [each.attributes["href"] for each in periods.all("a")]
    assert earlier.startswith("/console/statement?period=")


@pytest.mark.parametrize("asked", ["period=nonsense", "period=0190abcd-0000-7000-8000-000000000009"])
def test_periods_of_others_and_nonsense_are_refused(browser: Browser, asked: str) -> None:
    assert browser.ask(f"/statement?{asked}").status_code in (404, 422)
    assert browser.ask(f"/statement/download?{asked}").status_code in (404, 422)
    assert browser.send(f"/statement/check?{asked}").status_code in (404, 422)


def test_a_statement_of_somebody_else_is_not_there(app: Flask, browser: Browser) -> None:
    other = factories.customer()
    for path in ("/statement", "/statement/download"):
        assert browser.ask(f"{path}?period={other.period_id}").status_code == 404
    assert browser.send(f"/statement/check?period={other.period_id}").status_code == 404


def test_without_a_limit_nothing_is_summed(app: Flask, db: None) -> None:
    page = browser_of(app, factories.customer(None)).get("/statement")
    assert "unlimited" in page.words
    assert "4,503,599" not in page.words


def test_before_the_first_plan_there_is_an_empty_page(app: Flask, db: None) -> None:
    caller = factories.user()
    page = Browser(app.test_client()).sign_in(accounts.get(caller.user_id).email).get("/statement")
    assert "There is no period yet" in page.words


def test_a_full_statement_stays_small(browser: Browser, trips: Trips) -> None:
    assert browser.customer
    for day in range(31):
        charge(browser.customer, 5, at=clock.now() - timedelta(days=day))
    tool = factories.tool()
    for _ in range(50):
        browser.customer.submit(tool)
    browser.get("/statement")
    trips.clear()
    browser.get("/statement")
    assert len(trips.statements) <= 5, trips.statements
    assert len(trips.commands) <= 3, trips.commands

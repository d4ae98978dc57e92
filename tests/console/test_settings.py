"""Settings: name, password, sessions, time zone, and leaving."""

from __future__ import annotations

import pytest
from flask import Flask

from common import subscriptions
from common.errors import NotFound
from common.identity import accounts
from tests import factories
from tests.console.conftest import Browser, Trips, browser_of
from tests.console.test_pages import HOSTILE
from web.console.pages.settings import device

NEW = "the heron waits in grey water"


def email(browser: Browser) -> str:
    assert browser.customer
    return accounts.get(browser.customer.user_id).email


def test_the_name_is_changed_and_shown_whatever_it_is(browser: Browser) -> None:
    browser.post("/settings/name", {"name": "<b>Ada</b> \u202e"}, to="/console/settings?said=renamed")
    page = browser.get("/settings")
    assert page.one("input", name="name").attributes["value"] == "<b>Ada</b> \u202e"
    assert "<b>Ada</b> ⟨U+202E⟩" in page.one("header").words
    refused = browser.refused("/settings/name", 422, "validation_failed", {"name": ""})
    assert refused.one("input", name="name").attributes["aria-invalid"] == "true"


def test_a_new_password_ends_every_session_and_signs_in_again(app: Flask, browser: Browser) -> None:
    address = email(browser)
    elsewhere = Browser(app.test_client()).sign_in(address)
    sent = {"current_password": factories.PASSWORD, "password": NEW}
    browser.post("/settings/password", sent, to="/console/settings?said=password-changed")
    page = browser.get("/settings?said=password-changed")
    assert "you are still signed in here" in page.words
    assert len(page.one("section", aria_labelledby="sessions-title").all("tbody")[0].all("tr")) == 1
    assert elsewhere.ask("/").status_code == 303
    Browser(app.test_client()).post("/sign-in", {"email": address, "password": NEW}, to="/console/")


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        ({"current_password": "wrong", "password": NEW}, 403, "forbidden"),
        ({"current_password": factories.PASSWORD, "password": "password"}, 422, "weak_password"),
        ({"current_password": "", "password": ""}, 422, "validation_failed"),
    ],
)
def test_a_refused_password_changes_nothing(browser: Browser, sent: dict[str, str], status: int, code: str) -> None:
    page = browser.refused("/settings/password", status, code, sent)
    assert NEW not in page.words
    assert all("value" not in each.attributes for each in page.all("input", type="password"))
    browser.get("/settings")


def test_sessions_are_listed_and_ended(app: Flask, browser: Browser) -> None:
    others = [Browser(app.test_client()) for _ in range(3)]
    for number, other in enumerate(others):
        agent = HOSTILE.encode("ascii", "ignore").decode().replace("\x1b", "") if number else "Mozilla Firefox/1 Linux"
        other.http.environ_base["HTTP_USER_AGENT"] = agent
        other.sign_in(email(browser))
    page = browser.get("/settings")
    table = page.one("section", aria_labelledby="sessions-title")
    assert "Firefox on Linux" in table.words
    assert "<script>alert(1)</script>" in table.words
    ends = [form.attributes["action"] for form in table.all("form") if form.attributes["action"].endswith("/end")]
    assert len(ends) == 3, "not the one that asks"
    browser.post(ends[0].removeprefix("/console"), to="/console/settings?said=session-ended")
    assert sorted(other.ask("/").status_code for other in others) == [200, 200, 303]
    browser.post("/settings/sessions/end-others", to="/console/settings?said=others-ended")
    assert [other.ask("/").status_code for other in others] == [303, 303, 303]
    browser.get("/settings")


def test_a_session_of_somebody_else_is_not_there(app: Flask, browser: Browser) -> None:
    other = browser_of(app, factories.customer())
    page = Browser(app.test_client()).sign_in(email(other)).get("/settings")
    forms = page.one("section", aria_labelledby="sessions-title").all("form")
    [path] = [each.attributes["action"] for each in forms if each.attributes["action"].endswith("/end")]
    assert browser.send(path.removeprefix("/console")).status_code == 404
    other.get("/settings")


def test_a_zone_is_fixed_and_given_up(browser: Browser) -> None:
    browser.http.set_cookie("hub-zone", "Asia/Tokyo", path="/console")
    browser.post("/settings/zone", {"zone": "Europe/Berlin"}, to="/console/settings?said=saved")
    assert "Times are in Europe/Berlin." in browser.get("/settings").one("footer").words
    browser.post("/settings/zone", {"zone": ""})
    assert "Times are in Asia/Tokyo." in browser.get("/settings").one("footer").words


@pytest.mark.parametrize("zone", ["Nowhere/City", "../../etc/passwd", HOSTILE[:60], "x" * 100])
def test_a_zone_that_there_is_not_is_refused(browser: Browser, zone: str) -> None:
    page = browser.refused("/settings/zone", 422, "validation_failed", {"zone": zone})
    assert page.one("input", name="zone").attributes["aria-invalid"] == "true"


def test_leaving_takes_the_password_and_everything_else(app: Flask, browser: Browser) -> None:
    assert browser.customer
    address = email(browser)
    assert "This cannot be undone." in browser.get("/settings/delete").words
    browser.refused("/settings/delete", 403, "forbidden", {"password": "wrong"})
    browser.get("/")
    browser.post("/settings/delete", {"password": factories.PASSWORD}, to="/console/sign-in?said=deleted")
    assert browser.http.get_cookie("hub") is None
    with pytest.raises(NotFound):
        accounts.by_email(address)
    assert subscriptions.current(browser.customer.user_id).status == "canceled"


@pytest.mark.parametrize(
    ("agent", "said"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox on Linux"),
        ("Mozilla/5.0 (Windows NT 10.0) Chrome/140.0 Safari/537.36 Edg/140.0", "Edge on Windows"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18.0 Safari/604.1", "Safari on iPhone"),
        ("curl/8.5.0", "curl"),
        ("something else", "something else"),
        (None, "unknown"),
    ],
)
def test_devices_are_named_as_people_say_them(agent: str | None, said: str) -> None:
    assert device(agent) == said


def test_settings_ask_few_things(browser: Browser, trips: Trips) -> None:
    browser.get("/settings")
    trips.clear()
    browser.get("/settings")
    assert len(trips.statements) <= 5, trips.statements
    assert len(trips.commands) <= 3, trips.commands

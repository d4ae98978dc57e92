"""Signing in, up and out, and what mailed links lead to."""

from __future__ import annotations

import re
from datetime import timedelta
from uuid import UUID

import psycopg
import pytest
import time_machine
from flask import Flask
from flask.testing import FlaskClient

from common.errors import Forbidden
from common.identity import accounts, session_directory
from common.identity.authorization import Caller
from common.kit import clock
from common.kit.paging import Window
from common.notifications import mails
from common.settings import Settings, load
from tests import factories
from tests.console.conftest import Browser, browser_of, check_page
from web.app import create_app

NEW = "the heron waits in grey water"


def sessions_of(user_id: UUID) -> list[tuple[str, str | None]]:
    """Kind and user agent of the account's sessions."""
    caller = Caller(user_id, "user", frozenset(), None, None, True)
    return [(each.kind, each.user_agent) for each in session_directory.listing(caller, Window(50)).items]


def link(settings: Settings, kind: str) -> str:
    """The path of the page in the last mail, which is a file where there is no server."""
    mails.send_due(settings.public_url)
    last = max((settings.data_dir / "mail").glob("*.eml"), key=lambda file: file.stat().st_mtime_ns)
    [path] = set(re.findall(rf"{re.escape(settings.public_url)}/console(/{kind}/[\w-]{{43}})", last.read_text()))
    return str(path)


def test_signing_in_is_a_session_with_a_cookie_that_no_script_sees(stranger: Browser) -> None:
    customer = factories.customer()
    email = accounts.get(customer.user_id).email
    page = stranger.get("/sign-in")
    assert page.one("input", name="password").attributes["autocomplete"] == "current-password"
    answer = stranger.send("/sign-in", {"email": email.upper(), "password": factories.PASSWORD})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/console/")
    cookie = answer.headers["Set-Cookie"]
    assert re.match(r"hub=[\w.-]+; ", cookie)
    assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= {*cookie.split("; ")}
    assert stranger.get("/").one("h1").words == "Overview"
    assert sessions_of(customer.user_id) == [("console", stranger.http.environ_base["HTTP_USER_AGENT"])]


@pytest.mark.parametrize("wrong", [{"email": "nobody@example.com"}, {"password": "wrong"}])
def test_one_message_for_a_wrong_address_and_a_wrong_password(stranger: Browser, wrong: dict[str, str]) -> None:
    email = accounts.get(factories.user().user_id).email
    page = stranger.refused("/sign-in", 401, "invalid_credentials", {"email": email, "password": NEW, **wrong})
    assert "The e-mail address or the password is wrong." in page.one("main").words
    assert page.one("input", name="email").attributes["value"] == wrong.get("email", email)
    assert "value" not in page.one("input", name="password").attributes
    assert NEW not in page.words


def test_what_is_missing_is_said_beside_the_field_and_above(stranger: Browser) -> None:
    page = stranger.refused("/sign-in", 422, "validation_failed", {"email": " ", "password": ""})
    summary = page.one("div", id="summary")
    assert summary.attributes["role"] == "alert"
    assert [each.attributes["href"] for each in summary.all("a")][:2] == ["#email", "#password"]
    field = page.one("input", name="email")
    assert field.attributes["aria-invalid"] == "true"
    assert page.one(id=field.attributes["aria-describedby"]).words


@pytest.mark.parametrize(
    ("wanted", "to"),
    [
        ("/console/verify/x?a=1", "/console/verify/x?a=1"),
        ("", "/console/"),
        ("/", "/console/"),
        ("https://evil.example/", "/console/"),
        ("//evil.example/console/", "/console/"),
        ("/console//evil.example", "/console/"),
        ("/console/\\evil.example", "/console/"),
        ("/console/%2fevil.example", "/console/"),
        ("/console/\n/", "/console/"),
        ("/console/nothing", "/console/"),
        ("/console/sign-out", "/console/"),
        ("/api/v1/users/me", "/console/"),
        ("javascript:alert(1)", "/console/"),
    ],
)
def test_next_leads_to_pages_of_the_console_only(stranger: Browser, wanted: str, to: str) -> None:
    email = accounts.get(factories.user().user_id).email
    sent = {"email": email, "password": factories.PASSWORD, "next": wanted}
    assert stranger.post("/sign-in", sent) == to.removeprefix("/console")


def test_a_page_leads_to_the_sign_in_and_back(stranger: Browser) -> None:
    answer = stranger.ask("/?limit=50")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/console/sign-in?next=/console/?limit%3D50")
    page = stranger.get(answer.headers["Location"].removeprefix("/console"))
    form = page.one("form", action="/console/sign-in")
    assert form.one("input", name="next").attributes["value"] == "/console/?limit=50"


def test_signing_out_ends_the_session_everywhere(browser: Browser, app: Flask) -> None:
    assert browser.customer
    cookie = browser.http.get_cookie("hub")
    assert cookie
    elsewhere = Browser(app.test_client())
    elsewhere.http.set_cookie("hub", cookie.value)
    elsewhere.get("/")
    answer = browser.send("/sign-out")
    assert answer.headers["Location"] == "/console/sign-in?said=signed-out"
    assert answer.headers["Clear-Site-Data"] == '"cache"'
    assert browser.http.get_cookie("hub") is None
    assert elsewhere.ask("/").status_code == 303
    assert sessions_of(browser.customer.user_id) == []
    assert "signed out" in browser.get("/sign-in?said=signed-out").words


def test_a_session_that_is_ended_elsewhere_ends_here(browser: Browser) -> None:
    assert browser.customer
    accounts.administer(browser.customer.user_id, actor=factories.admin(), is_active=False)
    assert browser.ask("/").status_code == 303


def test_an_account_is_opened_and_its_address_confirmed_by_a_button(stranger: Browser, settings: Settings) -> None:
    page = stranger.get("/sign-up")
    assert "10 to 128 characters" in page.one(id="password-hint").words
    sent = {"name": "Ada <b>", "email": "ada-new@example.com", "password": NEW}
    where = stranger.post("/sign-up", sent, to="/console/?said=signed-up")
    page = stranger.get(where)
    assert "Ada <b>" in page.one("header").words
    assert "is not confirmed yet" in page.one("main").words
    path = link(settings, "verify")
    for _ in range(2):
        stranger.get(path)  # as scanners of mails do
    stranger.post(path, to="/console/?said=verified")
    assert "is not confirmed yet" not in stranger.get("/").words
    page = stranger.refused(path, 400, "invalid_link")
    assert page.all("a", href="/console/verify")


def test_an_address_that_is_taken_and_a_weak_password_are_refused(stranger: Browser) -> None:
    email = accounts.get(factories.user().user_id).email
    taken = {"name": "Ada", "email": email, "password": NEW}
    page = stranger.refused("/sign-up", 409, "email_taken", taken)
    assert page.one("input", name="name").attributes["value"] == "Ada"
    page = stranger.refused("/sign-up", 422, "weak_password", {**taken, "email": "b@example.com", "password": "short"})
    assert "10 to 128 characters" in page.one(id="password-fault").words


def test_a_password_is_reset_by_a_mailed_link(stranger: Browser, app: Flask, settings: Settings) -> None:
    customer = factories.customer()
    user = accounts.get(customer.user_id)
    elsewhere = browser_of(app, customer)
    stranger.get("/reset")
    same = [stranger.post("/reset", {"email": email}) for email in ("nobody@example.com", user.email)]
    assert same == ["/sign-in?said=reset-sent"] * 2
    path = link(settings, "reset")
    assert stranger.get(path).one("input", name="password").attributes["autocomplete"] == "new-password"
    stranger.refused(path, 422, "weak_password", {"password": "short"})
    stranger.post(path, {"password": NEW}, to="/console/sign-in?said=password-set")
    assert elsewhere.ask("/").status_code == 303
    stranger.post("/sign-in", {"email": user.email, "password": NEW}, to="/console/")
    page = stranger.refused(path, 400, "invalid_link", {"password": NEW})
    assert page.all("a", href="/console/reset")


def test_another_confirmation_is_sent(stranger: Browser) -> None:
    stranger.get("/verify")
    assert stranger.post("/verify", {"email": "nobody@example.com"}) == "/sign-in?said=verification-sent"
    assert "a new link is on its way" in stranger.get("/sign-in?said=verification-sent").words


def test_too_many_attempts_say_when_to_come_back(stranger: Browser) -> None:
    email = accounts.get(factories.user().user_id).email
    for _ in range(10):
        stranger.refused("/sign-in", 401, "invalid_credentials", {"email": email, "password": "wrong"})
    answer = stranger.send("/sign-in", {"email": email, "password": factories.PASSWORD})
    assert (answer.status_code, answer.headers["Retry-After"].isdigit()) == (429, True)
    assert "Try again in" in check_page(answer).one("main").words


# -- the cookie ----------------------------------------------------------------------------------------------------


def claims(browser: Browser) -> str:
    cookie = browser.http.get_cookie("hub")
    assert cookie
    return cookie.value


def test_neither_kind_of_token_is_taken_for_the_other(browser: Browser, stranger: Browser) -> None:
    assert browser.customer
    user = accounts.get(browser.customer.user_id)
    bearer = browser.http.get("/api/v1/users/me", headers={"Authorization": f"Bearer {claims(browser)}"})
    assert (bearer.status_code, bearer.json and bearer.json["code"]) == (401, "unauthenticated")
    assert browser.http.get("/api/v1/users/me").status_code == 401  # the cookie is sent, and not read
    login = stranger.http.post("/api/v1/auth/login", json={"email": user.email, "password": factories.PASSWORD})
    access = (login.json or {})["data"]["access_token"]
    assert stranger.http.get("/api/v1/users/me", headers={"Authorization": f"Bearer {access}"}).status_code == 200
    stranger.http.set_cookie("hub", access)
    assert stranger.ask("/", headers={"Authorization": f"Bearer {access}"}).status_code == 303


@pytest.mark.parametrize("spoiled", ["", "x", "a.b.c", "x" * 4050])
def test_a_spoiled_cookie_is_no_session(stranger: Browser, spoiled: str) -> None:
    stranger.http.set_cookie("hub", spoiled)
    assert stranger.ask("/").status_code == 303
    stranger.get("/sign-in")


def test_a_cookie_is_made_anew_once_a_day_but_does_not_outlive_its_session(browser: Browser) -> None:
    first = claims(browser)
    browser.get("/")
    assert claims(browser) == first
    began = clock.now()
    with time_machine.travel(began + timedelta(days=13), tick=True):
        browser.get("/")
    second = claims(browser)
    assert second != first
    with time_machine.travel(began + timedelta(days=26), tick=True):
        answer = browser.ask("/")
        assert answer.status_code == 200
        assert claims(browser) != second
    with time_machine.travel(began + timedelta(days=31), tick=True):
        assert browser.ask("/").status_code == 303


def test_a_cookie_that_was_not_used_for_two_weeks_has_ended(browser: Browser) -> None:
    with time_machine.travel(clock.now() + timedelta(days=15), tick=True):
        assert browser.ask("/").status_code == 303


def test_where_the_platform_is_reached_by_https_the_cookie_is_bound_to_it(db: None, environ: dict[str, str]) -> None:
    http: FlaskClient = create_app(load({**environ, "PUBLIC_URL": "https://hub.example"})).test_client()
    email = accounts.get(factories.user().user_id).email
    sent = {"email": email, "password": factories.PASSWORD}
    answer = http.post("/console/sign-in", data=sent, headers={"Sec-Fetch-Site": "same-origin"})
    assert answer.headers["Set-Cookie"].startswith("__Host-hub=")
    assert {"Secure", "HttpOnly", "Path=/"} <= {*answer.headers["Set-Cookie"].split("; ")}


def test_a_password_that_was_given_lately_is_not_asked_for_again(browser: Browser, database_url: str) -> None:
    assert browser.customer
    user_id = browser.customer.user_id
    [session] = session_directory.listing(Caller(user_id, "user", frozenset(), None, None, True), Window(5)).items
    assert accounts.confirmed_recently(session.id)
    with psycopg.connect(database_url, autocommit=True) as sql:
        sql.execute("update refresh_families set created_at = now() - interval '31 minutes'")
    assert not accounts.confirmed_recently(session.id)
    with pytest.raises(Forbidden, match="wrong"):
        accounts.confirm(user_id, session.id, "wrong")
    assert not accounts.confirmed_recently(session.id)
    accounts.confirm(user_id, session.id, factories.PASSWORD)
    assert accounts.confirmed_recently(session.id)

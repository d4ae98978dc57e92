"""The pages of API keys."""

from __future__ import annotations

import psycopg
import pytest
from flask import Flask

from common.identity import keys
from common.identity.audit import OPERATOR
from common.kit.paging import Window
from common.models.accounts import ApiKey
from tests import factories
from tests.console.conftest import Browser, Element, Trips, browser_of, check_page
from tests.console.test_pages import HOSTILE


def keys_of(browser: Browser) -> list[ApiKey]:
    assert browser.customer
    return list(keys.owned(browser.customer.user_id, Window(100)).items)


def made(browser: Browser, name: str = "a program") -> tuple[str, str]:
    """The path of a new key, and its text."""
    assert browser.customer
    key, text = keys.create(browser.customer.user_id, name, actor=OPERATOR)
    return f"/keys/{key.id}", text


def typed(page: Element, **more: object) -> dict[str, object]:
    """What the form of a page sends, with what is typed into it."""
    form = page.one("main").one("form", method="post")
    found = {each.attributes["name"]: each.attributes.get("value", "") for each in form.all("input", type="hidden")}
    boxes = [each.attributes["value"] for each in form.all("input", type="checkbox") if "checked" in each.attributes]
    return {**found, **({"scopes": boxes} if boxes else {}), **more}


def status_with(browser: Browser, key: str) -> int:
    """What the API answers to the key."""
    return browser.http.get("/api/v1/users/me", headers={"X-API-Key": key}).status_code


def test_a_key_is_created_shown_once_and_works(browser: Browser) -> None:
    assert "A key lets one of your programs use the API" in browser.get("/keys").words
    sent = typed(browser.get("/keys/new"), name="backup", expires_at="2999-01-02T03:04")
    assert "admin" not in str(sent["scopes"])
    answer = browser.send("/keys/new", sent)
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
    text = check_page(answer).one("pre", id="secret").words
    again = check_page(browser.send("/keys/new", sent)).one("pre", id="secret").words  # a reload
    [key] = keys_of(browser)
    assert (again, key.name, status_with(browser, text)) == (text, "backup", 200)
    page = browser.get("/keys")
    assert f"{key.prefix}…{key.last4}" in page.words
    assert "default" in [each.words for each in page.all("td", data_label="Scopes")]
    assert text not in page.words


@pytest.mark.parametrize(
    ("wrong", "status", "code"),
    [
        ({"name": ""}, 422, "validation_failed"),
        ({"name": "a\nb"}, 422, "validation_failed"),
        ({"scopes": []}, 422, "validation_failed"),
        ({"scopes": ["everything"]}, 422, "validation_failed"),
        ({"scopes": ["admin"]}, 403, "forbidden"),
        ({"expires_at": "2001-01-01T00:00"}, 422, "validation_failed"),
        ({"expires_at": "tomorrow"}, 422, "validation_failed"),
        ({"allowance": "0"}, 422, "validation_failed"),
        ({"tools": "nothing-like-it"}, 422, "validation_failed"),
    ],
)
def test_a_key_that_cannot_be_is_refused_and_what_was_typed_stays(
    browser: Browser, wrong: dict[str, object], status: int, code: str
) -> None:
    sent = typed(browser.get("/keys/new"), **{"name": "mine", **wrong})
    page = browser.refused("/keys/new", status, code, sent)
    if "name" not in wrong:
        assert page.one("input", id="name").attributes["value"] == "mine"
    assert not keys_of(browser)


def test_limits_of_a_key_are_set_and_shown(browser: Browser) -> None:
    slug = factories.tool().slug
    limits = {"allowance": "5000", "window": "day", "rate_limit_per_minute": "7", "tools": f"{slug}, {slug}"}
    check_page(browser.send("/keys/new", typed(browser.get("/keys/new"), name="mine", **limits)))
    assert f"5,000 of 5,000 tokens left today (UTC); 7 a minute; {slug}" in browser.get("/keys").words
    [key] = keys_of(browser)
    assert (key.allowance_tokens, key.allowance_window, key.rate_limit_per_minute, key.tools) == (
        5000,
        "day",
        7,
        [slug],
    )


def test_the_password_is_asked_for_again_after_half_an_hour(browser: Browser, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as sql:
        sql.execute("update refresh_families set created_at = now() - interval '31 minutes'")
    page = browser.get("/keys/new")
    assert page.one("input", id="current_password").attributes["autocomplete"] == "current-password"
    sent = typed(page, name="mine")
    for wrong in ({}, {"current_password": "wrong"}):
        refused = browser.refused("/keys/new", 403, "forbidden", {**sent, **wrong})
        assert "password is wrong" in refused.words
    assert not keys_of(browser)
    answer = browser.send("/keys/new", {**sent, "current_password": factories.PASSWORD})
    assert answer.status_code == 200
    assert not browser.get("/keys/new").all("input", id="current_password")


def test_a_rotated_key_has_two_secrets_until_a_time_that_is_said(browser: Browser) -> None:
    path, old = made(browser)
    page = browser.get(f"{path}/rotate")
    assert [each.attributes["value"] for each in page.all("option") if "selected" in each.attributes] == ["1800"]
    shown = check_page(browser.send(f"{path}/rotate", typed(page, overlap_seconds="3600")))
    new = shown.one("pre", id="secret").words
    assert [status_with(browser, each) for each in (old, new)] == [200, 200]
    until = shown.one("main").all("time")[0].attributes["datetime"]
    assert browser.get("/keys").one("tbody").all("time")[0].attributes["datetime"] == until
    check_page(browser.send(f"{path}/rotate", typed(page, overlap_seconds="0", once="another-form")))
    assert [status_with(browser, each) for each in (old, new)] == [401, 401]
    assert "old secret" not in browser.get("/keys").words


def test_a_revoked_key_ends_and_its_last_use_was_said(browser: Browser, database_url: str) -> None:
    path, text = made(browser)
    assert "It was never used." in browser.get(f"{path}/revoke").words
    with psycopg.connect(database_url, autocommit=True) as sql:
        sql.execute("update api_keys set last_used_at = now() - interval '2 hours'")
    assert "It was last used 2 h ago" in browser.get(f"{path}/revoke").words
    browser.post(f"{path}/revoke", to="/console/keys?said=key-revoked")
    assert status_with(browser, text) == 401
    browser.get(f"{path}/revoke", 404)
    assert browser.send(f"{path}/revoke").status_code == 404


def test_keys_of_another_account_are_not_there(browser: Browser, app: Flask) -> None:
    path, text = made(browser)
    other = browser_of(app, factories.customer())
    for action in ("rotate", "revoke"):
        other.get(f"{path}/{action}", 404)
        assert other.send(f"{path}/{action}", {"overlap_seconds": "0"}).status_code == 404
    assert status_with(browser, text) == 200
    assert not other.get("/keys").all("table")


def test_a_full_page_stays_small_and_asks_little(browser: Browser, trips: Trips) -> None:
    for _ in range(51):
        made(browser, HOSTILE.replace("\x1b", "")[:190].ljust(190, "&"))
    browser.get("/keys?limit=50")
    trips.clear()
    page = browser.get("/keys?limit=50")
    assert len(page.one("tbody").all("tr")) == 50
    assert len(trips.statements) <= 5, trips.statements
    assert len(trips.commands) <= 3, trips.commands
    older = page.one("a", rel="next").attributes["href"]
    assert len(browser.get(older.removeprefix("/console")).one("tbody").all("tr")) == 1

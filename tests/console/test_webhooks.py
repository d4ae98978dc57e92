"""The pages of webhooks: endpoints, secrets, deliveries, replay."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest
import time_machine
from flask import Flask

from common import boot, webhooks
from common.kit import clock
from common.kit.paging import Window
from common.models.webhooks import WebhookEndpoint
from common.webhooks import signing
from tests import factories
from tests.console.conftest import Browser, Element, Trips, browser_of, check_page, read
from tests.console.test_pages import HOSTILE
from tests.outside.receiver import Receiver, Reply
from web.console.rendering import TEMPLATES

RECEIVERS = TEMPLATES / "receivers"


def endpoints_of(browser: Browser) -> list[WebhookEndpoint]:
    assert browser.customer
    return list(webhooks.endpoints(browser.customer.user_id, Window(50)).items)


def made(browser: Browser, url: str, description: str | None = None) -> str:
    """The path of a new endpoint, made by the verb."""
    assert browser.customer
    wanted = {"url": url, "description": description}
    return f"/webhooks/{webhooks.create(browser.customer.user_id, boot.outbound(), **wanted).endpoint.id}"  # type: ignore[arg-type]


def fields(form: Element) -> dict[str, str]:
    """What a form sends when nothing is typed into it."""
    inputs = [each for each in form.all("input") if each.attributes.get("type") != "checkbox"]
    return {each.attributes["name"]: each.attributes.get("value", "") for each in inputs}


def form_to(page: Element, path: str) -> Element:
    return page.one("form", action=f"/console{path}", method="post")


def failed(browser: Browser, database_url: str, path: str, number: int, status: str = "failed") -> list[UUID]:
    """Deliveries that have ended, written as rows."""
    assert browser.customer
    ids = [clock.uuid7() for _ in range(number)]
    endpoint_id = path.rpartition("/")[2]
    with psycopg.connect(database_url, autocommit=True) as sql:
        for each in ids:
            event = uuid4()
            sql.execute(
                "insert into events (id, user_id, type, data) values (%s, %s, 'budget.threshold', '{}')",
                (event, browser.customer.user_id),
            )
            sql.execute(
                "insert into deliveries (id, event_id, user_id, endpoint_id, status, finished_at, tries)"
                " values (%s, %s, %s, %s, %s, now(), 1)",
                (each, event, browser.customer.user_id, endpoint_id, status),
            )
            sql.execute(
                "insert into delivery_attempts values (%s, 1, now(), 500, 12, %s, %s)",
                (each, "The receiver answered 500.", HOSTILE.replace("\x1b", "?") * 10),
            )
    return ids


# -- endpoints -----------------------------------------------------------------------------------------------------


def test_an_endpoint_is_added_and_its_secret_shown_once(browser: Browser) -> None:
    empty = browser.get("/webhooks")
    assert "Add one below." in empty.words
    typed = {**fields(form_to(empty, "/webhooks")), "url": "https://example.com/hook", "events": ["completed"]}
    answer = browser.send("/webhooks", typed)
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
    secret = check_page(answer).one("pre", id="secret").words
    assert secret.startswith("whsec_")
    again = check_page(browser.send("/webhooks", typed))  # a reload, or a second click
    assert again.one("pre", id="secret").words == secret
    [endpoint] = endpoints_of(browser)
    for path in ("/webhooks", f"/webhooks/{endpoint.id}"):
        page = browser.get(path)
        assert "https://example.com/hook" in page.words
        assert secret not in page.words
    assert "nothing sent yet" in browser.get("/webhooks").words


@pytest.mark.parametrize(
    ("typed", "code", "field"),
    [
        ({"url": "http://127.0.0.1.nip.io:7/", "events": "completed"}, "url_refused", "url"),
        ({"url": "javascript:alert(1)", "events": "completed"}, "url_refused", "url"),
        ({"url": "https://example.com/"}, "validation_failed", "events"),
        ({"url": "https://example.com/", "events": "everything"}, "validation_failed", "events/0"),
        ({"events": "completed"}, "validation_failed", "url"),
    ],
)
def test_an_endpoint_that_cannot_be_is_refused(browser: Browser, typed: dict[str, str], code: str, field: str) -> None:
    page = browser.refused("/webhooks", 422, code, typed)
    assert page.one("div", id="summary").all("li")
    if "/" not in field:
        assert page.one(id=field).attributes["aria-invalid"] == "true"
    assert page.one("input", id="url").attributes["value"] == typed.get("url", "")
    assert not endpoints_of(browser)


def test_an_endpoint_is_changed_disabled_enabled_and_deleted(browser: Browser) -> None:
    path = made(browser, "https://example.com/old", "mine")
    sent = {"url": "https://example.com/new", "events": ["budget.threshold", "completed"], "description": ""}
    browser.post(path, sent, to=f"/console{path}?said=saved")
    [changed] = endpoints_of(browser)
    assert (changed.url, changed.events, changed.description) == (sent["url"], sent["events"], None)
    assert browser.get(browser.post(f"{path}/status", {"status": "disabled"})).all(class_="status is-disabled")
    assert "Disabled: by you." in browser.get(path).words
    browser.post(f"{path}/status", {"status": "enabled"}, to=f"/console{path}?said=webhook-enabled")
    asked = browser.get(f"{path}/delete")
    assert "waiting to be sent to it is dropped" in asked.words
    browser.post(f"{path}/delete", to="/console/webhooks?said=webhook-deleted")
    browser.get(path, 404)


def test_headers_are_stored_not_shown_and_kept(browser: Browser) -> None:
    path = made(browser, "https://example.com/hook")
    sent = {"url": "https://example.com/hook", "events": "completed", "payload": "thin", "rate_limit_per_second": "5"}
    browser.post(
        path, {**sent, "headers": "Authorization: Bearer hush\r\nX-Mine: 1\r\n"}, to=f"/console{path}?said=saved"
    )
    page = browser.get(path)
    assert page.one("textarea", id="headers").text.strip() == "Authorization: [redacted]\nX-Mine: [redacted]"
    assert "thin, at most 5 a second, with Authorization, X-Mine" in page.words
    refused = browser.refused(path, 422, "validation_failed", {**sent, "headers": "hush"})
    assert "hush" not in refused.words
    browser.post(path, {**sent, "headers": "Authorization: [redacted]", "include": "receipt"})
    assert "thin, with the receipt, at most 5 a second" in browser.get(path).words
    assert browser.get(path).one("input", name="include", checked="")
    assert endpoints_of(browser)[0].include == ["receipt"]
    browser.post(path, {**sent, "headers": "Authorization: [redacted]"})
    assert endpoints_of(browser)[0].include == []
    assert [*endpoints_of(browser)[0].headers] == ["Authorization"]


def test_a_rotated_secret_is_shown_once_and_both_sign(browser: Browser) -> None:
    path = made(browser, "https://example.com/hook")
    asked = browser.get(f"{path}/rotate")
    assert "For 24 hours every webhook is signed with both" in asked.words
    sent = fields(form_to(asked, f"{path}/rotate"))
    secrets = {check_page(browser.send(f"{path}/rotate", sent)).one("pre", id="secret").words for _ in range(2)}
    assert len(secrets) == 1
    assert "the old one also signs until" in browser.get(path).words


def test_the_default_secret_is_shown_when_asked_for_and_rotated(browser: Browser) -> None:
    assert browser.customer
    secret = webhooks.default_secret(browser.customer.user_id).open()
    assert secret not in browser.get("/webhooks").words
    assert check_page(browser.send("/webhooks/default-secret")).one("pre", id="secret").words == secret
    asked = browser.get("/webhooks/default-secret/rotate")
    sent = fields(form_to(asked, "/webhooks/default-secret/rotate"))
    shown = check_page(browser.send("/webhooks/default-secret/rotate", sent)).one("pre", id="secret").words
    assert shown == webhooks.default_secret(browser.customer.user_id).open() != secret


def test_a_test_shows_the_answer(browser: Browser, receiver: Receiver) -> None:
    path = made(browser, f"{receiver.url}/hook")
    receiver.script("/hook", Reply(200, body=b"<b>thanks</b>"), Reply(500, body=b"no"))
    page = check_page(browser.send(f"{path}/test"))
    assert {"The test was accepted", "<b>thanks</b>"} <= {each.words for each in page.one("main").all()}
    page = check_page(browser.send(f"{path}/test"))
    assert "The test failed" in page.words
    assert "The receiver answered 500." in page.words
    assert len(browser.get(path).one("tbody").all("tr")) == 2
    assert "50 % of 2 delivered" in browser.get("/webhooks").words


# -- deliveries ----------------------------------------------------------------------------------------------------


def test_deliveries_are_filtered_shown_with_their_attempts_and_sent_again(browser: Browser, database_url: str) -> None:
    path = made(browser, "https://example.com/hook")
    [first, *_] = failed(browser, database_url, path, 3)
    failed(browser, database_url, path, 1, "delivered")
    assert len(browser.get(path).one("tbody").all("tr")) == 4
    page = browser.get(f"{path}?status=failed&limit=20")
    assert len(page.one("tbody").all("tr")) == 3
    assert "that are failed." in page.words
    assert page.one("select", id="status").one("option", selected="").words == "failed"
    shown = browser.get(f"{path}/deliveries/{first}")
    assert "The receiver answered 500." in shown.words
    assert shown.one("pre").words.startswith("<script>alert(1)</script>'\"&⟨U+202E⟩")
    sent = fields(form_to(shown, f"{path}/deliveries/{first}"))
    browser.post(f"{path}/deliveries/{first}", sent, to=f"/console{path}/deliveries/{first}?said=resent")
    assert "pending" in browser.get(f"{path}/deliveries/{first}").words


def test_what_a_delivery_changes_is_asked_for_by_pages_that_are_open(browser: Browser, database_url: str) -> None:
    path = made(browser, "http://127.0.0.1:9/hook")
    [first, *_] = failed(browser, database_url, path, 2)
    pages = {"/webhooks": "endpoints", path: "deliveries", f"{path}/deliveries/{first}": "delivery_attempts"}
    with time_machine.travel(clock.now(), tick=False):
        for page, name in pages.items():
            region = browser.get(page).one("div", id=name)
            assert (region.attributes["data-part"], region.attributes["data-on"]) == (name, "deliveries")
            assert read(browser.ask(f"{page}?part={name}").text).words == region.words
    answer = check_page(browser.send(f"{path}/test"))  # its address is one of a form only
    where = answer.one("div", id="deliveries").attributes["data-part"].removeprefix("/console")
    assert "webhook.test" in read(browser.ask(where).text).words


def test_a_replay_says_how_many_before_it_is_done(browser: Browser, database_url: str) -> None:
    path = made(browser, "https://example.com/hook")
    failed(browser, database_url, path, 3)
    page = browser.get(f"{path}/replay")
    assert "3 deliveries failed since" in page.words
    assert "0 deliveries failed since" in browser.get(f"{path}/replay?since=2999-01-01T00:00").words
    browser.get(f"{path}/replay?since=yesterday", 422)
    sent = fields(form_to(page, f"{path}/replay"))
    browser.post(f"{path}/replay", sent, to=f"/console{path}?said=replayed")
    page = browser.get(f"{path}/replay")
    assert "0 deliveries failed since" in page.words
    assert "3 more deliveries have not failed for good: they are pending" in page.words
    failed(browser, database_url, path, 1)
    browser.post(f"{path}/status", {"status": "disabled"})
    page = browser.get(f"{path}/replay")
    assert "Enable it first" in page.words
    assert not page.one("main").all("button", class_="main")
    refused = browser.refused(f"{path}/replay", 409, "conflict", {"since": "2020-01-01T00:00"})
    assert "enable it first" in refused.words


def test_times_are_typed_in_the_zone_of_the_reader(browser: Browser) -> None:
    path = made(browser, "https://example.com/hook")
    browser.http.set_cookie("hub-zone", "Asia/Tokyo", path="/console")
    page = browser.get(f"{path}/replay?since=2026-01-02T08:00")
    assert page.one("input", id="since").attributes["value"] == "2026-01-02T08:00"
    assert page.one("time").attributes["datetime"] == "2026-01-01T23:00:00.000000Z"


def test_what_belongs_to_another_account_is_not_there(browser: Browser, app: Flask, database_url: str) -> None:
    path = made(browser, "https://example.com/hook")
    [delivery] = failed(browser, database_url, path, 1)
    other = browser_of(app, factories.customer())
    paths = ("", "/delete", "/rotate", "/replay", f"/deliveries/{delivery}")
    for each in paths:
        other.get(f"{path}{each}", 404)
    typed = {"url": "https://example.com/", "events": "completed", "status": "disabled", "since": "2020-01-01T00:00"}
    for each in (*paths, "/status", "/test"):
        assert other.send(f"{path}{each}", typed).status_code == 404, each
    [endpoint] = endpoints_of(browser)
    assert (endpoint.url, endpoint.status) == ("https://example.com/hook", "enabled")


def test_full_pages_stay_small_and_ask_little(browser: Browser, database_url: str, trips: Trips) -> None:
    for n in range(20):
        path = made(browser, f"https://example.com/{'x' * 2000}{n}", HOSTILE.replace("\x00", "") * 8)
    failed(browser, database_url, path, 51)
    [several] = failed(browser, database_url, path, 1)
    for page in ("/webhooks", f"{path}?limit=50", f"{path}/deliveries/{several}", f"{path}/replay"):
        browser.get(page)
        trips.clear()
        browser.get(page)
        assert len(trips.statements) <= 5, trips.statements
        assert len(trips.commands) <= 3, trips.commands
    older = browser.get(f"{path}?limit=50").one("a", rel="next").attributes["href"]
    assert len(browser.get(older.removeprefix("/console")).one("tbody").all("tr")) == 2


# -- the check of a signature --------------------------------------------------------------------------------------

RUN = {
    "python": "\nimport sys, json\nprint(verify(json.loads(sys.argv[1]), open('body.json', 'rb').read()))",
    "javascript": "\nimport { readFileSync } from 'node:fs';\n"
    "console.log(verify(JSON.parse(process.argv[2]), readFileSync('body.json')));",
}


def verified(language: str, folder: Path, secret: str, headers: dict[str, str]) -> str:
    """What the check on the page says of a webhook with the body in `folder`."""
    source = (RECEIVERS / f"{language}.txt").read_text() + RUN.get(language, "")
    names = {"python": "check.py", "javascript": "check.mjs", "shell": "check.sh"}
    programs = {"python": sys.executable, "javascript": "node", "shell": "sh"}
    (folder / names[language]).write_text(source)
    given = {"WEBHOOK_SECRET": secret, "ID": headers["webhook-id"], "TIMESTAMP": headers["webhook-timestamp"]}
    done = subprocess.run(
        [programs[language], names[language], json.dumps(headers)],
        cwd=folder,
        env={**os.environ, **given, "SIGNATURE": headers["webhook-signature"]},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout.strip().lower()


@pytest.mark.parametrize("language", ["python", "javascript", "shell"])
def test_the_checks_that_are_shown_tell_genuine_from_forged(language: str, tmp_path: Path) -> None:
    old, new, body = signing.new_secret(), signing.new_secret(), '{"type":"webhook.test","€":1}'.encode()
    (tmp_path / "body.json").write_bytes(body)
    now = int(clock.now().timestamp())
    headers = signing.sign([new, old], uuid4(), now, body)
    good, bad = {"true", "genuine"}, {"false", "forged", "too old"}
    assert verified(language, tmp_path, old, headers) in good
    assert verified(language, tmp_path, signing.new_secret(), headers) in bad
    assert verified(language, tmp_path, new, signing.sign([new], uuid4(), now - 400, body)) in bad
    (tmp_path / "body.json").write_bytes(body + b" ")
    assert verified(language, tmp_path, new, headers) in bad


def test_the_checks_are_shown_as_they_are(browser: Browser) -> None:
    page = browser.get("/webhooks")
    for language in ("python", "javascript", "shell"):
        assert page.one("pre", id=f"check-{language}").text == (RECEIVERS / f"{language}.txt").read_text().rstrip("\n")

"""What every page of the console has in common, whoever asks for it and in whatever state the platform is."""

from __future__ import annotations

import pytest
import time_machine
from flask import Flask

from common import subscriptions
from common.identity import accounts, keys
from common.identity.audit import OPERATOR
from common.kit import clock
from common.kit.redis import Client
from dev.servers import Redis
from tests import factories
from tests.console.conftest import Browser, browser_of, check_page, read
from web.console import assets, show
from web.console.face import CONSOLE, REQUESTS_PER_MINUTE
from web.http.quotas import ReadQuota

HOSTILE = "<script>alert(1)</script>'\"&\u202e\u200b\x1b\ufeff{{ 7*7 }}"


@pytest.mark.parametrize("origin", ["http://localhost", "PUBLIC_URL"])
def test_a_browser_that_does_not_say_the_site_says_the_origin(stranger: Browser, app: Flask, origin: str) -> None:
    sent = {"theme": "dark", "next": "/console/sign-in"}
    headers = {"Origin": app.config.get(origin, origin)}
    assert stranger.http.post("/console/preferences", data=sent, headers=headers).status_code == 303


# -- what is on every page -----------------------------------------------------------------------------------------


def test_the_head_shows_the_budget_and_the_books(browser: Browser) -> None:
    assert browser.customer
    head = browser.get("/").one("div", id="head")
    assert "1,000,000 of 1,000,000 tokens left" in head.words
    assert "statement not checked yet" in head.words
    assert read(browser.ask("/?part=head").text).words == head.words


def test_the_place_where_one_is_is_marked(browser: Browser) -> None:
    current = browser.get("/").all("a", aria_current="page")
    assert {each.words for each in current} == {"Overview"}


def test_theme_and_zone_are_right_from_the_first_byte(browser: Browser) -> None:
    assert browser.get("/").one("html").attributes["data-theme"] == "system"
    browser.post("/preferences", {"theme": "dark", "next": "/console/"}, to="/console/")
    browser.http.set_cookie("hub-zone", "Europe/Berlin", path="/console")
    page = browser.get("/")
    assert page.one("html").attributes["data-theme"] == "dark"
    assert "Times are in Europe/Berlin." in page.one("footer").words
    assert page.all("time")[0].words.endswith(("CET", "CEST"))


@pytest.mark.parametrize(
    "zone", ["../../etc/passwd", "/etc/localtime", "Nowhere/City", "", "a" * 3000, "Europe", "\u202e"]
)
def test_a_zone_that_is_not_known_is_utc(stranger: Browser, zone: str) -> None:
    stranger.http.set_cookie("hub-zone", zone, path="/console")
    assert "Times are in UTC." in stranger.get("/sign-in").one("footer").words


def test_shortcuts_can_be_switched_off(browser: Browser) -> None:
    assert browser.get("/").all("dialog", id="shortcuts")
    browser.post("/preferences", {"shortcuts": "off", "next": "/console/"})
    page = browser.get("/")
    assert page.one("html").attributes["data-shortcuts"] == "off"
    assert not page.all("dialog", id="shortcuts")


def test_a_wish_that_is_none_is_refused(stranger: Browser) -> None:
    page = stranger.refused("/preferences", 422, "validation_failed", {"theme": "pink"})
    assert page.one("h1").words == "Not done"


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [("/nothing", 404, "not_found"), ("/sign-out", 405, "method_not_allowed"), ("/static/x/../x", 404, "not_found")],
)
def test_errors_are_pages_with_what_to_quote(browser: Browser, path: str, status: int, code: str) -> None:
    answer = browser.ask(path, headers={"X-Request-ID": "quote-me-1"})
    page = check_page(answer)
    assert (answer.status_code, answer.headers["X-Request-ID"]) == (status, "quote-me-1")
    assert {code, "quote-me-1"} <= {each.words for each in page.all("code")}
    assert page.all("nav", class_="side")


@pytest.mark.parametrize(
    ("data", "content_type", "status"),
    [
        ("email=%ff&password=x", "application/x-www-form-urlencoded", 400),
        ("email=%00&password=x", "application/x-www-form-urlencoded", 422),
        ("email=a&email=b&password=x", "application/x-www-form-urlencoded", 422),
        ("&".join(f"a{n}=1" for n in range(1500)), "application/x-www-form-urlencoded", 422),
        ('{"email": "a"}', "application/json", 415),
        ("x" * 20_000, "application/x-www-form-urlencoded", 413),
    ],
)
def test_what_is_no_form_is_refused_with_a_page(stranger: Browser, data: str, content_type: str, status: int) -> None:
    answer = stranger.send("/sign-in", data, content_type=content_type)
    assert answer.status_code == status
    check_page(answer)


def test_requests_of_the_console_have_a_quota_of_their_own(browser: Browser, redis: Client) -> None:
    assert browser.customer
    minute = int(clock.wall()) // 60 + 1
    assert isinstance(CONSOLE.quota, ReadQuota)
    CONSOLE.quota._pause.end()  # another test may just have taken Redis away
    with time_machine.travel(60 * minute + 20, tick=False):
        limit = browser.ask("/").headers["RateLimit"]
        assert limit == f'"console";r={REQUESTS_PER_MINUTE - 1};t=40'
        redis.set(f"console:{{{browser.customer.user_id}}}:{minute}", REQUESTS_PER_MINUTE)
        answers = [browser.ask("/?part=head") for _ in range(20)]
        assert {answer.status_code for answer in answers} == {200, 429}
        assert browser.ask("/live").status_code == 429
        assert "Try again in 40 s" in check_page(browser.ask("/")).words
        _, key = keys.create(browser.customer.user_id, "a program", actor=OPERATOR)
        api = browser.http.get("/api/v1/users/me", headers={"X-API-Key": key})
        assert (api.status_code, api.headers["RateLimit"]) == (200, '"reads";r=5999;t=40')


def test_hostile_names_are_shown_and_do_nothing(app: Flask, db: None) -> None:
    caller = factories.user()
    accounts.rename(caller.user_id, HOSTILE[:200])
    slug = factories.plan(100)
    subscriptions.subscribe(caller.user_id, slug)
    browser = browser_of(app, factories.Customer(caller, subscriptions.for_submit(caller.user_id).period_id, slug))
    page = browser.get("/")
    assert "<script>alert(1)</script>'\"&⟨U+202E⟩⟨U+200B⟩⟨U+001B⟩⟨U+FEFF⟩{{ 7*7 }}" in page.one("header").words


# -- files ---------------------------------------------------------------------------------------------------------


def test_files_are_kept_for_good_under_their_digest(stranger: Browser) -> None:
    for name, content in assets.files().items():
        answer = stranger.http.get(assets.address(name))
        assert (answer.status_code, answer.data) == (200, content)
        assert "immutable" in answer.headers["Cache-Control"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    later = stranger.ask(f"/static/{'0' * 12}/console.css")
    assert (later.status_code, later.headers["Cache-Control"]) == (200, "no-cache")
    assert stranger.ask(f"/static/{assets.digest()}/vendor/LICENSE").status_code == 404


def test_files_stay_small() -> None:
    sizes = {name: len(content) for name, content in assets.files().items()}
    own = sum(size for name, size in sizes.items() if name.endswith(".js") and not name.startswith("vendor/"))
    assert own <= 24_000
    assert sum(size for name, size in sizes.items() if name.endswith(".js")) <= 36_000
    assert sum(size for name, size in sizes.items() if name.endswith(".css")) <= 24_000
    assert all(content.count(b"\n") <= 250 for name, content in assets.files().items() if name.endswith(".js"))


# -- the root ------------------------------------------------------------------------------------------------------


def test_the_root_leads_browsers_to_the_console_and_tells_programs_where_everything_is(stranger: Browser) -> None:
    asked = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
    answer = stranger.http.get("/", headers={"Accept": asked})
    assert (answer.status_code, answer.headers["Location"], answer.headers["Vary"]) == (303, "/console/", "Accept")
    places = (stranger.http.get("/").json or {})["data"]
    assert places["console"].endswith("/console/")
    assert {"document", "docs", "health", "api", "openai", "console", "errors"} == {*places}
    for place in places.values():
        assert stranger.http.get("/" + place.split("/", 3)[3]).status_code in (200, 303, 404)


def test_the_address_as_it_is_typed_leads_to_the_overview(browser: Browser) -> None:
    assert (browser.ask("").status_code, browser.ask("").headers["Location"]) == (303, "/console/")


# -- how things are written ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "written"),
    [(0, "0 ms"), (0.008, "8 ms"), (1.24, "1.24 s"), (200, "3 min 20 s"), (7500, "2 h 5 min"), (273_600, "3 d 4 h")],
)
def test_durations(seconds: float, written: str) -> None:
    assert show.duration(seconds) == written


def test_numbers_and_sizes() -> None:
    assert [show.number(each) for each in (1_234_567, 0.25, None, 14.2)] == ["1,234,567", "0.25", "unlimited", "14.2"]
    assert [show.tokens(each) for each in (1, 1000)] == ["1 token", "1,000 tokens"]
    assert [show.size(each) for each in (1, 999, 14_200)] == ["1 byte", "999 bytes", "14.2 kB"]


def test_what_cannot_be_seen_is_made_visible_and_emoji_stay() -> None:
    family = "👩\u200d👩\u200d👧"
    assert show.visible(f"a\u202eb {family}\n\tc") == f"a⟨U+202E⟩b {family}\n\tc"
    assert show.visible("a\u200db") == "a⟨U+200D⟩b"


# -- last, because a process that has lost Redis leaves it alone for a while ---------------------------------------


def test_while_redis_is_away_pages_stay_and_changes_say_why(browser: Browser, redis_server: Redis) -> None:
    redis_server.kill()
    try:
        page = browser.get("/")
        assert "1,000,000 tokens left" in page.words
        refused = browser.refused("/sign-out", 503, "dependency_unavailable")
        assert refused.all("nav", class_="side")
    finally:
        redis_server.start()
        redis_server.wait()

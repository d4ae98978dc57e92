"""Every route of the console by everyone who may ask for it: nobody, an ended session, its owner, another account, an
admin, another site. The routes are those of the url map, and what is asked for is there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import psycopg
import pytest
from flask import Flask
from werkzeug.test import TestResponse

from common.identity import accounts
from tests import factories
from tests.console.addresses import ASKING, STATES, endpoint, path, rules
from tests.console.conftest import Browser
from tests.console.seeded import DataSet, seed
from tests.console.test_budgets import finish

#: Routes for everybody. Adding one is a decision that must be repeated here.
PUBLIC: Final = {
    "GET": {"front", "sign_in", "sign_up", "reset", "new_password", "verify", "verify_again", "asset"},
    "POST": {
        *(
            "start_session",
            "open_account",
            "ask_reset",
            "set_password",
            "confirm_address",
            "ask_verification",
            "prefer",
        ),
    },
}
#: Names of arguments, by whose they are: a new one is to be put into one of them.
OF_AN_ACCOUNT: Final = {"invocation_id", "endpoint_id", "delivery_id", "key_id", "session_id"}
OF_ALL: Final = {"tool", "token", "digest", "name", "slug", "user_id", "tool_id", "number"}
#: What every form that names something of an account would accept.
TYPED: Final = {
    "url": "https://example.com/",
    "events": "completed",
    "status": "disabled",
    "since": "2020-01-01T00:00",
    "overlap_seconds": "0",
}


@dataclass(frozen=True, slots=True)
class Route:
    """A method and a path that is there; `owned`: it names something of an account."""

    endpoint: str
    method: str
    path: str
    policy: str
    owned: bool

    def ask(self, browser: Browser, headers: Mapping[str, str] | None = None) -> TestResponse:
        """Ask for it, as a page of ours does or with other headers."""
        if self.method == "GET":
            return browser.ask(self.path)
        sent = {"Sec-Fetch-Site": "same-origin"} if headers is None else headers
        return browser.http.post(f"/console{self.path}", data=TYPED, headers=sent)


@dataclass(frozen=True, slots=True)
class World:
    """What there is, all routes to it, and the app."""

    app: Flask
    data: DataSet
    routes: list[Route]

    def browser(self, email: str) -> Browser:
        """Somebody who has signed in."""
        return Browser(self.app.test_client()).sign_in(email)

    def wrong(self, browser: Browser, expected: Callable[[Route], set[int]]) -> Iterator[tuple[str, str, int]]:
        """The routes that answer otherwise than they should."""
        for route in self.routes:
            if wanted := expected(route):
                answer = route.ask(browser)
                led_away = answer.status_code == 303 and not leads_to_sign_in(answer)
                if led_away or answer.status_code not in wanted:
                    yield route.method, route.path, answer.status_code


def leads_to_sign_in(answer: TestResponse) -> bool:
    return answer.headers.get("Location", "").startswith("/console/sign-in")


@pytest.fixture
def world(app: Flask, db: None, database_url: str) -> World:
    data = seed("http://127.0.0.1:9", database_url, finish)
    with psycopg.connect(database_url) as sql:
        Browser(app.test_client()).sign_in(data.email)
        [session] = sql.execute("select id::text from refresh_families").fetchall()
    there_is = {**data.there_is, "session_id": session[0], "digest": "0" * 12, "name": "console.css"}
    found = []
    for method in ("GET", "POST"):
        for rule, policy in rules(app, method):
            query = STATES[endpoint(rule)][0].format_map(there_is) if endpoint(rule) in ASKING else ""
            owned = bool(rule.arguments & OF_AN_ACCOUNT)
            found.append(Route(endpoint(rule), method, path(rule, there_is) + query, policy, owned))
    return World(app, data, found)


def test_everything_that_an_address_names_is_known(app: Flask) -> None:
    names = {name for method in ("GET", "POST") for rule, _ in rules(app, method) for name in rule.arguments}
    assert names <= OF_AN_ACCOUNT | OF_ALL


def test_what_is_for_everybody_is_on_the_list(app: Flask) -> None:
    for method, names in PUBLIC.items():
        assert {endpoint(rule) for rule, policy in rules(app, method) if policy == "public"} == names


def test_nobody_is_led_to_the_sign_in_and_may_change_nothing(world: World) -> None:
    def expected(route: Route) -> set[int]:
        return set() if route.policy == "public" else {303} if route.method == "GET" else {401}

    assert not [*world.wrong(Browser(world.app.test_client()), expected)]
    ended = world.browser(world.data.email)
    cookie = ended.http.get_cookie("hub")
    assert cookie
    ended.send("/sign-out")
    ended.http.set_cookie("hub", cookie.value)
    assert not [*world.wrong(ended, expected)]


def test_an_owner_and_an_admin_see_every_page(world: World) -> None:
    others = ("live", "run_receipt")  # a stream, and what there is of a run that has ended

    def expected(route: Route) -> set[int]:
        is_page = route.method == "GET" and route.policy != "public" and route.endpoint not in others
        return {200, 204} if is_page else set()

    assert not [*world.wrong(world.browser(world.data.email), expected)]


def test_another_account_finds_nothing_of_it_and_changes_nothing(world: World, database_url: str) -> None:
    other = world.browser(accounts.get(factories.customer().user_id).email)
    before = everything(database_url)

    def expected(route: Route) -> set[int]:
        return {403} if route.policy == "admin" else {404} if route.owned else set()

    assert not [*world.wrong(other, expected)]
    assert everything(database_url) == before
    assert "Administration" not in other.get("/").one("nav", class_="side").words


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": "http://localhost"},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": ""},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {},
    ],
)
def test_no_form_of_another_site_does_anything(app: Flask, browser: Browser, headers: dict[str, str]) -> None:
    ids = dict.fromkeys(OF_AN_ACCOUNT | OF_ALL, "01900000-0000-7000-8000-000000000000")
    posts = [Route(endpoint(rule), "POST", path(rule, ids), policy, False) for rule, policy in rules(app, "POST")]
    assert len(posts) > 40
    for route in posts:
        answer = route.ask(browser, headers)
        assert answer.status_code == 403, route.path
        assert "Set-Cookie" not in answer.headers
    browser.get("/")


def everything(database_url: str) -> dict[str, str]:
    """A digest of every table that an account's things are in."""
    tables = ("users", "api_keys", "api_key_secrets", "webhook_endpoints", "deliveries", "events", "invocations")
    more = ("grants", "periods", "subscriptions", "tools", "plans", "audit_log", "queue")
    with psycopg.connect(database_url) as sql:
        query = "select coalesce(md5(string_agg(t::text, '' order by t::text)), '') from {} t"
        return {name: sql.execute(query.format(name)).fetchall()[0][0] for name in (*tables, *more)}

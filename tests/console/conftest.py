"""The console asked as a browser asks it, by the test client; what it answers is read strictly."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from common.identity import accounts
from common.settings import Settings
from tests import factories
from tests.console.chromium import chromium, reader
from tests.factories import Customer
from tests.queue.test_round_trips import Trips, trips
from tests.web.conftest import Service, serving
from web.app import create_app

__all__ = ["Trips", "chromium", "reader", "trips"]
#: Elements without an end.
VOID = frozenset(
    re.findall(r"\w+", "area base br col hr img input link meta source wbr path rect circle line polyline")
)
PAGE_BYTES = 40_000


@dataclass
class Element:
    """An element of a page."""

    tag: str
    attributes: dict[str, str]
    text: str = ""
    inside: list[Element] = field(default_factory=list)

    def all(self, tag: str = "", **attributes: str) -> list[Element]:
        """The elements below with this tag and these attributes."""
        found = []
        for each in self.inside:
            wanted = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}
            if (not tag or each.tag == tag) and all(each.attributes.get(name) == it for name, it in wanted.items()):
                found.append(each)
            found += each.all(tag, **attributes)
        return found

    def one(self, tag: str = "", **attributes: str) -> Element:
        """The only one."""
        found = self.all(tag, **attributes)
        assert len(found) == 1, (tag, attributes, len(found))
        return found[0]

    @property
    def words(self) -> str:
        """All text below, with single spaces."""
        return " ".join(self.text.split())


class Reader(HTMLParser):
    """A parser that forgives nothing: every element is closed in its order, no attribute is given twice."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Element("", {})
        self.open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len({*names}), (tag, names)
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.open[-1].inside.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        assert self.open[-1].tag == tag, f"</{tag}> closes <{self.open[-1].tag}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        for element in self.open:
            element.text += data


def read(text: str) -> Element:
    """A page or a part of one."""
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert [element.tag for element in reader.open] == [""], reader.open[1:]
    return reader.root


def check_page(response: TestResponse) -> Element:
    """What holds for every page of the console, whatever is on it."""
    assert response.content_type == "text/html; charset=utf-8"
    assert "script-src 'self'" in response.headers["Content-Security-Policy"]
    assert "require-trusted-types-for 'script'" in response.headers["Content-Security-Policy"]
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Referrer-Policy"] == "same-origin"
    assert len(response.data) <= PAGE_BYTES, len(response.data)
    assert response.text.startswith("<!doctype html>")
    page = read(response.text)
    assert page.one("html").attributes["lang"] == "en"
    assert page.one("title").words.endswith("· Joyfull Hub")
    assert page.one("h1").words
    page.one("main")
    check_headings(page)
    check_controls(page)
    check_nothing_inline(page)
    return page


def check_headings(page: Element) -> None:
    """No level is skipped within what is shown; dialogs have an order of their own."""
    levels = [int(each.tag[1]) for each in page.one("main").all() if re.fullmatch(r"h[1-6]", each.tag)]
    assert levels[0] == 1
    assert all(later - earlier <= 1 for earlier, later in itertools.pairwise(levels)), levels


def check_controls(page: Element) -> None:
    """Every control has a name for those who do not see it, and every id is there once."""
    ids = [each.attributes["id"] for each in page.all() if "id" in each.attributes]
    assert len(ids) == len({*ids}), sorted(each for each in ids if ids.count(each) > 1)
    labels = {each.attributes.get("for") for each in page.all("label")}
    wrapped = {id(control) for label in page.all("label") for control in label.all()}
    for control in [*page.all("input"), *page.all("select"), *page.all("textarea")]:
        if control.attributes.get("type") != "hidden":
            named = (
                control.attributes.get("id") in labels or "aria-label" in control.attributes or id(control) in wrapped
            )
            assert named, control.attributes
    for button in [*page.all("button"), *page.all("a"), *page.all("summary")]:
        assert button.words or "aria-label" in button.attributes, button.attributes
    for each in page.all():
        for name in ("aria-describedby", "aria-labelledby"):
            assert {*each.attributes.get(name, "").split()} <= {*ids}, each.attributes
    for cell in page.all("th"):
        assert cell.attributes.get("scope") in ("col", "row"), cell.words


def check_nothing_inline(page: Element) -> None:
    """The content security policy would refuse it; and nothing comes from elsewhere."""
    for each in page.all():
        assert each.tag != "style"
        assert not [name for name in each.attributes if name == "style" or name.startswith("on")], each.attributes
        if each.tag == "script":
            assert (each.attributes.get("type"), each.text) == ("module", "")
        if each.tag in ("script", "link", "img"):
            assert (each.attributes.get("src") or each.attributes["href"]).startswith("/console/static/")
        if each.tag == "a" and each.attributes["href"].startswith("http"):
            assert each.attributes["rel"] == "noopener noreferrer"
        if each.tag == "form":
            assert each.attributes.get("method", "get") in ("get", "post", "dialog")


@dataclass
class Browser:
    """A reader of the console. Forms are sent as browsers send them from one of our pages."""

    http: FlaskClient
    customer: Customer | None = None

    def get(self, path: str, status: int = 200, **options: Any) -> Element:
        """A page."""
        response = self.ask(path, **options)
        assert response.status_code == status, f"{path}: {response.status_code} {response.headers.get('Location')}"
        return check_page(response)

    def ask(self, path: str, **options: Any) -> TestResponse:
        """Whatever is answered."""
        return self.http.get(f"/console{path}", **options)

    def send(self, path: str, data: Any = None, **options: Any) -> TestResponse:
        """A form; whatever is answered."""
        headers = {"Sec-Fetch-Site": "same-origin", **options.pop("headers", {})}
        return self.http.post(f"/console{path}", data=data or {"": ""}, headers=headers, **options)

    def post(self, path: str, data: Any = None, to: str | None = None) -> str:
        """A form that leads to another page; its path, which is `to` if that is given."""
        response = self.send(path, data)
        assert response.status_code == 303, f"{path}: {response.status_code} {response.text[:3000]}"
        location = response.headers["Location"]
        assert to is None or location == to, location
        return location.removeprefix("/console")

    def refused(self, path: str, status: int, code: str, data: Any = None) -> Element:
        """A form that is refused with a page that says so."""
        response = self.send(path, data)
        assert response.status_code == status, f"{path}: {response.status_code} {response.text[:3000]}"
        page = check_page(response)
        assert code in [each.words for each in page.all("code")]
        return page

    def sign_in(self, email: str) -> Browser:
        """Sign in with the password of the factories."""
        self.post("/sign-in", {"email": email, "password": factories.PASSWORD}, to="/console/")
        return self


@pytest.fixture(scope="session")
def app(settings: Settings) -> Flask:
    """The whole application."""
    return create_app(settings)


@pytest.fixture
def stranger(db: None, app: Flask) -> Browser:
    """Somebody without a session."""
    return Browser(app.test_client())


def browser_of(app: Flask, customer: Customer) -> Browser:
    """A customer who has signed in."""
    email = accounts.get(customer.user_id).email
    return Browser(app.test_client(), customer).sign_in(email)


@pytest.fixture
def browser(db: None, app: Flask) -> Browser:
    """A customer with a subscription, signed in."""
    return browser_of(app, factories.customer())


@pytest.fixture
def admin(db: None, app: Flask) -> Browser:
    """An admin, signed in."""
    caller = factories.user(role="admin")
    return Browser(app.test_client()).sign_in(accounts.get(caller.user_id).email)


@pytest.fixture(scope="session")
def served(environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The application behind a real server."""
    with serving(environ, tmp_path_factory.mktemp("console"), app="wsgi:app") as running:
        yield running

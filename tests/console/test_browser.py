"""The console in Chromium, against the running platform: what a parser cannot see."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser as Chromium
from playwright.sync_api import BrowserContext, Page, expect, sync_playwright

from common import invocations, subscriptions
from common.identity import accounts, email_addresses
from common.kit.paging import Window
from dev.platform import Platform
from tests import factories

pytestmark = pytest.mark.browser
ARGUMENTS = (
    "--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --disable-background-networking "
    "--disable-component-update --disable-sync --no-first-run"
)
#: Layout shifts that are not the answer to something that was pressed.
SHIFTS = """() => new Promise((done) => {
  let sum = 0;
  new PerformanceObserver((list) => { for (const it of list.getEntries()) if (!it.hadRecentInput) sum += it.value; })
    .observe({ type: "layout-shift", buffered: true });
  setTimeout(() => done(sum), 50);
})"""


def executable() -> str | None:
    """Chromium, or what is named by CHROMIUM."""
    names = (os.environ.get("CHROMIUM", ""), "chromium", "google-chrome")
    return next((found for name in names if name and (found := shutil.which(name))), None)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    """A running browser; skips where there is none, unless it is required."""
    with sync_playwright() as playwright:
        path = executable() or playwright.chromium.executable_path
        if not Path(path).exists():
            if os.environ.get("REQUIRE_BROWSER") == "1":
                pytest.fail("there is no Chromium: set CHROMIUM, or install it")
            pytest.skip("there is no Chromium")
        browser = playwright.chromium.launch(executable_path=path, args=[*ARGUMENTS.split()])
        yield browser
        browser.close()


@dataclass
class Reader:
    """Somebody with a browser of their own. `heard`: what its console and its policy said; `asked`: all addresses."""

    context: BrowserContext
    hub: Platform
    email: str
    heard: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def tab(self) -> Page:
        """Another tab."""
        page = self.context.new_page()
        page.on("console", lambda message: self.heard.append(message.text))
        page.on("pageerror", lambda error: self.heard.append(str(error)))
        page.on("request", lambda request: self.asked.append(request.url))
        return page

    def open(self, page: Page, path: str) -> Page:
        """Go to a page of the console."""
        page.goto(f"{self.hub.url}/console{path}")
        return page

    def sign_in(self) -> Page:
        """A tab that shows the overview."""
        page = self.open(self.tab(), "/sign-in")
        page.get_by_label("E-mail address").fill(self.email)
        page.get_by_label("Password").fill(factories.PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Overview")
        return page


Open = Callable[..., Reader]


@pytest.fixture
def reader(chromium: Chromium, hub: Platform) -> Iterator[Open]:
    """Opens browsers for a new account on the free plan."""
    made: list[BrowserContext] = []

    def new(**options: Any) -> Reader:
        user = accounts.create(email_addresses.parse(f"reader-{len(made)}@example.com"), factories.PASSWORD, "Ada")
        subscriptions.subscribe(user.id, "free")
        made.append(chromium.new_context(**options))
        made[-1].set_default_timeout(20_000)
        return Reader(made[-1], hub, user.email)

    yield new
    for context in made:
        context.close()


def check_open_page(reader: Reader, page: Page) -> None:
    """What holds for every page, as it is drawn."""
    found = Axe().run(
        page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
    )
    said = [(it["id"], [node["html"][:200] for node in it["nodes"]]) for it in found.response["violations"]]
    assert said == [], page.url
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), page.url
    assert page.evaluate(SHIFTS) == 0, page.url
    assert reader.heard == [], page.url
    assert {url.startswith(reader.hub.url) for url in reader.asked} == {True}


@pytest.mark.parametrize("width", [1280, 360])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_page_is_accessible_and_fits(
    reader: Open, offer: Callable[..., str], theme: Any, width: int, tmp_path: Path
) -> None:
    ada = reader(color_scheme=theme, viewport={"width": width, "height": 800})
    out = ada.tab()
    for path in ("/sign-in", "/sign-up", "/reset", "/reset/x", "/verify/x", "/verify"):
        check_open_page(ada, ada.open(out, path))
    page = ada.sign_in()
    tool = offer()
    owner = accounts.by_email(ada.email).id
    caller = accounts.Caller(owner, "user", frozenset(), None, None, True)
    run = invocations.submit(caller, tool, factories.order(input={"text": "x"})).id
    for path in ("/", "/tools", f"/tools/{tool}", "/runs", f"/runs/{run}", f"/runs/{run}/again", "/runs?group=error"):
        check_open_page(ada, ada.open(page, path))
        page.screenshot(path=tmp_path / f"{path.replace('/', '-')}-{theme}-{width}.png", full_page=True)


def test_a_tool_is_tried_quoted_run_and_its_end_arrives_by_itself(reader: Open, offer: Callable[..., str]) -> None:
    ada = reader()
    page = ada.sign_in()
    ada.open(page, f"/tools/{offer('/echo?after=1500')}")
    page.get_by_label("text").fill("two words")
    page.get_by_role("button", name="Quote").click()
    expect(page.get_by_role("heading", name="Quote: it would be accepted")).to_be_visible()
    expect(page.get_by_label("text")).to_have_value("two words")
    page.get_by_role("button", name="Run", exact=True).click()
    page.wait_for_url(re.compile("/console/runs/"))
    expect(page.locator("#status-title")).to_have_text(re.compile("succeeded|failed"), timeout=20_000)
    expect(page.get_by_text(re.compile("^(Charged|Free)"))).to_be_visible()
    assert ada.heard == []


def test_seven_tabs_share_one_stream(reader: Open) -> None:
    ada = reader()
    tabs = [ada.sign_in(), *(ada.open(ada.tab(), "/runs") for _ in range(6))]
    for tab in tabs:
        expect(tab.locator("#live")).to_have_text("Live")
    assert sum(url.endswith("/console/live") for url in ada.asked) <= len(tabs)
    ada.open(tabs[0], "/tools")
    expect(tabs[0].get_by_role("heading", level=1)).to_have_text("Tools")
    assert ada.heard == []


def test_signing_out_in_one_tab_is_seen_in_the_other(reader: Open) -> None:
    ada = reader()
    one = ada.sign_in()
    other = ada.open(ada.tab(), "/runs")
    one.get_by_text("Ada").click()
    one.get_by_role("button", name="Sign out").click()
    expect(one.get_by_role("status").filter(has_text="signed out")).to_be_visible()
    expect(other.get_by_role("heading", level=1)).to_have_text("Sign in")


def test_the_keyboard_is_enough(reader: Open) -> None:
    ada = reader()
    page = ada.sign_in()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("g")
    page.keyboard.press("r")
    expect(page.get_by_role("heading", level=1)).to_have_text("Runs")
    page.keyboard.press("/")
    expect(page.get_by_label("Id or request id")).to_be_focused()
    page.keyboard.type("g?")  # typed, not obeyed
    expect(page.get_by_label("Id or request id")).to_have_value("g?")
    page.get_by_label("Id or request id").blur()
    page.keyboard.press("?")
    expect(page.get_by_role("heading", name="Keyboard shortcuts")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()


def test_a_refused_form_has_the_focus_on_what_is_wrong(reader: Open) -> None:
    ada = reader()
    page = ada.open(ada.tab(), "/sign-in")
    page.get_by_label("E-mail address").fill("nobody@example.com")
    page.get_by_label("Password").fill("wrong")
    page.get_by_label("Password").press("Enter")
    expect(page.locator("#summary")).to_be_focused()
    expect(page.get_by_label("E-mail address")).to_have_value("nobody@example.com")


def test_everything_works_with_scripts_off(reader: Open, offer: Callable[..., str]) -> None:
    ada = reader(java_script_enabled=False)
    page = ada.sign_in()
    ada.open(page, f"/tools/{offer()}")
    page.get_by_label("text").fill("x")
    page.get_by_role("button", name="JSON").click()
    expect(page.get_by_label("Input as JSON")).to_have_value(re.compile('"text": "x"'))
    page.get_by_role("button", name="Run", exact=True).click()
    page.wait_for_url(re.compile("/console/runs/"))
    page.get_by_text("Ada").click()
    page.get_by_role("button", name="Dark").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    found = invocations.listing(accounts.by_email(ada.email).id, Window(5))
    assert len(found.items) == 1

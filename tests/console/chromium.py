"""Chromium against the running platform, and what holds for every page as it is drawn."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser as Chromium
from playwright.sync_api import BrowserContext, Error, Page, Playwright, expect, sync_playwright

from common import subscriptions
from common.identity import accounts, email_addresses
from dev.chromium import ARGUMENTS, executable
from dev.platform import Platform
from tests import factories

#: Notes layout shifts, but for those that answer something that was pressed, or live news (a check keeps the page from
#: drawing them for a while), and for those of a long table that is drawn while it arrives.
SHIFTS: Final = """
window.shifted = [];
let news = -1000;
new MutationObserver(() => { news = performance.now(); })
  .observe(document, { attributeFilter: ["aria-busy"], subtree: true });
const isWhole = (it) => it.startTime > (performance.getEntriesByType("navigation")[0].domInteractive || Infinity);
const isNews = (it) => it.startTime > news - 50 && it.startTime < news + 3000;
new PerformanceObserver((list) => {
  for (const it of list.getEntries().filter((each) => !each.hadRecentInput && isWhole(each) && !isNews(each))) {
    shifted.push(`${it.value.toFixed(4)} ${it.sources.map((each) => each.node?.outerHTML?.slice(0, 80)).join(" | ")}`);
  }
}).observe({ type: "layout-shift", buffered: true });
"""
#: What can be scrolled sideways: the page, its head, or anything in it but code and what is typed.
SIDEWAYS: Final = """() => {
  const wider = (it) => it.scrollWidth > it.clientWidth;
  const scrolls = (it) => !it.matches("pre, textarea") && ["auto", "scroll"].includes(getComputedStyle(it).overflowX);
  const all = [...document.body.querySelectorAll("*")].filter((it) => wider(it) && scrolls(it));
  const root = document.documentElement;
  if (root.scrollWidth > innerWidth) {
    const over = [...document.body.querySelectorAll("*")].filter((it) => it.getBoundingClientRect().right > innerWidth);
    all.push(root, ...over.slice(0, 3));
  }
  all.push(...[...document.querySelectorAll("header.top, #head")].filter(wider));
  return all.map((it) => it.outerHTML.slice(0, 120));
}"""
_RULES: Final = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
_OF_COLOURS: Final = ["color-contrast", "link-in-text-block"]
_OF_LAYOUT: Final = ["scrollable-region-focusable", "target-size"]
_AXE: Final = Axe()
#: An argument by which its processes are found; the browser does not know it.
_MARK: Final = f"--of-tests={uuid4()}"
#: Seconds after which a browser that does not close is killed.
CLOSING: Final = 20.0


class Launcher:
    """Launches a browser, and another one when it was killed."""

    def __init__(self, playwright: Playwright, path: str | Path) -> None:
        self._playwright, self._path = playwright, path
        self._running: Chromium | None = None

    def running(self) -> Chromium:
        """The browser."""
        if self._running is None or not self._running.is_connected():
            self._running = self._playwright.chromium.launch(executable_path=self._path, args=[*ARGUMENTS, _MARK])
        return self._running

    def close(self) -> None:
        """Close the browser."""
        if self._running is not None:
            closed(self._running)


@pytest.fixture(scope="package")
def chromium() -> Iterator[Launcher]:
    """A browser; skips where there is none, unless it is required."""
    with sync_playwright() as playwright:
        path = executable() or playwright.chromium.executable_path
        if not Path(path).exists():
            if os.environ.get("REQUIRE_BROWSER") == "1":
                pytest.fail("there is no Chromium: set CHROMIUM, or install it")
            pytest.skip("there is no Chromium")
        expect.set_options(timeout=20_000)
        launcher = Launcher(playwright, path)
        yield launcher
        launcher.close()


def closed(it: BrowserContext | Chromium) -> None:
    """Close it, or kill the browser: Chromium has stood still in that for half an hour, when all tests were done."""
    timer = threading.Timer(CLOSING, _kill)
    timer.start()
    try:
        it.close()
    except Error:
        if not timer.finished.is_set():  # it has not been killed
            raise
    finally:
        timer.cancel()


def _kill() -> None:
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            words = line.read_bytes().split(b"\0")
            if _MARK.encode() in words and not any(word.startswith(b"--type=") for word in words):
                os.kill(int(line.parent.name), signal.SIGKILL)


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

    def faults(self, page: Page, *, again: bool = False) -> list[str]:
        """What is wrong with a page as it is drawn, in the light and in the dark; forgets what was heard and asked.

        `again`: only its width is another than before, so that only what depends on that is looked at.
        """
        page.emulate_media(color_scheme="light", reduced_motion="reduce")
        found = violations(page, _OF_LAYOUT if again else _RULES)
        if not again:
            page.emulate_media(color_scheme="dark")
            found += violations(page, _OF_COLOURS)
        found += [f"scrolls sideways: {it}" for it in page.evaluate(SIDEWAYS)]
        found += [f"shifts: {it}" for it in page.evaluate("shifted")]
        found += [f"console: {it}" for it in self.heard]
        found += [f"another host: {it}" for it in self.asked if not it.startswith(self.hub.url)]
        self.heard.clear()
        self.asked.clear()
        return found


def violations(page: Page, rules: list[str]) -> list[str]:
    """What axe finds in a page."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(_AXE.axe_script)
    found = page.evaluate("options => axe.run(options)", {"runOnly": rules, "resultTypes": ["violations"]})[
        "violations"
    ]
    return [f"{it['id']}: {[node['html'][:160] for node in it['nodes'][:3]]}" for it in found]


Open = Callable[..., Reader]


@pytest.fixture
def reader(chromium: Launcher, hub: Platform) -> Iterator[Open]:
    """Opens browsers: of the account with that address, or of a new one on the free plan."""
    made: list[BrowserContext] = []

    def new(email: str | None = None, **options: Any) -> Reader:
        if email is None:
            email = f"reader-{len(made)}@example.com"
            user = accounts.create(email_addresses.parse(email), factories.PASSWORD, "Ada")
            subscriptions.subscribe(user.id, "free")
        made.append(chromium.running().new_context(**options))
        made[-1].set_default_timeout(20_000)
        made[-1].add_init_script(SHIFTS)
        return Reader(made[-1], hub, email)

    yield new
    for context in made:
        closed(context)

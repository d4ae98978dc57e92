"""`python -m dev.demo.pictures URL FOLDER`: pictures of five pages of the console, with what the demo has put on them.

The account is in DEMO_EMAIL and DEMO_PASSWORD, the id of a run in DEMO_RUN. A process of its own, for Playwright is
there only where the tools for development are.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from playwright.sync_api import Page, sync_playwright

from dev import chromium

SIZE: Final = {"width": 1080, "height": 680}


def main() -> None:
    hub, folder = sys.argv[1], Path(sys.argv[2])
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium.executable(), args=chromium.ARGUMENTS)
        page = browser.new_page(viewport=SIZE, color_scheme="light", reduced_motion="reduce")  # type: ignore[arg-type]
        sign_in(page, hub)
        for name, (path, prepare) in PAGES.items():
            page.goto(f"{hub}/console{path.format(run=os.environ['DEMO_RUN'])}")
            prepare(page)
            page.screenshot(path=folder / f"console-{name}.png")
        browser.close()


def sign_in(page: Page, hub: str) -> None:
    page.goto(f"{hub}/console/sign-in")
    page.get_by_label("E-mail address").fill(os.environ["DEMO_EMAIL"])
    page.get_by_label("Password").fill(os.environ["DEMO_PASSWORD"])
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{hub}/console/")


def quote(page: Page) -> None:
    page.get_by_role("main").get_by_role("button", name="Quote").click()
    page.locator("#quote").wait_for()


def check(page: Page) -> None:
    page.get_by_role("main").get_by_role("button", name="Check now").click()
    page.get_by_role("status").filter(has_text="recomputed").wait_for()


def nothing(_page: Page) -> None:
    """It is shown as it is."""


PAGES: Final[dict[str, tuple[str, Callable[[Page], None]]]] = {
    "statement": ("/statement", check),
    "overview": ("/", nothing),
    "tool": ("/tools/sentiment", quote),
    "run": ("/runs/{run}", nothing),
    "usage": ("/usage?by=tool", nothing),
}

if __name__ == "__main__":
    main()

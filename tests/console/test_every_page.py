"""Every page that the url map has, in a browser: with all there can be on it, in both themes, wide and narrow."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import Final
from uuid import UUID

import pytest
from flask import Flask
from playwright.sync_api import Page

from common import invocations
from common.identity import accounts
from dev.platform import Platform
from tests import factories
from tests.console.addresses import ASKING, addresses, endpoint, pages
from tests.console.chromium import Open, Reader
from tests.console.seeded import seed
from tests.outside.tool import Tool

pytestmark = pytest.mark.browser
WIDTHS: Final = (1280, 360)
#: A tablet: its pages have to fit, which is asked of the pages of the widest tables only.
TABLET: Final = 768


def walk(reader: Reader, page: Page, paths: list[str], widths: tuple[int, ...] = WIDTHS) -> list[str]:
    """Everything that is wrong with these pages.

    In another width only the first is looked at for everything: of the others only what depends on the width.
    """
    found = []
    for width in widths:
        if width != widths[0]:
            time.sleep(60 - time.time() % 60)  # an account has so many requests in a minute, and this reader is quick
        page.set_viewport_size({"width": width, "height": 800})
        for path in paths:
            again = width == TABLET or (width != widths[0] and path != paths[0])
            answer = page.goto(f"{reader.hub.url}/console{path}")
            assert answer, path
            if (answer.status, page.url) != (200, f"{reader.hub.url}/console{path}"):
                found.append(f"{path}: {answer.status} {page.url}")
            found += [f"{path} at {width}: {fault}" for fault in reader.faults(page, again=again)]
            keep(page, f"{path.replace('/', '-')}-{width}.png")
    return found


def keep(page: Page, name: str) -> None:
    """A picture to be looked at, in the directory that CONSOLE_PICTURES names."""
    if folder := os.environ.get("CONSOLE_PICTURES"):
        page.screenshot(path=Path(folder) / re.sub(r"[?&=]", "_", name), full_page=True)


def test_every_page_is_accessible_fits_and_keeps_still(
    reader: Open, app: Flask, hub: Platform, tool: Tool, database_url: str
) -> None:
    def finish(runs: list[UUID]) -> None:
        hub.supervisor.wait_for(lambda: all(invocations.get(run, None).finished_at for run in runs), "the runs")

    data = seed(tool.url, database_url, finish)
    ada = reader(data.email)
    every = [(path, policy) for rule, policy in pages(app) for path in addresses(rule, data.there_is)]
    for_all, for_ada = ([path for path, policy in every if (policy == "public") == it] for it in (True, False))
    assert len(for_all) >= 6
    assert len(for_ada) >= 40
    found = walk(ada, ada.tab(), for_all)
    page = ada.sign_in()
    found += walk(ada, page, for_ada)
    found += walk(ada, page, ["/keys", "/runs", "/admin/audit", "/admin/tools"], widths=(TABLET,))
    assert not found, "\n".join(found)


def test_pages_that_have_nothing_to_show_are_as_good(reader: Open, app: Flask, hub: Platform) -> None:
    caller = factories.user()
    newcomer = reader(accounts.get(caller.user_id).email)
    plain = [rule for rule, policy in pages(app) if policy not in ("public", "admin") and not rule.arguments]
    paths = [rule.rule.removeprefix("/console") for rule in plain if endpoint(rule) not in ASKING]
    found = walk(newcomer, newcomer.sign_in(), paths, widths=(360,))
    assert not found, "\n".join(found)

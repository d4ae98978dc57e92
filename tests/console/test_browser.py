"""The console in Chromium, against the running platform: what a parser cannot see."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from common import invocations
from common.identity import accounts
from common.kit.paging import Window
from tests.console.chromium import Open

pytestmark = pytest.mark.browser


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
    expect(page.get_by_label("Run or request id")).to_be_focused()
    page.keyboard.type("g?")  # typed, not obeyed
    expect(page.get_by_label("Run or request id")).to_have_value("g?")
    page.get_by_label("Run or request id").blur()
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

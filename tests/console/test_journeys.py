"""What people come for, from one page to the next in Chromium, against the running platform."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from common import subscriptions, webhooks
from common.identity import accounts, session_directory
from common.identity.audit import OPERATOR
from common.identity.authorization import Caller
from common.kit.paging import Window
from dev import platform as parts
from dev.platform import Platform
from tests import factories
from tests.console.chromium import Open, Reader
from tests.outside.receiver import Receiver
from tests.outside.tool import Tool

pytestmark = pytest.mark.browser


def press(page: Page, name: str) -> None:
    """The button of this name on the page itself."""
    page.get_by_role("main").get_by_role("button", name=name, exact=True).click()


def follow(page: Page, name: str) -> None:
    """The link of this name on the page itself."""
    page.get_by_role("main").get_by_role("link", name=name, exact=True).click()


def expect_title(page: Page, title: str) -> None:
    expect(page.get_by_role("heading", level=1)).to_have_text(title)


def check(reader: Reader, page: Page) -> None:
    """Nothing is wrong with a page that only a form leads to."""
    assert reader.faults(page) == [], page.url


def test_a_plan_is_chosen_raised_canceled_and_kept(reader: Open) -> None:
    caller = factories.user()
    ada = reader(accounts.get(caller.user_id).email, viewport={"width": 360, "height": 800})
    page = ada.open(ada.sign_in(), "/plan")
    follow(page, "Choose Free")
    expect_title(page, "Subscribe to Free?")
    press(page, "Subscribe")
    expect(page.get_by_role("status").filter(has_text="You are subscribed")).to_be_visible()
    follow(page, "Upgrade to Pro")
    expect(page.get_by_role("main")).to_contain_text("tokens are granted now")
    assert subscriptions.current(caller.user_id).plan == "free", "a question changes nothing"
    press(page, "Upgrade now")
    expect(page.get_by_role("region", name="Pro")).to_contain_text("your plan")
    follow(page, "Cancel at the end of the period")
    press(page, "Cancel at the end")
    expect(page.get_by_role("region", name="Your subscription")).to_contain_text("Keep the plan to undo this.")
    check(ada, page)
    follow(page, "Keep Pro")
    press(page, "Stay on Pro")
    expect(page.get_by_role("region", name="Your subscription")).to_contain_text("New tokens come")
    now = subscriptions.current(caller.user_id)
    assert (now.plan, now.cancel_at_period_end) == ("pro", False)


def test_a_key_is_made_used_rotated_and_revoked(reader: Open, offer: Callable[..., str], hub: Platform) -> None:
    ada = reader(viewport={"width": 360, "height": 800})
    page = ada.open(ada.sign_in(), "/keys/new")
    page.get_by_label("Name", exact=True).fill("a program")
    page.get_by_label("Tokens it may use").fill("60")
    press(page, "Create the key")
    key = page.locator("#secret").inner_text()
    check(ada, page)
    ada.open(page, f"/tools/{offer()}")
    page.get_by_label("text").fill("it's two words")
    press(page, "Code")
    code = page.locator("#code-curl").inner_text().replace(hub.settings.public_url, hub.url)
    check(ada, page)
    assert '"status":"succeeded"' in pasted(code, key)
    assert '"code":"budget_exhausted"' in pasted(
        re.sub("Idempotency-Key: [^']+", "Idempotency-Key: another-one", code), key
    )
    ada.open(page, "/keys")
    follow(page, "Rotate")
    page.get_by_label("The old secret keeps working for").select_option("0")
    press(page, "Rotate the key")
    new = page.locator("#secret").inner_text()
    assert ['"status":401' in pasted(code, each) for each in (key, new)] == [True, False]
    follow(page, "I have stored it")
    follow(page, "Revoke")
    press(page, "Revoke the key")
    expect(page.get_by_role("status").filter(has_text="The key is revoked.")).to_be_visible()
    assert '"status":401' in pasted(code, new)


def pasted(code: str, key: str) -> str:
    """What a command prints in the shell of somebody whose key is in HUB_API_KEY."""
    env = {"HUB_API_KEY": key, "PATH": "/usr/bin:/bin"}
    return subprocess.run(["sh", "-c", code], env=env, capture_output=True, text=True, check=True, timeout=60).stdout


def test_an_endpoint_is_added_tested_fails_and_is_sent_what_it_missed(
    reader: Open, offer: Callable[..., str], receiver: Receiver, hub: Platform
) -> None:
    receiver.script("/hook", 204, 410)
    ada = reader(viewport={"width": 360, "height": 800})
    page = ada.open(ada.sign_in(), "/webhooks")
    page.get_by_label("URL").fill(f"{receiver.url}/hook")
    press(page, "Add the endpoint")
    assert page.locator("#secret").inner_text().startswith("whsec_")
    check(ada, page)
    follow(page, "I have stored it")
    press(page, "Send a test")
    expect(page.get_by_role("heading", name="The test was accepted")).to_be_visible()
    check(ada, page)
    ada.open(page, f"/tools/{offer()}")
    page.get_by_label("text").fill("x")
    press(page, "Run")
    page.wait_for_url("**/console/runs/*")  # or the next page would break off the way to this one
    owner = accounts.by_email(ada.email).id
    hub.supervisor.wait_for(lambda: webhooks.endpoints(owner, Window(1)).items[0].status == "disabled", "the delivery")
    ada.open(page, "/webhooks")
    expect(page.get_by_role("table")).to_contain_text("The receiver answered 410.")
    page.get_by_role("table").get_by_role("link").click()
    press(page, "Enable")
    follow(page, "Replay failures")
    expect(page.get_by_role("main")).to_contain_text("1 delivery failed since")
    press(page, "Send it again")
    assert len(receiver.wait(3, "/hook")) == 3


def test_a_form_stays_when_the_session_has_ended_meanwhile(reader: Open, offer: Callable[..., str]) -> None:
    ada = reader(viewport={"width": 360, "height": 800})
    page = ada.open(ada.sign_in(), f"/tools/{offer()}")
    page.get_by_label("text").fill("long thought about")
    end_sessions(ada.email)
    press(page, "Quote")
    again = page.get_by_role("dialog")
    expect(again.get_by_role("heading")).to_have_text("Your session has ended")
    assert ada.faults(page) == []
    again.get_by_label("Its password").fill("wrong")
    again.get_by_role("button", name="Sign in").click()
    expect(again.get_by_role("alert")).to_have_text("The password is wrong.")
    again.get_by_label("Its password").fill(factories.PASSWORD)
    again.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Quote: it would be accepted")).to_be_visible()
    expect(page.get_by_label("text")).to_have_value("long thought about")
    page.get_by_label("text").fill("not sent yet")
    other = ada.open(ada.tab(), "/runs")
    other.get_by_text("Ada", exact=False).first.click()
    other.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("dialog").get_by_role("heading")).to_have_text("Your session has ended")
    expect(page.get_by_label("text")).to_have_value("not sent yet")


def test_an_admin_makes_a_tool_and_edits_it(reader: Open, tool: Tool) -> None:
    admin = factories.user(role="admin")
    ada = reader(accounts.get(admin.user_id).email, viewport={"width": 1280, "height": 800})
    page = ada.open(ada.sign_in(), "/admin/tools/new")
    page.get_by_label("Begin with its URL").fill(f"{tool.url}/echo")
    press(page, "Use it")
    schema = page.get_by_label("Input schema")
    seen = page.get_by_role("region", name="What users will see")
    expect(seen.get_by_label("text")).to_be_visible()
    schema.fill(schema.input_value().replace('"text": {', '"count": {"type": "integer"}, "text": {'))
    expect(seen.get_by_label("count")).to_be_visible()
    schema.fill(schema.input_value().replace("{", "", 1))
    expect(seen).to_contain_text("Input schema: This is not valid JSON")
    schema.fill("{" + schema.input_value())
    page.get_by_label("Example input").fill('{"text": "abc", "count": 2}')
    expect(seen.get_by_label("count")).to_have_value("2")
    check(ada, page)
    page.get_by_label("Tokens per run").fill("2")
    press(page, "Create the tool")
    expect_title(page, "Echo")
    press(page, "Call it")
    expect(page.get_by_role("heading", name="The test succeeded")).to_be_visible()
    follow(page, "Edit")
    page.get_by_label("Description").fill("Says it again.")
    page.get_by_label("Tokens per run").fill("3")
    page.get_by_role("spinbutton", name=re.compile("^Maximum tokens")).fill("3")
    press(page, "Save")
    expect(page.get_by_role("region", name="Now")).to_contain_text("3 tokens")
    follow(page, "All versions")
    follow(page, "Version 2")
    expect(page.get_by_role("main")).to_contain_text("Compared with version 1")
    check(ada, page)
    ada.open(page, "/tools/echo")
    expect(page.get_by_text("Says it again.")).to_be_visible()
    expect(page.get_by_label("count")).to_have_value("2")


def end_sessions(email: str) -> None:
    """As an admin who disables the account for a moment, or another device that ends all others."""
    caller = Caller(accounts.by_email(email).id, "user", frozenset(), None, None, True)
    for each in session_directory.listing(caller, Window(10)).items:
        session_directory.end(caller.user_id, each.id, actor=OPERATOR)


def test_a_server_that_was_away_is_noticed_and_what_happened_is_caught_up_with(
    reader: Open, offer: Callable[..., str], hub: Platform
) -> None:
    ada = reader()
    page = ada.open(ada.sign_in(), f"/tools/{offer('/echo?after=4000')}")
    page.get_by_label("text").fill("x")
    with page.expect_response(re.compile("/console/live")):  # of the run's own page
        press(page, "Run")
    web = hub.supervisor.children["web"]
    web.kill()
    try:
        expect(page.locator("#live")).to_contain_text("Cannot reach the server since")
        expect(page.locator("#status-title")).to_have_text(re.compile("queued|running"))
    finally:
        web.start()
        hub.supervisor.wait_for(lambda: parts.serving(f"{hub.url}/ready"), "web")
    expect(page.locator("#status-title")).to_have_text("succeeded", timeout=20_000)
    expect(page.locator("#live")).to_have_text("Live")
    expect(page.locator("#told")).to_have_text(re.compile("^It succeeded in"))

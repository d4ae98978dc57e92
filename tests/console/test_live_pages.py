"""Pages that read themselves again while they are open, in Chromium: a streamed answer, the operator's page."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from common import invocations
from common.identity import accounts
from common.kit.paging import Window
from tests import factories
from tests.console.chromium import Open
from tests.console.test_journeys import check, follow, press
from tests.outside.tool import Tool

pytestmark = pytest.mark.browser


def test_an_answer_is_read_while_it_is_written_and_canceled_in_the_middle(
    reader: Open, offer: Callable[..., str], tool: Tool
) -> None:
    per_unit = {"pointer": "/usage/total_tokens", "tokens": 1, "unit": "token"}
    price = {"base_tokens": 1, "per_unit": per_unit, "max_tokens": 50, "metered": {"chars_per_unit": 4, "input": False}}
    slug = offer("/stream?words=6&hold=2,4", adapter="chat_completion", streaming=True, price=price)
    ada = reader(viewport={"width": 360, "height": 800})
    page = ada.open(ada.sign_in(), f"/tools/{slug}")
    page.get_by_label("text").fill("x")
    press(page, "Run")
    written = page.locator("p.written")
    expect(written).to_have_text("wörd0 wörd1")
    check(ada, page)
    tool.let_go()
    expect(written).to_have_text("wörd0 wörd1 wörd2 wörd3")
    expect(page.locator("#status-title")).to_have_text("running")
    tool.let_go()
    expect(page.locator("#status-title")).to_have_text("succeeded")
    expect(written).to_have_text("wörd0 wörd1 wörd2 wörd3 wörd4 wörd5")
    [run] = invocations.listing(accounts.by_email(ada.email).id, Window(2)).items
    assert json.loads(str(run.output))["choices"][0]["message"]["content"] == written.text_content()
    tool.forget()
    follow(page, "Edit and run")
    press(page, "Run")
    expect(written).to_have_text("wörd0 wörd1")
    follow(page, "Cancel …")
    expect(page.get_by_role("main")).to_contain_text("it would cost about 4 tokens")
    press(page, "Cancel the run")
    expect(page.locator("#status-title")).to_have_text("canceled")
    expect(page.get_by_role("region", name="Receipt")).to_contain_text(
        "Charged 4 tokens = 1 + 1 × 3 (3 tokens by the meter)"
    )
    expect(written).to_have_text("wörd0 wörd1")
    check(ada, page)


def test_ages_go_on_and_the_operators_page_reads_itself_again_until_it_is_paused(reader: Open) -> None:
    admin = factories.user(role="admin")
    ada = reader(accounts.get(admin.user_id).email)
    page = ada.sign_in()
    page.clock.install()
    ada.open(page, "/settings")
    page.clock.run_for(125_000)
    expect(page.locator("time[data-ago]").first).to_have_text(re.compile("^2 min( .*)? ago$"))
    ada.open(page, "/operator")
    for _ in range(2):
        with page.expect_response(re.compile("part=operator")):
            page.clock.run_for(6_000)
    page.get_by_role("button", name="Live").click()
    asked = len(ada.asked)
    page.clock.run_for(60_000)
    assert len(ada.asked) == asked
    with page.expect_response(re.compile("part=operator")):
        page.get_by_role("button", name="Paused").click()
        page.clock.run_for(2_000)

"""An answer that is streamed: asked for in the form, read while it is written, and what canceling it then costs."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

from common import invocations
from common.invocations import Task, streams
from common.invocations.streams import LogKey, OutputPart, PartId
from common.kit import redis
from common.tools import ListedTool
from common.tools.streamed import Assembly
from tests import factories
from tests.console.conftest import Browser, Element, Trips, check_page, read
from tests.console.test_pages import HOSTILE
from tests.console.test_running import runs_of, typed_into
from tests.factories import BAD, GOOD
from web.console import chat_texts

INPUT: Final = {"messages": [{"role": "user", "content": "How are you?"}]}
METER: Final = {"chars_per_unit": 4, "input": True}


def chat(metered: object = METER, **changes: Any) -> ListedTool:
    per_unit = {"pointer": "/usage/total_tokens", "tokens": 2, "unit": "token"}
    price = {"base_tokens": 1, "per_unit": per_unit, "max_tokens": 1_000, "metered": metered}
    given = {"adapter": "chat_completion", "streaming": True, "price": price, "example_input": INPUT}
    return factories.tool(**{**given, **changes})


def running(browser: Browser, tool: ListedTool) -> Task:
    """A streamed run that a worker has begun."""
    assert browser.customer
    browser.customer.submit(tool, input=INPUT, stream=True)
    return factories.taken(replace(factories.worker(), take_next=False))


def say(run: Task, n: int, *texts: str, snapshot: bool = False) -> None:
    """A part of the answer that a worker has put into the log: a text for each choice."""
    choices = [{"index": index, "delta": {"content": text}} for index, text in enumerate(texts)]
    part = OutputPart(PartId(run.attempt, n), json.dumps(choices), snapshot)
    streams.put([(LogKey(run.user_id, run.id), part)])


def texts(page: Element) -> list[str]:
    return [each.text for each in page.all("p", class_="written")]


def output(page: Element) -> Element:
    return page.one("section", aria_labelledby="output-title")


def test_an_answer_is_streamed_unless_the_box_is_cleared(browser: Browser) -> None:
    slug = chat().slug
    page = browser.get(f"/tools/{slug}")
    assert "One unit is counted for each 4 characters of the answer and of the messages in the input." in page.words
    assert "checked" in page.one("input", name="stream").attributes
    sent = {**typed_into(page), "typed": "json", "raw": json.dumps(INPUT)}
    shown = check_page(browser.send(f"/tools/{slug}/input", {**sent, "show": "code"}))
    assert '"stream": true' in shown.one("pre", id="code-curl").text
    browser.post(f"/tools/{slug}/run", sent)
    browser.post(f"/tools/{slug}/run", {name: it for name, it in sent.items() if name not in ("stream", "key")})
    assert [run.stream for run in runs_of(browser)] == [False, True]
    plain = browser.get(f"/tools/{factories.tool().slug}")
    assert not plain.all("input", name="stream")
    browser.refused(
        f"/tools/{factories.tool().slug}/run", 422, "streaming_unsupported", {**sent, "raw": "{}", "key": ""}
    )


def test_what_is_written_so_far_is_shown_with_what_canceling_would_cost(browser: Browser, trips: Trips) -> None:
    run = running(browser, chat())
    path = f"/runs/{run.id}"
    assert "It is shown here while it is written." in output(browser.get(path)).words
    assert "Canceled before anything of the answer is shown, it is free" in browser.get(f"{path}/cancel").words
    say(run, 1, "one ")
    say(run, 2, HOSTILE[:20])
    trips.clear()
    page = browser.get(path)
    assert (len(trips.statements) <= 5, len(trips.commands) <= 3) == (True, True)
    assert texts(page) == [f"one {HOSTILE[:20]}"]
    cost = 1 + 2 * (-(-24 // 4) + 3)  # the answer and the question, each rounded up by itself
    said = f"Canceled now, it would cost about {cost} tokens for what is shown so far."
    assert said in page.words
    assert said in browser.get(f"{path}/cancel").words
    say(run, 3, "a", "b", snapshot=True)
    part = read(browser.ask(f"{path}?part=run_now").text)
    assert texts(part) == ["a", "b"]
    assert [each.attributes["data-every"] for each in part.all("p") if "data-every" in each.attributes] == ["1"]


def test_of_a_long_answer_the_end_is_shown_while_it_grows_and_then_the_beginning(browser: Browser) -> None:
    run = running(browser, chat())
    for n in range(1, 4):
        say(run, n, f"{n}" * chat_texts.MOST_CHARS)
    page = browser.get(f"/runs/{run.id}")
    assert texts(page) == ["3" * chat_texts.MOST_CHARS]
    assert "… after 12,000 characters more" in output(page).words
    choices = [{"message": {"content": "1" * chat_texts.MOST_CHARS + "2"}}, {"message": {"content": None}}, {}, "odd"]
    worker = factories.worker()
    invocations.complete(run, replace(GOOD, output={"choices": choices}), worker)
    page = browser.get(f"/runs/{run.id}")
    assert texts(page) == ["1" * chat_texts.MOST_CHARS]
    assert "… and 1 character more, in the download" in output(page).words
    assert not [each for each in page.all("p") if "data-every" in each.attributes]


def test_without_a_meter_canceling_is_free_and_without_redis_the_page_is_still_there(
    browser: Browser,
) -> None:
    run = running(browser, chat(metered=None))
    say(run, 1, "one ")
    assert "Canceled now, it is free" in browser.get(f"/runs/{run.id}").words
    redis.client().flushall()
    page = browser.get(f"/runs/{run.id}")
    assert (texts(page), page.one("h2", id="status-title").words) == ([], "running")


def test_a_canceled_answer_is_kept_and_its_charge_is_explained(browser: Browser) -> None:
    for metered, said in (
        (
            METER,
            "Charged 13 tokens = 1 + 2 × 6 (6 tokens by the meter). Price of version 1. One unit is counted for each 4",
        ),
        (None, "Free: canceled. Held 1,000, given back 1,000."),
    ):
        run = running(browser, chat(metered=metered))
        browser.post(f"/runs/{run.id}/cancel", to=f"/console/runs/{run.id}?said=stopping")
        shown = _shown(browser, run.id, "twelve chars")
        invocations.complete(run, replace(BAD, shown=shown), factories.worker())
        page = browser.get(f"/runs/{run.id}")
        assert page.one("h2", id="status-title").words == "canceled"
        assert (texts(page), said in page.words) == (["twelve chars"], True), page.words
        assert "What was shown" in page.words


def _shown(browser: Browser, run: UUID, text: str) -> invocations.Shown:
    """What its worker would hand over."""
    assert browser.customer
    made, written_so_far = invocations.get(run, browser.customer.user_id), Assembly()
    written_so_far.write([{"index": 0, "delta": {"content": text}}])
    return invocations.left_of(made.price, str(made.input), written_so_far)

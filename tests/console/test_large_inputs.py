"""Inputs that are large, or would be once they are written on several lines: the page stays small, and says why."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from common import invocations
from common.kit.paging import Window
from tests import factories
from tests.console.conftest import Browser, Element, check_page, read
from tests.console.test_running import SCHEMA, ended, typed_into
from tests.factories import GOOD
from tests.steps import steps
from web.console import inputs, json_texts
from web.http import large_reads

#: 16 kB, which indented are 20 times as many.
DEEP = "[" * 29 + ",".join(["{}"] * 5_000) + "]" * 29


class Watched(list[Any]):
    """Counts the items that are asked for."""

    asked = 0

    def __iter__(self) -> Iterator[Any]:
        for each in super().__iter__():
            self.asked += 1
            yield each


def test_no_more_is_written_than_is_shown() -> None:
    value = Watched([{"a": "b"}] * 10_000)
    assert (
        json_texts.beginning(value, 100) == json.dumps(value[:100], indent=2)[: len(json_texts.beginning(value, 100))]
    )
    assert json_texts.within(value, 1_000) is None
    assert value.asked < 100
    assert json_texts.indented(value) == json.dumps(value, indent=2)


@pytest.mark.parametrize("path", ["input", "quote"])
@pytest.mark.parametrize("show", ["code", "json", "form"])
def test_json_that_would_grow_stays_as_it_was_typed(browser: Browser, path: str, show: str) -> None:
    tool = factories.tool(input_schema={})
    page = check_page(browser.send(f"/tools/{tool.slug}/{path}", {"typed": "json", "raw": DEEP, "show": show}))
    assert typed_into(page)["raw"] == DEEP
    assert "larger than 64 kB" in page.one(id="too-large").words
    assert not page.all(id="code-curl")
    assert len(page.all(id="quote")) == (path == "quote")


def test_fields_that_would_grow_stay_as_they_were_typed(browser: Browser) -> None:
    """Those too that the schema does not know."""
    tool = factories.tool(input_schema=SCHEMA)
    typed = {"s/text": "<b>", "j/any": DEEP, "j/beside": "[1]", "n/count": "7", "labels": "team=blue"}
    for path in ("input", "quote"):
        page = check_page(browser.send(f"/tools/{tool.slug}/{path}", {**typed, "typed": "form", "show": "json"}))
        sent = typed_into(page)
        assert {name: sent[name] for name in typed} == typed
        assert page.one(id="too-large").words


def test_what_is_refused_keeps_what_the_schema_does_not_know(browser: Browser) -> None:
    tool = factories.tool(input_schema=SCHEMA)
    typed = {"s/text": "x", "j/inner": '{"a/b": [1]}', "j/beside": "[1]", "n/count": "no number"}
    sent = typed_into(browser.refused(f"/tools/{tool.slug}/run", 422, "validation_failed", {**typed, "typed": "form"}))
    assert {name: sent[name] for name in typed} == typed


def test_an_object_with_very_many_members_is_no_form(browser: Browser) -> None:
    tool = factories.tool(input_schema=SCHEMA)
    many = {f"k{n}": n for n in range(inputs.MOST_FIELDS + 1)}
    page = check_page(
        browser.send(f"/tools/{tool.slug}/input", {"typed": "json", "raw": json.dumps(many), "show": "form"})
    )
    assert json.loads(typed_into(page)["raw"]) == many


def first(page: Element) -> Any:
    return json.loads(typed_into(page)["raw"])


@pytest.mark.parametrize("source", ["last", "its id"])
def test_a_stored_input_is_read_only_as_far_as_it_is_shown(browser: Browser, source: str) -> None:
    tool = factories.tool(input_schema={}, example_input={"an": "example"})
    assert browser.customer
    for value, shown, said in (
        ("x" * 100_000, {"an": "example"}, "The input of that run is larger than 64 kB"),
        (json.loads(DEEP), json.loads(DEEP), "larger than 64 kB: it stays as it is"),
        ({"small": 1}, {"small": 1}, ""),
    ):
        run = browser.customer.submit(tool, input=value)
        page = browser.get(f"/tools/{tool.slug}?from={source if source == 'last' else run}")
        assert first(page) == shown
        assert [each.words[:60] for each in page.all(id="too-large")] == ([said] if said else []) or said in page.words
    assert first(browser.get(f"/tools/{tool.slug}?from=0")) == {}


def test_a_run_shows_the_beginning_of_more_than_64_kb(browser: Browser) -> None:
    run = ended(browser, replace(GOOD, output="x" * 100_000))
    page = browser.get(f"/runs/{run}")
    assert "100.0 kB together, too much for a page" in page.one("section", aria_labelledby="output-title").words


def test_what_may_be_large_takes_its_turn_as_a_large_read(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also a form that is refused: its page has all that was typed."""
    monkeypatch.setattr(large_reads, "WAIT_SECONDS", 0.01)
    tool, long = factories.tool(input_schema={}), json.dumps("'" * 100_000)
    assert browser.customer
    account, here = browser.customer.user_id, f"/tools/{tool.slug}"
    code, small = {"typed": "json", "raw": "1", "show": "code"}, {"typed": "json", "raw": "1"}
    for _ in range(large_reads.READS_AT_ONCE):
        large_reads.acquire(account)
    try:
        assert browser.ask(f"{here}?from=last").status_code == 429
        assert browser.send(f"{here}/input", code).status_code == 429
        refused = [browser.send(f"{here}/{path}", {**small, "raw": long}) for path in ("quote", "run")]
        refused += [browser.send("/settings/name", {"name": long})]
        assert [(each.status_code, len(each.data) < 40_000) for each in refused] == [(429, True)] * 3
        assert (browser.get(here).words, browser.send(f"{here}/quote", small).status_code)[1] == 200
    finally:
        for _ in range(large_reads.READS_AT_ONCE):
            large_reads.release(account)
    assert browser.send(f"{here}/quote", {**small, "raw": long}).status_code == 200
    assert large_reads._pacer.acquire(account, 0) is None, "it was returned"  # type: ignore[func-returns-value]
    large_reads.release(account)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("j/any", '"\\u0000"', "U+0000"),
        ("j/any", '{"\\ud800": 1}', "lone surrogates"),
        ("e/mode", '["\\udfff"]', "lone surrogates"),
        ("j/any", "[" * 32 + "]" * 32, "Must be JSON"),
        ("s" + "/a" * 33, "x", "nested more than 32 levels"),
        ("s" + "/a" * 100_000, "x", "nested more than 32 levels"),
    ],
    ids=["U+0000", "a surrogate as a key", "in an option", "deep", "deep fields", "very deep fields"],
)
@pytest.mark.parametrize("path", ["input", "quote", "run"])
def test_what_cannot_be_stored_is_refused_beside_its_field(
    browser: Browser, path: str, name: str, text: str, said: str
) -> None:
    tool = factories.tool(input_schema=SCHEMA)
    answer = browser.send(f"/tools/{tool.slug}/{path}", {"s/text": "x", name: text, "typed": "form", "show": "json"})
    assert answer.status_code == 422
    assert said in read(answer.text).words
    assert browser.customer
    assert not invocations.listing(browser.customer.user_id, Window(1)).items


def test_a_field_within_others_may_be_as_deep_as_json() -> None:
    deepest = {"s" + "/a" * 32: "x", "j/b/c": "[" * 30 + "]" * 30}
    assert inputs.read(deepest) == {
        "a": inputs.read({"s" + "/a" * 31: "x"}),
        "b": {"c": json.loads("[" * 30 + "]" * 30)},
    }


def test_work_does_not_grow_with_what_is_not_shown() -> None:
    small, large = [{"a": 1}] * 40_000, [{"a": 1}] * 80_000
    assert steps(lambda: json_texts.within(large)) < 1.1 * steps(lambda: json_texts.within(small))

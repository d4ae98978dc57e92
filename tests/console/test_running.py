"""Finding a tool, running it, and what its run says: with scripts off."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from typing import Any
from uuid import UUID

import psycopg
import pytest
from flask import Flask
from hypothesis import given, settings
from hypothesis import strategies as st

from common import invocations
from common.identity import keys, signatures
from common.identity.audit import OPERATOR
from common.kit import jsonb
from common.kit.paging import Window
from examples import verify_receipt
from tests import factories
from tests.console.conftest import Browser, Element, Trips, browser_of, check_page, read
from tests.console.test_pages import HOSTILE
from tests.factories import BAD, GOOD
from tests.web.conftest import Service
from web.console import inputs, show

SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["text"],
    "properties": {
        "text": {"type": "string", "description": "What is looked at."},
        "name": {"type": "string", "maxLength": 20},
        "count": {"type": "integer"},
        "share": {"type": ["number", "null"]},
        "mode": {"enum": ["fast", "exact", 1, True, None]},
        "on": {"type": "boolean"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "day": {"type": "string", "format": "date"},
        "at": {"type": "string", "format": "date-time"},
        "inner": {
            "type": "object",
            "properties": {
                "a/b": {"type": "string"},
                "deep": {"type": "object", "properties": {"x": {"type": "integer"}}},
            },
        },
        "any": {},
    },
}
PRICE = {"base_tokens": 2, "per_unit": {"pointer": "/units", "tokens": 1, "unit": "character"}, "max_tokens": 102}


def typed_into(page: Element) -> dict[str, Any]:
    """What the form of a tool's page would send."""
    form = page.one("form", id="run")
    sent = {each.attributes["name"]: each.attributes.get("value", "") for each in form.all("input")}
    for area in form.all("textarea"):
        sent[area.attributes["name"]] = area.text.removeprefix("\n")
    for choice in form.all("select"):
        chosen = [each for each in choice.all("option") if "selected" in each.attributes] or choice.all("option")
        sent[choice.attributes["name"]] = chosen[0].attributes["value"]
    return sent


def runs_of(browser: Browser) -> list[invocations.Invocation]:
    assert browser.customer
    return list(invocations.listing(browser.customer.user_id, Window(100)).items)


def ended(browser: Browser, how: invocations.Completion = GOOD, **tool: Any) -> UUID:
    """A run that has ended."""
    assert browser.customer
    run = browser.customer.submit(factories.tool(**tool), input={"text": "x"})
    worker = factories.worker()
    invocations.complete(factories.taken(worker), how, worker)
    return run


# -- tools ---------------------------------------------------------------------------------------------------------


def test_tools_are_found_by_what_they_are_called(browser: Browser) -> None:
    assert "There are no tools yet" in browser.get("/tools").words
    factories.tool(name="Language", description="Names the language of a text.", price=PRICE)
    factories.tool(name=HOSTILE[:100], description=HOSTILE, category="odd")
    page = browser.get("/tools")
    assert "2 tokens + 1 per character, at most 102 tokens" in page.words
    assert "Language" not in browser.get("/tools?q=&category=odd").one("table").words
    assert "No tool matches" in browser.get("/tools?q=nothing%3Cb%3E").words


def test_a_tool_is_run_from_its_form_and_a_double_click_is_one_run(browser: Browser) -> None:
    tool = factories.tool(input_schema=SCHEMA, example_input={"text": "an example"}, price=PRICE)
    page = browser.get(f"/tools/{tool.slug}")
    sent = typed_into(page)
    assert sent["s/text"] == "an example"
    assert "Running holds at most 102 tokens" in page.words
    sent |= {"s/text": "two\r\nlines", "n/count": "3", "b/on": "true", "l/tags": "a\r\nb\r\n", "e/mode": "null"}
    sent |= {"max_tokens": "50", "labels": "team=blue\nwho=me", "end_user": "Ada"}
    where = browser.post(f"/tools/{tool.slug}/run", sent)
    assert browser.post(f"/tools/{tool.slug}/run", sent) == where
    [run] = runs_of(browser)
    assert where == f"/runs/{run.id}"
    wanted = {"text": "two\nlines", "count": 3, "on": True, "tags": ["a", "b"], "mode": None}
    assert json.loads(str(run.input)) == wanted
    assert (run.held, run.metadata, run.end_user) == (50, {"team": "blue", "who": "me"}, "Ada")
    browser.get(where)


def test_a_quote_says_what_it_costs_and_why_it_would_be_refused(app: Flask, db: None) -> None:
    browser = browser_of(app, factories.customer(tokens=60))
    tool = factories.tool(input_schema=SCHEMA, price=PRICE)
    sent = {**typed_into(browser.get(f"/tools/{tool.slug}")), "s/text": "x"}
    answer = browser.send(f"/tools/{tool.slug}/quote", {**sent, "max_tokens": "50"})
    quote = check_page(answer).one("section", id="quote").words
    assert "it would be accepted" in quote
    for said in ("Costs at most50 tokens", "That pays for48 characters", "Left while it runs10"):
        assert said in quote
    assert typed_into(read(answer.text))["max_tokens"] == "50"
    refused = check_page(browser.send(f"/tools/{tool.slug}/quote", sent)).one("section", id="quote").words
    assert "it would be refused budget_exhausted" in refused
    page = browser.refused(f"/tools/{tool.slug}/run", 402, "budget_exhausted", sent)
    assert page.one("div", id="summary").one("a", href="/console/plan").words == "See the plans"
    assert typed_into(page)["s/text"] == "x"
    assert runs_of(browser) == []


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ({"s/text": ""}, None),
        ({"s/text": "x", "n/count": "three"}, "n/count"),
        ({"s/text": "x", "n/count": "1.5"}, "n/count"),
        ({"s/text": "x", "j/any": "{"}, "j/any"),
        ({"s/text": "x", "max_tokens": "1"}, "max_tokens"),
        ({"s/text": "x", "labels": "nothing"}, "labels"),
        ({"s/text": "x", "webhook_url": "ftp://x"}, "webhook_url"),
    ],
)
def test_what_is_wrong_is_said_beside_its_field_and_nothing_typed_is_lost(
    browser: Browser, typed: dict[str, str], name: str | None
) -> None:
    tool = factories.tool(input_schema=SCHEMA, price=PRICE)
    sent = {**typed_into(browser.get(f"/tools/{tool.slug}")), **typed}
    page = check_page(browser.send(f"/tools/{tool.slug}/run", sent))
    if name:
        assert page.one(id=name).attributes["aria-invalid"] == "true"
    again = typed_into(page)
    assert {field: again[field] for field in typed} == typed
    assert again["key"] == sent["key"]
    assert runs_of(browser) == []


def test_form_and_json_are_two_views_of_one_input(browser: Browser) -> None:
    tool = factories.tool(input_schema=SCHEMA)
    sent = {**typed_into(browser.get(f"/tools/{tool.slug}")), "s/text": "<b>", "show": "json", "n/count": "7"}
    page = check_page(browser.send(f"/tools/{tool.slug}/input", sent))
    sent = typed_into(page)
    assert json.loads(sent["raw"]) == {"text": "<b>", "count": 7}
    sent["raw"] = '{"text": "", "count": null, "more": [1]}'
    page = check_page(browser.send(f"/tools/{tool.slug}/input", {**sent, "show": "form"}))
    assert inputs.read(typed_into(page)) == {"text": "", "count": None, "more": [1]}
    broken = {**sent, "raw": '{"text": <', "show": "form"}
    page = browser.refused(f"/tools/{tool.slug}/input", 422, "validation_failed", broken)
    assert page.one("textarea", id="raw").attributes["aria-invalid"] == "true"
    assert typed_into(page)["raw"] == '{"text": <'


KEYS = ["a", "a/b", "~", "x", ""]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


@settings(max_examples=150)
@given(value=st.dictionaries(st.sampled_from([*SCHEMA["properties"], "other"]), JSON, max_size=5))
def test_any_input_goes_through_the_form_unchanged(value: dict[str, Any]) -> None:
    found = inputs.fields(SCHEMA, value)
    sent = {each.name: each.value for each in found}
    assert jsonb.canonical(inputs.read(sent)) == jsonb.canonical(value)
    assert all(each.value in ["", *(option for option, _ in each.options)] for each in found if each.options)


def test_a_schema_that_is_no_object_is_typed_as_json(browser: Browser) -> None:
    tool = factories.tool(input_schema={"type": "array"})
    sent = {**typed_into(browser.get(f"/tools/{tool.slug}")), "raw": "[1, 2]"}
    browser.post(f"/tools/{tool.slug}/run", sent)
    assert [json.loads(str(run.input)) for run in runs_of(browser)] == [[1, 2]]


def test_every_snippet_works_when_it_is_pasted(app: Flask, db: None, served: Service) -> None:
    """As shown, but for the address and the waiting: it makes exactly the run that the form would."""
    browser = browser_of(app, factories.customer())
    assert browser.customer
    tool = factories.tool(input_schema=SCHEMA, price=PRICE)
    value = {"text": 'it\'s "quoted" \\ $HOME `x` ünïcode', "count": 3, "on": True, "share": None}
    sent = {"typed": "json", "raw": json.dumps(value), "show": "code", "labels": "team=blue", "expires_in": "3600"}
    page = check_page(browser.send(f"/tools/{tool.slug}/input", sent))
    _, key = keys.create(browser.customer.user_id, "pasted", actor=OPERATOR)
    commands = {
        "curl": ["bash", "-c"],
        "python": [sys.executable, "-c"],
        "javascript": ["node", "--input-type=module", "-e"],
    }
    ran = 0
    for name, command in commands.items():
        if shutil.which(command[0]) is None:
            continue
        code = page.one("pre", id=f"code-{name}").text.replace(app.config["PUBLIC_URL"], served.base)
        code = code.replace("wait=30", "wait=1")
        done = subprocess.run(
            [*command, code],
            env={"HUB_API_KEY": key, "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        data = json.loads(done.stdout)
        data = data.get("data", data)
        assert (data["input"], data["metadata"]) == (value, {"team": "blue"}), name
        ran += 1
    assert ran >= 2
    assert len(runs_of(browser)) == 1  # they have one key


# -- runs ----------------------------------------------------------------------------------------------------------


def test_runs_are_listed_found_and_filtered(browser: Browser) -> None:
    assert "No runs yet" in browser.get("/runs").words
    good = ended(browser, name="Good")
    bad = ended(browser, replace(BAD, error_code="tool_timeout"), name="Bad")
    page = browser.get("/runs")
    assert {f"/console/runs/{run}" for run in (good, bad)} <= {each.attributes["href"] for each in page.all("a")}
    assert "failed · tool_timeout" in page.one("table").words
    assert "free" in page.one("table").words
    failed = browser.get("/runs?status=failed&tool=&error=tool_timeout&since=2020-01-01")
    assert "Runs with the status failed, with the error tool_timeout, since 2020-01-01." in failed.words
    assert "Good" not in failed.one("table").words
    assert "Runs with the status expired. Clear the filter There are none." in browser.get("/runs?status=expired").words
    assert browser.ask(f"/runs?find={good}").headers["Location"] == f"/console/runs/{good}"
    assert "There are none." in browser.get("/runs?find=nothing").words
    groups = browser.get("/runs?group=error")
    [link] = [each.attributes["href"] for each in groups.all("a") if "select=all" in each.attributes["href"]]
    assert all(
        "checked" in box.attributes for box in browser.get(link.removeprefix("/console")).all("input", type="checkbox")
    )


@pytest.mark.parametrize(
    "query",
    ["since=x", "since=2027-02-30", "since=2027-01-02&until=2027-01-01", "status=odd", "limit=1000", "cursor=x"],
)
def test_a_filter_that_makes_no_sense_is_an_error_page(browser: Browser, query: str) -> None:
    answer = browser.ask(f"/runs?{query}")
    assert answer.status_code in (400, 422)
    check_page(answer)


def test_older_and_newer_lead_through_all_runs_and_back(browser: Browser) -> None:
    assert browser.customer
    tool = factories.tool()
    made = [str(browser.customer.submit(tool)) for _ in range(5)]
    seen, path = [], "/runs?limit=2"
    while path:
        page = browser.get(path)
        seen += [each.attributes["value"] for each in page.all("input", name="id")]
        older = page.all("a", rel="next")
        path = older[0].attributes["href"].removeprefix("/console") if older else ""
    assert seen == made[::-1]
    for expected in (made[2:0:-1], made[:2:-1]):
        page = browser.get(page.one("a", rel="prev").attributes["href"].removeprefix("/console"))
        assert [each.attributes["value"] for each in page.all("input", name="id")] == expected
    assert not page.all("a", rel="prev")


def test_fifty_rows_fit_into_a_page(browser: Browser, trips: Trips) -> None:
    assert browser.customer
    tool = factories.tool(name="A tool with a long name of forty letters")
    for _ in range(50):
        browser.customer.submit(tool)
    trips.clear()
    assert len(browser.get("/runs?limit=50").all("input", name="id")) == 50
    assert len(trips.statements) <= 5, trips.statements
    assert len(trips.commands) <= 3, trips.commands


def test_chosen_runs_are_run_again_after_the_price_was_said_and_twice_pressed_is_once(browser: Browser) -> None:
    runs = [str(ended(browser, BAD)) for _ in range(2)]
    page = check_page(browser.send("/runs/again/ask", {"id": [*runs, str(UUID(int=1))]}))
    assert "Together they hold 20 tokens" in page.words
    assert "1 selected run cannot be run again" in page.words
    form = page.one("form", action="/console/runs/again")
    sent = {"id": [each.attributes["value"] for each in form.all("input", name="id")]}
    sent["key"] = form.one("input", name="key").attributes["value"]  # type: ignore[assignment]
    for _ in range(2):
        assert "2 new runs of 2" in check_page(browser.send("/runs/again", sent)).words
    assert len(runs_of(browser)) == 4


def test_chosen_runs_are_canceled_and_what_has_ended_is_not(browser: Browser) -> None:
    assert browser.customer
    over, still = str(ended(browser)), str(browser.customer.submit(factories.tool()))
    page = check_page(browser.send("/runs/cancel/ask", {"id": [over, still]}))
    assert page.one("form", action="/console/runs/cancel").one("input", name="id").attributes["value"] == still
    assert "1 run canceled before" in check_page(browser.send("/runs/cancel", {"id": [still]})).words
    assert "No run was selected" in check_page(browser.send("/runs/cancel/ask", {})).words
    assert [run.status for run in runs_of(browser)] == ["canceled", "succeeded"]


# -- one run -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "unit", "reads"),
    [(1, "word", "1 word"), (6000, "word", "6,000 words"), (2, "100 characters", "2 × 100 characters")],
)
def test_a_number_of_units_reads_well(value: int, unit: str, reads: str) -> None:
    assert show.units(value, unit) == reads


def test_a_run_says_what_happened_and_what_it_cost(browser: Browser, trips: Trips) -> None:
    run = ended(browser, replace(GOOD, output={"ok": HOSTILE}, cost=17, units=14.2), price=PRICE)
    browser.get(f"/runs/{run}")
    trips.clear()
    page = browser.get(f"/runs/{run}")
    assert len(trips.statements) <= 5, trips.statements
    assert len(trips.commands) <= 3, trips.commands
    assert (
        "Charged 17 tokens = 2 + 1 × 14.2 (14.2 characters, reported at /units), rounded up. Price of version 1."
        in page.words
    )
    assert "Held 102, given back 85." in page.words
    assert "Attempt 1 began" in page.words
    assert "<script>alert(1)</script>" in page.words
    assert f"/console/runs/{run}/again" in {each.attributes["href"] for each in page.all("a")}
    part = browser.ask(f"/runs/{run}?part=run_now")
    assert read(part.text).one("h2", id="status-title").words == "succeeded"
    file = browser.ask(f"/runs/{run}/output.json")
    assert (file.get_json(), file.headers["Content-Type"]) == ({"ok": HOSTILE}, "application/json")
    assert file.headers["Content-Disposition"].startswith("attachment;")


def test_the_signed_receipt_is_a_download_once_a_run_has_ended(browser: Browser) -> None:
    run = ended(browser, replace(GOOD, cost=17, units=14.2), price=PRICE)
    links = [each.attributes["href"] for each in browser.get(f"/runs/{run}").all("a")]
    assert f"/console/runs/{run}/receipt.jws" in links
    file = browser.ask(f"/runs/{run}/receipt.jws")
    assert file.headers["Content-Type"] == "application/jose"
    assert file.headers["Content-Disposition"] == f'attachment; filename="{run}-receipt.jws"'
    assert verify_receipt.verify(file.text, {"keys": signatures.public_keys()})["charged"] == 17
    assert browser.customer
    still = browser.customer.submit(factories.tool())
    assert "receipt.jws" not in browser.ask(f"/runs/{still}").text
    assert browser.ask(f"/runs/{still}/receipt.jws").status_code == 409


def test_output_is_a_tree_and_raw_and_what_is_too_large_is_a_beginning_and_a_file(browser: Browser) -> None:
    value = {"lines": [{"text": "a", "n": 1.5}, {"text": HOSTILE}], "none": None}
    page = browser.get(f"/runs/{ended(browser, replace(GOOD, output=value))}")
    output = page.one("section", aria_labelledby="output-title")
    tree = output.one("ul", class_="tree")
    assert "lines 2 items 0 2 members text a n 1.5 1 1 member text <script>alert(1)</script>" in tree.words
    assert [("open" in each.attributes) for each in tree.all("details")] == [True, True, False, False]
    assert '"n": 1.5' in output.one("pre").text
    large = {"text": "<" * 300_000}
    run = ended(browser, replace(GOOD, output=large))
    page = browser.get(f"/runs/{run}")
    output = page.one("section", aria_labelledby="output-title")
    assert "300.0 kB together, too much for a page" in output.words
    assert output.one("pre").text.startswith('{"text": "<<<<')
    assert output.one("a").attributes["href"] == f"/console/runs/{run}/output.json"
    assert browser.ask(f"/runs/{run}/output.json").get_json() == large


def test_a_free_run_says_why(browser: Browser) -> None:
    page = browser.get(f"/runs/{ended(browser, replace(BAD, error_code='tool_timeout'))}")
    assert "Free: failed (tool_timeout). Held 10, given back 10." in page.words
    assert "HTTP 500. 500." in page.words, "its facts, then its sentence"


def test_a_run_names_the_trace_of_its_request(browser: Browser, database_url: str) -> None:
    assert browser.customer
    run, trace = browser.customer.submit(factories.tool()), "4bf92f3577b34da6a3ce929d0e0e4736"
    assert "Trace id" not in browser.get(f"/runs/{run}").words
    with psycopg.connect(database_url, autocommit=True) as sql:
        sql.execute("update invocations set traceparent = %s where id = %s", (f"00-{trace}-00f067aa0ba902b7-01", run))
    assert f"Trace id{trace}" in browser.get(f"/runs/{run}").words


def test_a_run_that_waits_says_why_and_is_canceled(app: Flask, db: None) -> None:
    browser = browser_of(app, factories.customer(at_once=1))
    assert browser.customer
    tool = factories.tool()
    browser.customer.submit(tool)
    run = browser.customer.submit(tool)
    page = browser.get(f"/runs/{run}")
    assert "slots of its plan" in page.one(id="run_now").words
    assert "10 tokens are held until it ends" in page.words
    assert "data-soon" in page.one(id="head").attributes, "what is held may be free before the page listens"
    asked = browser.get(f"/runs/{run}/cancel")
    assert "It has not started and never will. It is free." in asked.words
    assert browser.post(f"/runs/{run}/cancel") == f"/runs/{run}?said=run-canceled"
    assert "canceled" in browser.get(f"/runs/{run}").one("h2", id="status-title").words
    browser.refused(f"/runs/{run}/cancel", 409, "already_finished")


def test_a_run_is_repeated_after_the_price_was_said(browser: Browser) -> None:
    run = ended(browser)
    page = browser.get(f"/runs/{run}/again")
    assert "It holds 10 tokens, the most that it can cost" in page.words
    key = page.one("input", name="key").attributes["value"]
    where = [browser.post(f"/runs/{run}/again", {"key": key}) for _ in range(2)]
    assert where[0] == where[1] != f"/runs/{run}"
    assert f"/console/runs/{run}" in {each.attributes["href"] for each in browser.get(where[0]).all("a")}


def test_an_input_is_edited_and_run(browser: Browser) -> None:
    run = ended(browser, input_schema=SCHEMA)
    [made] = runs_of(browser)
    page = browser.get(f"/tools/{made.tool_slug}?from={run}")
    assert typed_into(page)["s/text"] == "x"
    assert typed_into(browser.get(f"/tools/{made.tool_slug}?from=last"))["s/text"] == "x"
    assert "s/text" in typed_into(browser.get(f"/tools/{made.tool_slug}?from=odd"))


def test_what_is_somebody_elses_is_not_there(browser: Browser, app: Flask) -> None:
    run = ended(browser)
    other = browser_of(app, factories.customer())
    for path in (f"/runs/{run}", f"/runs/{run}/cancel", f"/runs/{run}/again", f"/runs/{run}/input.json"):
        assert other.ask(path).status_code == 404, path
    for path in (f"/runs/{run}/cancel", f"/runs/{run}/again"):
        assert other.send(path).status_code == 404, path
    assert other.ask(f"/runs?find={run}").status_code == 200
    assert "None of the selected runs" in check_page(other.send("/runs/again/ask", {"id": [str(run)]})).words
    [made] = runs_of(browser)
    assert "x" not in typed_into(other.get(f"/tools/{made.tool_slug}?from={run}")).values()

"""While a tool's circuit breaker is open, its fallback takes the calls: by its own version and price."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from common import invocations
from common.errors import Invalid, PlatformError
from common.identity import keys
from common.identity.audit import OPERATOR
from common.identity.keys import NewLimits
from common.invocations import Completion
from common.kit import failpoints
from common.tools import ListedTool, breakers, editing, schema_compatibility
from tests import factories
from tests.runs.conftest import Api, Json

TEXT = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
CHEAP = {"base_tokens": 1, "max_tokens": 10}
DEAR = {"base_tokens": 5, "max_tokens": 40}
INPUT = {"text": "hello"}


def broken(tool: ListedTool) -> None:
    """Open the breaker."""
    breakers._breaker(str(tool.id)).open()


def mended(tool: ListedTool) -> None:
    breakers.close(tool.id)


@pytest.fixture
def pair(api: Api) -> tuple[ListedTool, ListedTool]:
    """A tool, and the one that takes over."""
    other = factories.tool(input_schema=TEXT, price=DEAR)
    return factories.tool(input_schema=TEXT, price=CHEAP, fallback=other.slug), other


def test_the_fallback_runs_and_is_what_is_paid_for(api: Api, pair: tuple[ListedTool, ListedTool]) -> None:
    tool, other = pair
    assert api.submit(tool, INPUT)["requested_tool"] is None
    broken(tool)
    made = api.submit(tool, INPUT)
    assert made["tool"] == {"id": str(other.id), "slug": other.slug, "name": other.name, "version": 1}
    assert made["requested_tool"] == {"id": str(tool.id), "slug": tool.slug}
    assert made["billing"]["held"] == 40
    assert made["billing"]["price"]["base_tokens"] == 5
    assert api.shown(made)["requested_tool"] == made["requested_tool"]
    assert api.get("/invocations")[0]["requested_tool"] == made["requested_tool"]
    worker = replace(factories.worker(), take_next=False)
    api.post(f"/invocations/{api.get('/invocations')[1]['id']}/cancel")
    task = factories.taken(worker)
    assert (str(task.id), task.tool_version_id, task.held) == (made["id"], other.current.id, 40)
    invocations.complete(task, Completion("succeeded", {}, 5, http_status=200, duration_ms=3), worker)
    ended = api.shown(made)
    assert (ended["status"], ended["billing"]["charged"]) == ("succeeded", 5)
    assert api.get("/usage")[0]["tool"]["slug"] == other.slug


def test_the_catalogue_and_a_quote_say_so(api: Api, pair: tuple[ListedTool, ListedTool]) -> None:
    tool, other = pair
    quote = api.post(f"/tools/{tool.slug}/quote", {"input": INPUT})
    assert (quote["tool"]["slug"], quote["requested_tool"], quote["price"]["max_tokens"]) == (tool.slug, None, 10)
    broken(tool)
    quote = api.post(f"/tools/{tool.slug}/quote", {"input": INPUT})
    assert quote["tool"] == {"id": str(other.id), "slug": other.slug, "name": other.name, "version": 1}
    assert quote["requested_tool"] == {"id": str(tool.id), "slug": tool.slug}
    assert (quote["max_tokens"], quote["price"]["base_tokens"], quote["version"]) == (40, 5, 1)
    assert (quote["allowed"], quote["waiting"]) == (True, None)
    shown = api.get(f"/tools/{tool.slug}")
    assert (shown["fallback"], shown["is_available"]) == (other.slug, True)
    assert api.get(f"/tools/{other.slug}")["fallback"] is None
    broken(other)
    assert api.get(f"/tools/{tool.slug}")["is_available"] is False


def test_a_repeat_is_the_first_invocation_whatever_the_breaker_says(
    api: Api, pair: tuple[ListedTool, ListedTool]
) -> None:
    tool, other = pair
    body = {"input": INPUT}

    def invoke(slug: str, key: str, expect: int = 202) -> Any:
        return api.call("POST", f"/tools/{slug}/invoke", expect, json=body, headers={"Idempotency-Key": key})

    before = invoke(tool.slug, "before").get_json()["data"]
    broken(tool)
    during = invoke(tool.slug, "during").get_json()["data"]
    assert (before["tool"]["slug"], during["tool"]["slug"]) == (tool.slug, other.slug)
    for _ in range(2):
        for key, first in (("before", before), ("during", during)):
            for named in (tool.slug, str(tool.id)):
                again = invoke(named, key)
                assert again.headers["Idempotent-Replayed"] == "true"
                assert again.get_json()["data"]["id"] == first["id"]
        mended(tool)
    # The key stands for a call of the tool that was asked for.
    assert invoke(other.slug, "during", 422).get_json()["code"] == "idempotency_key_reused"
    editing.archive(OPERATOR, other.id)
    assert invoke(tool.slug, "during").get_json()["data"]["id"] == during["id"]


def test_a_rerun_is_of_the_tool_that_was_asked_for(api: Api, pair: tuple[ListedTool, ListedTool]) -> None:
    tool, _ = pair
    broken(tool)
    made = api.submit(tool, INPUT)
    mended(tool)
    most = {"max_tokens": 40, "input_stored": True}  # its own price or that of its fallback
    assert api.get(f"/invocations/{made['id']}/rerun") == most
    again = api.post(f"/invocations/{made['id']}/rerun", expect=202)
    assert (again["tool"]["slug"], again["requested_tool"]) == (tool.slug, None)


def unusable(api: Api, tool: ListedTool, value: Json = INPUT, **body: Any) -> None:
    """The tool is unavailable, as without a fallback, and a quote says the same."""
    refused = api.call("POST", f"/tools/{tool.slug}/invoke", 503, json={"input": value, **body})
    assert refused.get_json()["code"] == "tool_unavailable"
    assert int(refused.headers["Retry-After"]) > 0
    quote = api.post(f"/tools/{tool.slug}/quote", {"input": value, **body})
    assert (quote["reason"], quote["tool"]["slug"], quote["requested_tool"]) == ("tool_unavailable", tool.slug, None)


def test_a_fallback_that_cannot_take_the_call_leaves_it_to_the_tool(
    api: Api, pair: tuple[ListedTool, ListedTool]
) -> None:
    tool, other = pair
    api.submit(tool, INPUT)  # known to the process from now on
    broken(tool)
    unusable(api, tool, max_tokens=4)
    assert api.submit(tool, INPUT, max_tokens=5)["tool"]["slug"] == other.slug
    refused = api.problem("POST", f"/tools/{tool.slug}/invoke", 503, json={"input": INPUT, "version": 1})
    assert refused["code"] == "tool_unavailable", "one who wants a version wants no other tool"
    broken(other)
    unusable(api, tool)
    mended(other)
    editing.change(OPERATOR, other.id, {"input_schema": {**TEXT, "required": ["text", "language"]}})
    unusable(api, tool)
    assert api.submit(tool, {**INPUT, "language": "en"})["tool"]["version"] == 2
    editing.change(OPERATOR, other.id, {"is_active": False})
    unusable(api, tool, {**INPUT, "language": "en"})
    editing.archive(OPERATOR, other.id)
    unusable(api, tool, {**INPUT, "language": "en"})
    assert api.get(f"/tools/{tool.slug}")["fallback"] == other.slug, "the admin has to see what is there"
    editing.change(OPERATOR, tool.id, {"name": "Renamed"})
    editing.change(OPERATOR, tool.id, {"fallback": None})
    unusable(api, tool)


def test_the_input_has_to_be_right_for_the_tool_that_was_asked_for(
    api: Api, pair: tuple[ListedTool, ListedTool]
) -> None:
    tool, other = pair
    editing.change(OPERATOR, other.id, {"input_schema": {}})
    broken(tool)
    assert api.problem("POST", f"/tools/{tool.slug}/invoke", 422, json={"input": {}})["code"] == "tool_input_rejected"
    assert api.submit(tool, INPUT)["tool"]["slug"] == other.slug


def _archived(tool: ListedTool, other: ListedTool) -> None:
    editing.archive(OPERATOR, tool.id)


def _without(tool: ListedTool, other: ListedTool) -> None:
    editing.change(OPERATOR, tool.id, {"fallback": None})


def _repriced(tool: ListedTool, other: ListedTool) -> None:
    editing.change(OPERATOR, other.id, {"price": {"base_tokens": 7, "max_tokens": 70}})


@pytest.mark.parametrize(
    ("change", "status"), [(_archived, 404), (_without, 503), (_repriced, 202)], ids=["archived", "without", "repriced"]
)
def test_a_change_between_the_checks_and_the_row_is_seen(
    api: Api,
    pair: tuple[ListedTool, ListedTool],
    change: Callable[[ListedTool, ListedTool], None],
    status: int,
) -> None:
    tool, other = pair
    broken(tool)
    changes = [change]
    with failpoints.calling("web.before_commit", lambda: changes and changes.pop()(tool, other)):
        answer = api.call("POST", f"/tools/{tool.slug}/invoke", status, json={"input": INPUT}).get_json()
    assert not changes
    if status == 202:
        assert (answer["data"]["tool"]["version"], answer["data"]["billing"]["held"]) == (2, 70)
    else:
        assert api.get("/invocations") == []
        assert api.get("/subscriptions/current")["tokens"]["held"] == 0


# -- what an admin may set ------------------------------------------------------------------------------------------


def refused(tool: ListedTool, **changes: Any) -> str:
    with pytest.raises(Invalid) as caught:
        editing.change(OPERATOR, tool.id, changes)
    (fault,) = caught.value.errors
    assert fault.pointer == "/fallback"
    return fault.detail


def test_a_fallback_is_one_other_tool_without_a_fallback(api: Api, pair: tuple[ListedTool, ListedTool]) -> None:
    tool, other = pair
    third = factories.tool(input_schema=TEXT)
    assert "itself" in refused(third, fallback=tool.slug)
    assert "fallback of another" in refused(other, fallback=third.slug)
    assert "its own" in refused(third, fallback=third.slug)
    assert "no such tool" in refused(third, fallback="nobody")
    editing.archive(OPERATOR, third.id)
    assert "archived" in refused(tool, fallback=third.slug)
    editing.archive(OPERATOR, tool.id)
    fourth = factories.tool(input_schema=TEXT)
    editing.change(OPERATOR, other.id, {"fallback": fourth.slug})
    assert api.get(f"/tools/{other.slug}")["fallback"] == fourth.slug


def test_two_admins_make_no_chain(api: Api) -> None:
    for _ in range(5):
        tools = [factories.tool() for _ in range(3)]
        together = threading.Barrier(3)
        changes = [(together, tools[number], tools[(number + 1) % 3]) for number in range(3)]
        with ThreadPoolExecutor(3) as pool:
            assert sorted(pool.map(_set, changes)) == [False, False, True]


def _set(change: tuple[threading.Barrier, ListedTool, ListedTool]) -> bool:
    together, tool, other = change
    together.wait()
    try:
        editing.change(OPERATOR, tool.id, {"fallback": other.slug})
    except PlatformError:
        return False
    return True


OBJECT = {"type": "object"}


@pytest.mark.parametrize(
    ("given", "taking", "said"),
    [
        (TEXT, TEXT, None),
        (TEXT, {}, None),
        (TEXT, True, None),
        (TEXT, OBJECT, None),
        ({**TEXT, "title": "A"}, {**TEXT, "description": "B"}, None),
        ({"type": "object", "properties": {"n": {"type": "integer"}}}, {"properties": {"n": {"type": "number"}}}, None),
        ({"$ref": "#/$defs/a", "$defs": {"a": TEXT}}, TEXT, None),
        ({}, OBJECT, "does not take"),
        ({"properties": {"n": {"type": "number"}}}, {"properties": {"n": {"type": "integer"}}}, "number at /n"),
        ({"type": ["object", "null"]}, OBJECT, "does not take null"),
        (OBJECT, TEXT, "requires /text"),
        (TEXT, {**TEXT, "required": ["text", "a"]}, "requires /a"),
        (TEXT, {"type": "object", "properties": {"b": {}}, "additionalProperties": False}, "does not take /text"),
        (
            {"properties": {"a": {"type": "object"}}, "required": ["a"]},
            {"properties": {"a": {"required": ["b"]}}},
            "requires /a/b",
        ),
        ({"properties": {"a": {"enum": [1, 2]}}}, {"properties": {"a": {"enum": [1, 2, 3]}}}, None),
        ({"properties": {"a": {"enum": [1, 4]}}}, {"properties": {"a": {"enum": [1, 2, 3]}}}, "only some values at /a"),
        ({"properties": {"a": {"type": "string"}}}, {"properties": {"a": {"const": "x"}}}, "only some values at /a"),
        ({"type": "array", "items": {"type": "string"}}, {"items": {"type": "integer"}}, "string at []"),
    ],
)
def test_what_is_known_of_compatible_inputs(given: Any, taking: Any, said: str | None) -> None:
    fault = schema_compatibility.fault(given, taking)
    assert fault is None if said is None else said in (fault or ""), fault


def test_a_key_for_some_tools_gets_no_other(api: Api, pair: tuple[ListedTool, ListedTool]) -> None:
    tool, other = pair
    narrow = {"X-API-Key": _key_for(api, tool.slug)}
    both = {"X-API-Key": _key_for(api, tool.slug, other.slug)}
    for path in (f"/tools/{other.slug}", f"/tools/{other.slug}/versions", f"/tools/{other.slug}?version=1"):
        api.call("GET", path, 404, headers=narrow)
        api.call("GET", path, headers=both)
    assert [each["slug"] for each in api.get("/tools", headers=narrow)] == [tool.slug]
    broken(tool)
    body = {"input": INPUT}
    refused = api.call("POST", f"/tools/{tool.slug}/invoke", 503, json=body, headers=narrow).get_json()
    assert refused["code"] == "tool_unavailable"
    made = api.call("POST", f"/tools/{tool.slug}/invoke", 202, json=body, headers=both).get_json()["data"]
    assert made["tool"]["slug"] == other.slug


def _key_for(api: Api, *slugs: str) -> str:
    return keys.create(api.customer.user_id, "some tools", actor=OPERATOR, limits=NewLimits(tools=list(slugs)))[1]

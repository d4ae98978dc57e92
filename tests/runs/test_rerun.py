"""Once more: a new invocation with the input of one that was, of the tool as it is now."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text

from common import invocations
from common.identity.audit import OPERATOR
from common.kit import db as database
from common.tools import editing
from tests import factories
from tests.factories import BAD
from tests.runs.conftest import Api, Json

#: Only as text does it keep its order and its numbers.
INPUT = {"zeta": 1.50, "alpha": [1e2, {"b": 1, "a": None}]}


def failed(api: Api, tool: Any, **body: Any) -> Json:
    made, options = api.submit(tool, INPUT, **body), replace(factories.worker(), take_next=False)
    invocations.complete(factories.taken(options), BAD, options)
    return made


def test_the_same_input_to_the_tool_as_it_is_now(api: Api) -> None:
    tool = factories.tool()
    first = failed(
        api, tool, metadata={"order": "7"}, end_user="ada", webhook_url="http://127.0.0.1:9/hook", max_tokens=5
    )
    before = api.shown(first)
    editing.change(OPERATOR, tool.id, {"timeout_seconds": 29})
    assert api.get(f"/invocations/{first['id']}/rerun") == {"max_tokens": 10, "input_stored": True}
    response = api.call("POST", f"/invocations/{first['id']}/rerun", 202)
    again = response.get_json()["data"]
    assert response.headers["Location"].endswith(f"/invocations/{again['id']}")
    assert (again["rerun_of"], again["status"], again["tool"]["version"]) == (first["id"], "queued", 2)
    assert list(again["input"]) == list(INPUT)
    assert (again["input"], again["metadata"], again["end_user"]) == (INPUT, {"order": "7"}, "ada")
    assert again["billing"]["held"] == 10, "the limit of the first call is not that of this one"
    shown = api.shown(again)
    assert {name: shown[name] for name in again if name != "poll_after_ms"} == {
        name: again[name] for name in again if name != "poll_after_ms"
    }
    assert api.shown(first) == before, "the first stays as it is"
    assert before["rerun_of"] is None


def test_with_changes(api: Api) -> None:
    first = failed(api, factories.tool(), metadata={"order": "7"})
    changes = {"input": {"other": True}, "metadata": {}, "max_tokens": 4}
    again = api.post(f"/invocations/{first['id']}/rerun", changes, 202)
    assert (again["input"], again["metadata"], again["billing"]["held"]) == ({"other": True}, {}, 4)


def test_an_input_of_null_is_an_input(api: Api) -> None:
    tool = factories.tool(input_schema={})
    first = api.post(f"/tools/{tool.slug}/invoke", {"input": None}, 202)
    assert api.post(f"/invocations/{first['id']}/rerun", {}, 202)["input"] is None
    other = api.post(f"/tools/{tool.slug}/invoke", {"input": 5}, 202)
    assert api.post(f"/invocations/{other['id']}/rerun", {"input": None}, 202)["input"] is None


def test_not_without_an_input(api: Api) -> None:
    first = failed(api, factories.tool())
    key = {"Idempotency-Key": "again"}
    again = api.post(f"/invocations/{first['id']}/rerun", {}, 202, headers=key)
    database.rowcount(text("update invocations set input = null, input_bytes = null where id = :id"), first)
    problem = api.problem("POST", f"/invocations/{first['id']}/rerun", 409)
    assert problem["code"] == "conflict"
    replayed = api.call("POST", f"/invocations/{first['id']}/rerun", 202, headers=key)
    assert replayed.get_json()["data"]["id"] == again["id"], "a repeat is a repeat"
    assert replayed.headers["Idempotent-Replayed"] == "true"
    assert api.post(f"/invocations/{first['id']}/rerun", {"input": {}}, 202)["input"] == {}


def test_a_repeat_is_recognised(api: Api) -> None:
    tool = factories.tool()
    first, other = failed(api, tool), failed(api, tool)
    path, key = f"/invocations/{first['id']}/rerun", {"Idempotency-Key": "k"}
    made = api.post(path, {"max_tokens": 5}, 202, headers=key)
    assert api.post(path, {"max_tokens": 5}, 202, headers=key)["id"] == made["id"]
    for refused in (
        api.problem("POST", path, 422, json={"max_tokens": 6}, headers=key),
        api.problem("POST", f"/invocations/{other['id']}/rerun", 422, json={"max_tokens": 5}, headers=key),
        api.problem("POST", f"/tools/{tool.slug}/invoke", 422, json={"input": INPUT, "max_tokens": 5}, headers=key),
    ):
        assert refused["code"] == "idempotency_key_reused"
    assert len(api.all(f"/invocations?rerun_of={first['id']}")) == 1


def test_refused_as_any_submit(api: Api) -> None:
    tool = factories.tool()
    first = failed(api, tool)
    path = f"/invocations/{first['id']}/rerun"
    assert api.problem("POST", path, 422, json={"max_tokens": 0})["errors"][0]["pointer"] == "/max_tokens"
    assert api.problem("POST", path, 422, json={"expires_in": 5})["errors"][0]["pointer"] == "/expires_in"
    editing.change(OPERATOR, tool.id, {"input_schema": {"type": "object", "required": ["new"]}})
    assert api.problem("POST", path, 422)["code"] == "tool_input_rejected"
    editing.archive(OPERATOR, tool.id)
    assert api.problem("POST", path, 404)["code"] == "not_found"
    assert len(api.all("/invocations")) == 1


def test_nobody_repeats_anothers(api: Api) -> None:
    first = failed(api, factories.tool())
    refused = api.of(factories.customer()).problem("POST", f"/invocations/{first['id']}/rerun", 404)
    assert refused["code"] == "not_found"


@pytest.mark.parametrize("value", ["", " ", "a\nb", "x" * 129, 5, None])
def test_end_users_are_short_printable_text(api: Api, value: Any) -> None:
    tool = factories.tool()
    refused = api.problem("POST", f"/tools/{tool.slug}/invoke", 422, json={"input": {}, "end_user": value})
    assert [fault["pointer"] for fault in refused["errors"]] == ["/end_user"]
    assert api.submit(tool, {}, end_user="Zoë · 7" + "x" * 121)["end_user"].startswith("Zoë")


def test_a_streamed_answer_is_streamed_again_while_the_tool_can(api: Api) -> None:
    """It was not asked for this time, so it is no reason to refuse."""
    tool = factories.tool(adapter="chat_completion", streaming=True)
    first, whole = failed(api, tool, stream=True), api.submit(tool)
    assert api.post(f"/invocations/{first['id']}/rerun", {}, 202)["stream"] is True
    assert api.post(f"/invocations/{whole['id']}/rerun", {}, 202)["stream"] is False
    editing.change(OPERATOR, tool.id, {"streaming": False})
    assert api.post(f"/invocations/{first['id']}/rerun", {}, 202)["stream"] is False

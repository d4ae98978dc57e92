"""`tools/call`: results and errors that a model can read, and what a call may say beside its arguments."""

from __future__ import annotations

import json
from typing import Any

import pytest

from common import invocations
from common.kit.paging import Window
from common.tools import ListedTool
from tests import factories
from tests.mcp.conftest import Json, Mcp, error
from tests.outside.tool import Tool
from worker.heartbeat import WorkerProcess

PER_UNIT = {"base_tokens": 1, "per_unit": {"pointer": "/units", "tokens": 1, "unit": "character"}, "max_tokens": 50}


def at(tool: Tool, path: str, **changes: Any) -> ListedTool:
    return factories.tool(endpoint_url=f"{tool.url}{path}", **changes)


def made(mcp: Mcp) -> list[str]:
    """The statuses of everything that the customer has submitted."""
    return [each.status for each in invocations.listing(mcp.customer.user_id, Window(100)).items]


def problem(result: Json) -> Json:
    """What a result that is an error says, the same twice."""
    assert result["isError"] is True
    assert json.loads(result["content"][0]["text"]) == result["structuredContent"]
    return dict(result["structuredContent"])


# -- results -----------------------------------------------------------------------------------------------------------


def test_a_call_that_ends_at_once(mcp: Mcp, tool: Tool, worker: WorkerProcess) -> None:
    echo = at(tool, "/echo", price=PER_UNIT)
    result = mcp.call(echo.slug, {"text": "hello"})
    assert result["structuredContent"] == {"echo": {"text": "hello"}, "units": 5}
    assert json.loads(result["content"][0]["text"]) == result["structuredContent"]
    assert "isError" not in result
    billing = result["_meta"]["com.joyfullhub/billing"]
    assert (billing["held"], billing["charged"], billing["basis"]) == (50, 6, "reported")
    assert made(mcp) == ["succeeded"]
    assert billing["receipt"].count(".") == 2


def test_the_text_of_a_chat_completion_is_its_answer(mcp: Mcp, tool: Tool, worker: WorkerProcess) -> None:
    result = mcp.call(at(tool, "/chat", adapter="chat_completion").slug)
    assert result["content"] == [{"type": "text", "text": "a long answer"}]
    assert result["structuredContent"]["usage"] == {"prompt_tokens": 3, "completion_tokens": 9, "total_tokens": 12}


def test_an_output_that_is_no_object(mcp: Mcp, tool: Tool, worker: WorkerProcess) -> None:
    units = at(tool, "/echo", result_pointer="/units").slug
    assert mcp.call(units, {"text": "four"})["structuredContent"] == 4
    old: Any = mcp.handshake("tools/call", {"name": units, "arguments": {"text": "four"}}).json
    assert old["result"]["structuredContent"] == {"output": 4}
    assert "resultType" not in old["result"]


def test_an_input_that_is_no_object_is_unwrapped(mcp: Mcp, tool: Tool, worker: WorkerProcess) -> None:
    numbers = at(tool, "/echo", input_schema={"type": "array", "items": {"type": "integer"}}).slug
    assert mcp.call(numbers, {"input": [1, 2]})["structuredContent"]["echo"] == [1, 2]
    assert problem(mcp.call(numbers, {"input": ["a"]}))["errors"][0]["pointer"] == "/input/0"


# -- errors as results -------------------------------------------------------------------------------------------------


def test_a_call_that_fails_is_a_result(mcp: Mcp, tool: Tool, worker: WorkerProcess) -> None:
    result = mcp.call(at(tool, "/fail?status=400").slug, {"text": "x"})
    told = problem(result)
    assert (told["code"], told["status"]) == ("tool_error", "failed")
    assert told["invocation"] == result["_meta"]["com.joyfullhub/billing"]["invocation"]
    assert result["_meta"]["com.joyfullhub/billing"]["charged"] == 0


def test_refusals_that_a_model_can_do_something_about(mcp: Mcp) -> None:
    strict: Json = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    tool = factories.tool(input_schema=strict, price={"base_tokens": 5, "per_unit": None, "max_tokens": 2_000_000})
    rejected = problem(mcp.call(tool.slug, {}))
    assert (rejected["code"], rejected["status"]) == ("tool_input_rejected", 422)
    short = problem(mcp.call(tool.slug, {"n": 1}))
    assert (short["code"], short["status"]) == ("budget_exhausted", 402)
    assert short["actions"][0] == {"rel": "retry_with", "max_tokens": 1_000_000}
    assert problem(mcp.call(tool.slug, {"n": 1}, max_tokens=4))["code"] == "validation_failed"
    assert problem(mcp.call(tool.slug, {"n": 1}, quote="nonsense"))["code"] == "quote_invalid"
    assert made(mcp) == []


def test_what_is_not_there(mcp: Mcp) -> None:
    assert error(mcp.modern("tools/call", {"name": "nothing"})) == (400, -32602)
    assert error(mcp.modern("tools/call", {"arguments": {}})) == (400, -32602)
    assert error(mcp.modern("tools/call", {"name": "x", "arguments": []})) == (400, -32602)


# -- options -----------------------------------------------------------------------------------------------------------


def test_a_repeat_gets_what_the_first_call_made(mcp: Mcp, tool: Tool, worker: WorkerProcess) -> None:
    echo = at(tool, "/echo").slug
    first = mcp.call(echo, {"text": "x"}, idempotency_key="one")
    assert mcp.call(echo, {"text": "x"}, idempotency_key="one") == first
    assert made(mcp) == ["succeeded"]
    assert problem(mcp.call(echo, {"text": "y"}, idempotency_key="one"))["code"] == "idempotency_key_reused"


def test_a_call_has_the_limits_that_it_asks_for(mcp: Mcp, tool: Tool, worker: WorkerProcess) -> None:
    echo = at(tool, "/echo", price=PER_UNIT).slug
    result = mcp.call(echo, {"text": "x"}, max_tokens=7, expires_in=60)
    assert result["_meta"]["com.joyfullhub/billing"]["held"] == 7
    (only,) = invocations.listing(mcp.customer.user_id, Window(100)).items
    assert (only.expires_at - only.created_at).total_seconds() == 60


def test_a_quote_pins_the_price(mcp: Mcp, tool: Tool, worker: WorkerProcess) -> None:
    echo = at(tool, "/echo", price=PER_UNIT)
    quoted = mcp.call("hub_quote", {"tool": echo.slug, "input": {"text": "x"}, "max_tokens": 9})["structuredContent"]
    result = mcp.call(echo.slug, {"text": "x"}, quote=quoted["quote"])
    assert result["_meta"]["com.joyfullhub/billing"]["held"] == 9
    assert problem(mcp.call(echo.slug, {"text": "z"}, quote=quoted["quote"]))["code"] == "quote_invalid"


@pytest.mark.parametrize(
    ("name", "value"), [("max_tokens", "7"), ("expires_in", 0), ("idempotency_key", ""), ("quote", 1)]
)
def test_options_that_are_none_are_refused(mcp: Mcp, name: str, value: object) -> None:
    tool = factories.tool()
    key = f"com.joyfullhub/{name.replace('_', '-')}"
    response = mcp.modern("tools/call", {"name": tool.slug}, meta={key: value})
    assert error(response) == (400, -32602)
    assert key in response.json["error"]["message"]  # type: ignore[index]
    assert made(mcp) == []


# -- built-in tools ----------------------------------------------------------------------------------------------------


def test_built_in_tools_are_free(mcp: Mcp, tool: Tool, worker: WorkerProcess) -> None:
    echo = at(tool, "/echo", price=PER_UNIT).slug
    quote = mcp.call("hub_quote", {"tool": echo, "input": {"text": "hello"}})["structuredContent"]
    assert (quote["max_tokens"], quote["allowed"], quote["reason"], quote["price"]) == (50, True, None, PER_UNIT)
    billing = mcp.call(echo, {"text": "hello"})["_meta"]["com.joyfullhub/billing"]
    shown = mcp.call("hub_invocation", {"invocation": billing["invocation"]})["structuredContent"]
    assert (shown["status"], shown["output"]["units"], shown["billing"]["charged"]) == ("succeeded", 5, 6)
    balance = mcp.call("hub_balance")["structuredContent"]
    assert balance["tokens"].items() >= {"granted": 1_000_000, "charged": 6, "held": 0, "available": 999_994}.items()
    assert balance["allowance"] is None


def test_the_balance_of_a_key(mcp: Mcp) -> None:
    keyed = factories.keyed(mcp.customer, 100)
    assert Mcp(mcp.http, keyed, keyed.key).call("hub_balance")["structuredContent"]["allowance"]["available"] == 100


def test_built_in_tools_say_what_is_wrong(mcp: Mcp) -> None:
    assert problem(mcp.call("hub_quote", {"tool": "x"}))["errors"][0]["pointer"] == "/input"
    assert problem(mcp.call("hub_balance", {"more": 1}))["errors"][0]["pointer"] == "/more"
    assert error(mcp.modern("tools/call", {"name": "hub_quote", "arguments": {"tool": "x", "input": {}}})) == (
        400,
        -32602,
    )
    unknown = {"invocation": "01890000-0000-7000-8000-000000000000"}
    assert error(mcp.modern("tools/call", {"name": "hub_invocation", "arguments": unknown})) == (400, -32602)
    assert mcp.key_with("tools:read").modern("tools/call", {"name": "hub_balance"}).status_code == 403


def test_what_is_not_a_submit_counts_as_a_read(mcp: Mcp) -> None:
    for response in (mcp.modern("tools/list"), mcp.modern("tools/call", {"name": "hub_balance"})):
        assert response.headers["RateLimit"].startswith('"reads";')

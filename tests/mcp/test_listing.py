"""The catalogue as tools of MCP."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import pytest

from tests import factories
from tests.mcp.conftest import Json, Mcp, error

PER_WORD = {"base_tokens": 2, "per_unit": {"pointer": "/words", "tokens": 0.5, "unit": "word"}, "max_tokens": 1_000}
BUILT_IN = ["hub_balance", "hub_quote", "hub_invocation"]


def listed(mcp: Mcp, version: str | None = None) -> dict[str, Json]:
    if version is None:
        tools = mcp.result("tools/list")["tools"]
    else:
        tools = mcp.handshake("tools/list", version=version).json["result"]["tools"]  # type: ignore[index]
    return {tool["name"]: tool for tool in tools}


def test_a_tool_of_the_catalogue(mcp: Mcp) -> None:
    schema: Any = {"type": "object", "properties": {"text": {"type": "string"}}}
    tool = factories.tool(name="Count", description="Counts words.", price=PER_WORD, input_schema=schema)
    tools = listed(mcp)
    assert [*tools] == [*BUILT_IN, tool.slug]
    shown = tools[tool.slug]
    assert (shown["title"], shown["inputSchema"]) == ("Count", schema)
    assert "outputSchema" not in shown
    assert shown["annotations"] == {"title": "Count", "idempotentHint": True, "openWorldHint": True}
    assert shown["description"] == (
        "Counts words.\n\n"
        "Price: 2 tokens and 0.5 for each word, at most 1,000 tokens a call. A call that fails is free."
    )
    assert shown["_meta"] == {"com.joyfullhub/price": PER_WORD, "com.joyfullhub/version": 1}


def test_a_price_without_units(mcp: Mcp) -> None:
    tool = factories.tool(price={"base_tokens": 1, "per_unit": None, "max_tokens": 1})
    assert listed(mcp)[tool.slug]["description"].endswith("Price: 1 token a call. A call that fails is free.")


def test_pages_of_a_hundred_in_a_stable_order(mcp: Mcp) -> None:
    slugs = [factories.tool().slug for _ in range(100)]
    first = mcp.result("tools/list")
    assert len(first["tools"]) == 100
    second = mcp.result("tools/list", {"cursor": first["nextCursor"]})
    assert "nextCursor" not in second
    names = [tool["name"] for tool in [*first["tools"], *second["tools"]]]
    assert names == [*BUILT_IN, *reversed(slugs)]
    assert mcp.result("tools/list")["tools"] == first["tools"]
    for cursor in ("x", "", 7):
        assert error(mcp.modern("tools/list", {"cursor": cursor})) == (400, -32602)


def test_a_key_sees_its_tools(mcp: Mcp) -> None:
    tool, other = factories.tool(), factories.tool()
    seen = mcp.key_with(tools=[tool.slug])
    assert [*listed(seen)] == [*BUILT_IN, tool.slug]
    assert error(seen.modern("tools/call", {"name": other.slug})) == (400, -32602)


ANY: Json = {"$defs": {"word": {"type": "string"}}, "type": "array", "items": {"$ref": "#/$defs/word"}}


@pytest.mark.parametrize("version", [None, "2025-11-25"])
def test_schemas_whose_root_is_no_object_are_wrapped(mcp: Mcp, version: str | None) -> None:
    tool = factories.tool(input_schema={"type": "string"}, output_schema={"type": "number"})
    shown = listed(mcp, version)[tool.slug]
    wrapped = {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}
    assert shown["inputSchema"] == wrapped
    output = {"type": "object", "properties": {"output": {"type": "number"}}, "required": ["output"]}
    assert shown["outputSchema"] == (output if version else {"type": "number"})


def test_references_to_the_root_lead_there_when_it_is_wrapped(mcp: Mcp) -> None:
    tool = factories.tool(input_schema=ANY)
    shown = listed(mcp)[tool.slug]["inputSchema"]
    assert jsonschema_rs.is_valid(shown, {"input": ["a"]})
    assert not jsonschema_rs.is_valid(shown, {"input": [1]})

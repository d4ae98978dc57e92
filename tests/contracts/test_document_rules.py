"""What the document promises to generators of clients: each rule is one that a well-known generator depends on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from common.models.webhooks import EVENT_TYPES, INVOCATION_TYPES
from common.settings import Settings
from web.api.openapi import document
from web.app import create_app

Part = dict[str, Any]
#: What generators append to the name of an operation for types of their own.
APPENDED = ("", "body", "data", "error", "errors", "params", "query", "request", "response", "responses", "result")
OPEN = ("queued", "running")


@pytest.fixture(scope="module")
def spec(settings: Settings) -> Part:
    return document.of(create_app(replace(settings, public_url="http://localhost:8000")))


def nodes(node: object, place: str = "") -> Iterator[tuple[str, Part]]:
    """Every object of the document and its place, without what is inside examples."""
    if isinstance(node, dict):
        yield place, node
        for name, nested in node.items():
            if name not in ("example", "examples") or place.endswith("/properties"):
                yield from nodes(nested, f"{place}/{name}")
    elif isinstance(node, list):
        for index, nested in enumerate(node):
            yield from nodes(nested, f"{place}/{index}")


def referred(spec: Part, schema: Part) -> Part:
    """The schema itself, or what it refers to."""
    return spec["components"]["schemas"][schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema


def within(spec: Part, schema: Part, seen: set[str]) -> Iterator[tuple[str, Part]]:
    """Every part of a schema and of those that it refers to."""
    for place, part in nodes(schema):
        yield place, part
        name = part.get("$ref", "").rpartition("/")[2]
        if name and name not in seen:
            seen.add(name)
            yield from ((f"{name}{inner}", each) for inner, each in within(spec, referred(spec, part), seen))


def test_a_reference_stands_alone(spec: Part) -> None:
    assert [place for place, node in nodes(spec) if "$ref" in node and len(node) > 1] == []


def test_every_enumeration_is_a_schema_of_its_own(spec: Part) -> None:
    listed = {place: node["enum"] for place, node in nodes(spec) if len(node.get("enum", ())) > 1}
    inline = [place for place in listed if not re.fullmatch(r"/components/schemas/\w+", place)]
    assert inline == [], "name them in web/api/openapi/enumerations.py"
    assert len({tuple(values) for values in listed.values()}) == len(listed) > 30


def test_an_event_is_told_apart_by_its_type(spec: Part) -> None:
    schemas = spec["components"]["schemas"]
    event = schemas["Event"]
    assert schemas["EventPage"]["properties"]["data"]["items"] == {"$ref": "#/components/schemas/Event"}
    assert event["discriminator"]["propertyName"] == "type"
    mapping = event["discriminator"]["mapping"]
    assert (set(mapping), {each["$ref"] for each in event["oneOf"]}) == (set(EVENT_TYPES), set(mapping.values()))
    for kind, ref in mapping.items():
        member = referred(spec, {"$ref": ref})
        said = referred(spec, member["properties"]["type"])
        assert said.get("enum", [said.get("const")]) == (list(INVOCATION_TYPES) if kind in INVOCATION_TYPES else [kind])
        assert set(member["required"]) == {"id", "type", "timestamp", "data"}


def test_a_problem_is_told_apart_by_its_code(spec: Part) -> None:
    for name, response in spec["components"]["responses"].items():
        content = response["content"]["application/problem+json"]
        schema, codes = content["schema"], list(content["examples"])
        mapping = schema.get("discriminator", {}).get("mapping", {codes[0]: schema.get("$ref")})
        assert list(mapping) == codes, name
        for code, ref in mapping.items():
            base, own = referred(spec, {"$ref": ref})["allOf"]
            assert base == {"$ref": "#/components/schemas/Problem"}
            assert own["properties"]["code"]["enum"] == [code]


def test_every_map_in_a_request_says_how_large_it_can_be(spec: Part) -> None:
    seen: set[str] = set()
    maps = []
    for _, operation in document.operations(spec):
        taken = [each["schema"] for each in operation.get("parameters", []) if "schema" in each]
        taken += [each["schema"] for each in operation.get("requestBody", {}).get("content", {}).values()]
        for schema in taken:
            maps += [(place, each) for place, each in within(spec, schema, seen) if each.get("additionalProperties")]
    assert len(maps) >= 10
    assert [place for place, each in maps if not {"maxProperties", "propertyNames"} <= each.keys()] == []


def test_no_schema_is_named_like_an_operation(spec: Part) -> None:
    named = [operation["operationId"] for _, operation in document.operations(spec)]
    named += [item["post"]["operationId"] for item in spec["webhooks"].values()]
    taken = {name.replace("_", "") + ending for name in named for ending in APPENDED}
    assert [name for name in spec["components"]["schemas"] if name.lower() in taken] == []


def test_every_stream_of_events_has_a_schema(spec: Part) -> None:
    streams = [each["text/event-stream"] for place, each in nodes(spec) if "text/event-stream" in each]
    assert streams
    for content in streams:
        data = referred(spec, content["schema"])
        assert [each["$ref"].rpartition("/")[2] for each in data["anyOf"]] == [
            "Invocation",
            "OutputPart",
            "OutputReset",
        ]


def examples(spec: Part) -> Iterator[tuple[str, str, Part]]:
    """Every example of an invocation: where, the status of the response (or the type of the event), and it."""
    for name, operation in document.operations(spec):
        for status, response in operation["responses"].items():
            for content in response.get("content", {}).values():
                example = content.get("example")
                if isinstance(example, dict) and "billing" in (data := example.get("data", example)):
                    yield name, status, data
    for kind, item in spec["webhooks"].items():
        if kind in INVOCATION_TYPES:
            yield kind, kind, item["post"]["requestBody"]["content"]["application/json"]["example"]["data"]


def test_every_example_fits_the_status_that_it_is_of(spec: Part) -> None:
    seen = {}
    for where, status, shown in examples(spec):
        state = seen[where, status] = shown["status"]
        assert status != "202" or state in OPEN, where
        assert "." not in status or status == f"invocation.{state}", where
        wanted = "pending" if state in OPEN else "charged" if state == "succeeded" else "free"
        assert shown["billing"]["outcome"] == wanted, where
        assert (shown["finished_at"] is None, shown["poll_after_ms"] is not None) == (state in OPEN,) * 2, where
        assert (shown["started_at"] is None) == (shown["attempts"] == 0), where
        assert (shown["output"] is not None, shown["error"] is not None) == (state == "succeeded", state == "failed")
    assert seen["POST /api/v1/invocations/{invocation_id}/cancel", "200"] == "canceled"
    assert seen["POST /api/v1/tools/{tool}/invoke", "200"] == "succeeded"
    assert len(seen) > 10

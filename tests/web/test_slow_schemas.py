"""What takes long to check against an ordinary schema is checked in a child process, and paid for by its account."""

from __future__ import annotations

from typing import Any

import pytest

from common.kit import checker
from common.settings import Settings
from tests import factories
from web.app import create_app

TAGS = {"type": "object", "properties": {"tags": {"type": "array", "items": {"type": "string"}}}}
TURN = {"type": "object", "required": ["role", "text"], "properties": {"role": {"type": "string"}}}
CHAT = {"type": "object", "required": ["turns"], "properties": {"turns": {"type": "array", "items": TURN}}}
CENTS = {"type": "array", "items": {"type": "number", "multipleOf": 0.01}}
STEPS = {"type": "array", "items": {"type": "array", "uniqueItems": True}}


class Caller:
    """An account that asks for quotes, through the application."""

    def __init__(self, settings: Settings) -> None:
        self.customer = factories.keyed(factories.customer(), 1_000_000)
        self.http = create_app(settings).test_client()

    def quote(self, schema: dict[str, Any], value: object) -> tuple[int, list[dict[str, str]]]:
        """The status, and the faults if there are any."""
        tool, headers = factories.tool(input_schema=schema), {"X-API-Key": self.customer.key}
        self.asked = f"{tool.current.id}:input_schema"
        answer = self.http.post(f"/api/v1/tools/{tool.slug}/quote", json={"input": value}, headers=headers)
        return answer.status_code, (answer.json or {}).get("errors", [])

    @property
    def has_used_the_child(self) -> bool:
        """A child knows the schema that was asked for last."""
        return any(child.started and self.asked in child.started._known for child in (checker.first, checker.second))


@pytest.fixture
def caller(db: None, settings: Settings) -> Caller:
    return Caller(settings)


@pytest.mark.parametrize(
    ("schema", "value", "pointers"),
    [
        (TAGS, {"tags": [1] * 3_000}, [f"/input/tags/{n}" for n in range(20)]),
        (CHAT, {"turns": [{}] * 1_000}, [f"/input/turns/{n // 2}" for n in range(20)]),
        (TAGS, {"tags": [1] * 60_000}, ["/input/tags/0"]),
        ({"anyOf": [{"type": "null"}, TAGS]}, {"tags": [1] * 2_000}, ["/input"]),
    ],
    ids=["an array", "objects", "very many", "alternatives"],
)
def test_many_faults_are_listed_apart(
    caller: Caller, schema: dict[str, Any], value: object, pointers: list[str]
) -> None:
    status, faults = caller.quote(schema, value)
    assert (status, [fault["pointer"] for fault in faults]) == (422, pointers)
    assert caller.has_used_the_child


@pytest.mark.parametrize(
    ("schema", "value"),
    [(CENTS, [1e300] * 1_000), (CENTS, [10**300] * 90), (STEPS, [list(range(15))] * 2_000)],
    ids=["fractions", "long numbers", "different items"],
)
def test_slow_keywords_are_checked_apart(caller: Caller, schema: dict[str, Any], value: object) -> None:
    assert caller.quote(schema, value)[0] == 200
    assert caller.has_used_the_child


@pytest.mark.parametrize(
    ("schema", "value", "status"),
    [
        (TAGS, {"tags": ["a"] * 20_000}, 200),
        (TAGS, {"tags": [1] * 40}, 422),
        (CHAT, {"turns": [{"role": "user", "text": "some, text" * 20}] * 8}, 200),
        (CHAT, {"turns": [{"role": 1}]}, 422),
        ({"properties": {"temperature": {"multipleOf": 0.1}}}, {"temperature": 0.7, "text": "a" * 10_000}, 200),
    ],
)
def test_what_is_common_is_checked_in_place(caller: Caller, schema: dict[str, Any], value: object, status: int) -> None:
    assert caller.quote(schema, value)[0] == status
    assert not caller.has_used_the_child

"""A process remembers tools; nobody may see that. What changed elsewhere holds from the next submit on."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from common import tools
from common.errors import BudgetExhausted, NotFound, ToolInputRejected
from common.identity import audit
from common.tools import editing
from tests import factories
from tests.plain import plain

pytestmark = pytest.mark.usefixtures("db")


def held(invocation_id: Any) -> int:
    row = plain(text("select held from invocations where id = :id"), {"id": invocation_id})[0]
    return int(row.held)


def test_a_new_version_holds_its_own_price_and_takes_its_own_input() -> None:
    customer, tool = factories.customer(), factories.tool()
    assert held(customer.submit(tool)) == 10
    strict = {"type": "object", "required": ["text"]}
    price = {"base_tokens": 1, "per_unit": None, "max_tokens": 20}
    editing.change(audit.OPERATOR, tool.id, {"price": price, "input_schema": strict})
    with pytest.raises(ToolInputRejected):
        customer.submit(tool)
    assert held(customer.submit(tool, input={"text": "x"})) == 20


def test_what_the_old_version_refused_is_judged_by_the_new_one() -> None:
    customer, tool = factories.customer(tokens=15), factories.tool(input_schema={"type": "object", "maxProperties": 0})
    with pytest.raises(ToolInputRejected):
        customer.submit(tool, input={"text": "x"})
    price = {"base_tokens": 1, "per_unit": None, "max_tokens": 16}
    editing.change(audit.OPERATOR, tool.id, {"input_schema": {"type": "object"}, "price": price})
    with pytest.raises(BudgetExhausted) as refusal:
        customer.submit(tool, input={"text": "x"})
    assert refusal.value.members["required"] == 16
    editing.change(audit.OPERATOR, tool.id, {"price": {"base_tokens": 1, "per_unit": None, "max_tokens": 12}})
    assert held(customer.submit(tool, input={"text": "x"})) == 12


def test_an_archived_tool_and_a_slug_given_away_are_gone_at_once() -> None:
    customer, tool, other = factories.customer(), factories.tool(), factories.tool()
    customer.submit(tool)
    customer.submit(other)
    moved = f"moved-{uuid4().hex[:8]}"
    editing.change(audit.OPERATOR, tool.id, {"slug": moved})
    with pytest.raises(NotFound):
        customer.submit(tool)
    customer.submit(moved)
    editing.archive(audit.OPERATOR, other.id)
    with pytest.raises(NotFound):
        customer.submit(other)
    assert not tools.is_current(other)

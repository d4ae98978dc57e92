"""Runs of a customer that have ended, written straight into the usage log: the moments of rows are ours to choose."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from common.kit import clock, db
from common.kit.clock import uuid7, uuid7_floor
from tests import factories
from tests.factories import Customer
from tests.usage.ledger import INSERT


def charge(customer: Customer, *amounts: int, at: datetime | None = None, **changes: Any) -> None:
    """A run for each amount of tokens, ended at that moment (now)."""
    ended = at or clock.now()
    tool_id = changes.pop("tool_id", None) or factories.tool().id
    rows = [
        {
            "invocation_id": UUID(int=uuid7_floor(ended).int | uuid4().int >> 56),
            "id": uuid7(),
            "user_id": customer.user_id,
            "period_id": customer.period_id,
            "tool_id": tool_id,
            "api_key_id": None,
            "status": "success",
            "tokens_used": tokens,
            "held": tokens,
            "latency_ms": 20,
            "http_status": 200,
            "created_at": ended,
            **changes,
        }
        for tokens in amounts
    ]
    with db.transaction() as session:
        session.execute(INSERT, rows)

"""One Idempotency-Key is one request, also if a submit and another POST come at once: their rows are in two tables."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from common import budgets, invocations
from common.errors import IdempotencyKeyReused
from common.identity import idempotency
from common.identity.idempotency import Request
from common.kit import clock, failpoints
from common.kit import db as db_kit
from common.operations import ledger
from tests import factories
from tests.budgets import world
from tests.client import eventually
from tests.factories import Customer
from tests.plain import plain
from tests.timing import once

KEY = "order-17"
_WAITING = text(
    "select count(*) as n from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
)


@pytest.fixture(autouse=True)
def _quick(hurried: None) -> None:
    """Nobody waits for what is only on its way."""


def other(customer: Customer) -> Request:
    return Request.of(customer.user_id, KEY, "POST", "/api/v1/webhooks", {"url": "https://example.com"})


def claim(customer: Customer) -> UUID:
    """Another request with the key, from beginning to end: what it made."""
    made = clock.uuid7()
    with db_kit.transaction() as session:
        session.execute(text("set local lock_timeout = 0"))  # it waits however slow the machine is
        earlier = idempotency.claim(session, other(customer), made)
    return earlier.id if earlier else made


#: As the statement of a submit writes it.
_STORED = text("""
insert into idempotency_keys (user_id, key, request_hash, invocation_id) values (:user_id, :key, '-', :made)
""")


def submit(customer: Customer, tool: Any) -> UUID:
    return invocations.submit(customer.caller, tool.slug, factories.order(idempotency_key=KEY)).id


def right(customer: Customer, rows: int) -> None:
    assert len(world.open_rows()) == rows
    fields = budgets.gate(customer.user_id, customer.period_id)
    assert sum(name.startswith("h:") for name in fields) == rows
    assert ledger.verify().differences == ()


def test_another_request_comes_between_a_submits_look_and_its_commit(db: None) -> None:
    customer, tool = factories.customer(), factories.tool()
    with failpoints.calling("web.before_commit", once(lambda: claim(customer))), pytest.raises(IdempotencyKeyReused):
        submit(customer, tool)
    right(customer, 0)
    assert claim(customer) == claim(customer), "the other one replays"


class _RolledBack(Exception):
    pass


@pytest.mark.parametrize("commits", [True, False])
def test_a_submit_waits_for_another_request_that_is_being_carried_out(db: None, commits: bool) -> None:
    customer, tool = factories.customer(), factories.tool()
    with ThreadPoolExecutor(1) as pool, suppress(_RolledBack), db_kit.transaction() as session:
        idempotency.claim(session, other(customer), clock.uuid7())
        waiting = pool.submit(submit, customer, tool)
        eventually("the submit waits", 30, lambda: plain(_WAITING, {})[0].n or waiting.done())
        assert not waiting.done()
        if not commits:
            raise _RolledBack
    if commits:
        with pytest.raises(IdempotencyKeyReused):
            waiting.result(30)
    else:
        assert waiting.result(30) in world.open_rows()
    right(customer, 0 if commits else 1)


def test_another_request_waits_for_a_submit_that_is_being_stored(db: None) -> None:
    customer, tool = factories.customer(), factories.tool()
    made = customer.submit(tool)
    stored = {"user_id": customer.user_id, "key": KEY, "made": made}
    with ThreadPoolExecutor(1) as pool:
        with db_kit.transaction() as session:
            session.execute(_STORED, stored)
            waiting = pool.submit(claim, customer)
            eventually("it waits", 30, lambda: plain(_WAITING, {})[0].n or waiting.done())
            assert not waiting.done()
        with pytest.raises(IdempotencyKeyReused):
            waiting.result(30)


@pytest.mark.parametrize("hours", [24, 26])
def test_a_key_is_anyones_again_after_24_hours(db: None, hours: int) -> None:
    customer, tool = factories.customer(), factories.tool()
    older = f"created_at = created_at - interval '{hours} hours'"
    first = claim(customer)
    for table in ("idempotency_keys", "idempotent_requests"):
        db_kit.rowcount(text(f"update {table} set {older}"), {})
    made = submit(customer, tool)
    assert submit(customer, tool) == made
    with pytest.raises(IdempotencyKeyReused):
        claim(customer)
    db_kit.rowcount(text(f"update idempotency_keys set {older}"), {})
    assert claim(customer) != first
    with pytest.raises(IdempotencyKeyReused):
        submit(customer, tool)
    right(customer, 1)

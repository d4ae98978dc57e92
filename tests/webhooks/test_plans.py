"""Among many deliveries that have long arrived, what asks for the open ones reads nothing else."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from sqlalchemy import text

from common import invocations
from common.kit import db as database
from common.kit import jsonb
from common.operations import figures
from common.webhooks import queue, sweeping, together
from tests.plain import plain
from tests.queue import scale
from tests.webhooks.conftest import sql

DELIVERED = 30_000
#: A month of deliveries, and of open ones: two that wait (one of them not due), one on its way and one that is parked.
_FILL = (
    text("""
with e as (
  insert into events (id, user_id, type, data)
  select uuid7(), gen_random_uuid(), 'budget.threshold', '{}' from generate_series(1, :count) returning id, user_id),
a as (
  insert into deliveries (id, event_id, user_id, endpoint_id, status, finished_at)
  select id, id, user_id, user_id, 'delivered', now() from e returning id)
insert into delivery_attempts (delivery_id, n, at, duration_ms) select id, 1, now(), 1 from a"""),
    text("""
insert into deliveries (id, event_id, user_id, endpoint_id, due_at, token, lease_until, parked)
select uuid7(), gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), now() + make_interval(secs => due),
       case when flies then gen_random_uuid() end, case when flies then now() end, parked
  from (values (-30, false, false), (60, false, false), (-90, true, false), (-60, false, true))
       x(due, flies, parked)"""),
)


@pytest.fixture
def many(db: None) -> None:
    """Filled without looking at the rows that others refer to."""
    with database.transaction() as session:
        session.execute(text("set local session_replication_role = replica"))
        session.execute(_FILL[0], {"count": DELIVERED})
        session.execute(_FILL[1])
    database.rowcount(text("analyze deliveries, delivery_attempts, events"), {})


@pytest.mark.parametrize("generic", [False, True])
@pytest.mark.parametrize("together_", [False, True])
def test_no_claim_reads_those_that_have_arrived(many: None, database_url: str, together_: bool, generic: bool) -> None:
    """With what the body needs; planned for its values or for any."""
    ended = sql("select id, gen_random_uuid() as token, lane from deliveries where token is not null")
    given = jsonb.dumps([{"id": each.id, "token": each.token} for each in ended])
    values = {"given": given, "next_tokens": [each.token for each in ended], "successors": [ended[0].lane]}
    statement = (together._DELIVERED if together_ else queue._CLAIM_NEXT)(invocations.CONTENT)
    with psycopg.connect(database_url) as connection:
        room = {"next_token": ended[0].token, "full": [1], "only": [2]}
        plan = scale.explain(connection, statement, {**values, **room}, generic=generic)
    assert not scale.scanned(plan) & {"deliveries", "delivery_attempts", "events"}, plan


def read_whole(statement: str) -> list[str]:
    """Tables that the statement's plan reads from end to end."""
    found: list[str] = []

    def walk(node: dict[str, Any]) -> None:
        if node["Node Type"] == "Seq Scan":
            found.append(node["Relation Name"])
        for child in node.get("Plans", ()):
            walk(child)

    walk(plain(text(f"explain (format json) {statement}"), {})[0][0][0]["Plan"])
    return found


def test_no_look_at_the_open_ones_reads_those_that_have_arrived(many: None) -> None:
    assert read_whole(figures._DELIVERIES.text) == []
    assert read_whole(sweeping._COUNT_DUE.text) == []


def test_what_is_shown_of_them(many: None) -> None:
    row = database.execute(figures._DELIVERIES, {})[0]
    assert (row.running, row.parked, row.waiting) == (1, 1, 2)
    assert 59 < row.oldest < 90

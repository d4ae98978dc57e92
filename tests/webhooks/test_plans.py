"""Among many deliveries that have long arrived, what asks for the open ones reads nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text

from common.kit import db as database
from common.operations import figures
from common.webhooks import sweeping
from tests.plain import plain

DELIVERED = 30_000
#: A month of deliveries, and of open ones: two that wait (one of them not due), one on its way and one that is parked.
_FILL = (
    text("""
insert into deliveries (id, event_id, user_id, endpoint_id, status, finished_at)
select uuid7(), gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 'delivered', now()
  from generate_series(1, :count)"""),
    text("""
insert into deliveries (id, event_id, user_id, endpoint_id, due_at, token, lease_until, parked)
select uuid7(), gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), now() + make_interval(secs => due),
       case when flies then gen_random_uuid() end, case when flies then now() end, parked
  from (values (-30, false, false), (60, false, false), (-90, true, false), (-60, false, true))
       x(due, flies, parked)"""),
)


@pytest.fixture
def many(db: None) -> None:
    database.rowcount(_FILL[0], {"count": DELIVERED})
    database.rowcount(_FILL[1], {})
    database.rowcount(text("analyze deliveries"), {})


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

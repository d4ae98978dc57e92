"""What a look says is due is what the sweep would do something about: each state of a row, one after the other."""

from __future__ import annotations

from dataclasses import replace
from typing import Final
from uuid import UUID

import pytest
from sqlalchemy import text

from common import invocations
from common.invocations import reclaiming
from common.kit import clock
from common.kit import db as database
from common.operations import polling
from tests import factories
from tests.budgets import world
from tests.factories import GOOD
from tests.plain import plain

NOBODY: Final = clock.uuid7()


@pytest.fixture(autouse=True)
def _alive(db: None) -> None:
    """Processes of earlier tests, whose rows stay."""
    database.rowcount(text("update processes set heartbeat_at = now(), suspect_at = null"), {})


def due() -> set[str]:
    """The kinds of work that there are."""
    seen = polling.look(NOBODY)
    return {kind for kind in ("queue", "deliveries", "schedules") if getattr(seen, kind)}


def put(table: str, changes: str) -> set[str]:
    """What is due once the rows of this table are changed."""
    database.rowcount(text(f"update {table} set {changes}"), {})
    return due()


def test_open_work_is_due_until_a_worker_has_it_and_again_when_it_is_lost(db: None) -> None:
    customer, tool, worker = factories.customer(at_once=1), factories.tool(), factories.worker()
    assert due() == set()
    first = customer.submit(tool)
    assert due() == {"queue"}, "ready: its message may be lost"
    factories.taken(worker)
    assert due() == set(), "it runs"
    waiting = customer.submit(tool)
    assert due() == {"queue"}, "it waits for a slot"
    invocations.cancel(customer.caller, waiting)
    assert due() == set()
    world.shift("lease_expires_at", [first], -3600)
    assert due() == {"queue"}, "its lease is over"
    world.shift("lease_expires_at", [first], 3600)
    assert due() == set()
    invocations.leave(worker.worker)
    assert due() == {"queue"}, "its process has gone"


def test_processes_are_due_when_they_are_silent_and_again_when_they_are_suspect_for_long(db: None) -> None:
    factories.worker()
    assert put("processes", "heartbeat_at = now() - interval '19 seconds'") == set()
    assert put("processes", "heartbeat_at = now() - interval '20 seconds'") == {"queue"}
    reclaiming.reap_dead_processes()
    assert due() == set(), "suspect, for the first time"
    assert put("processes", "suspect_at = now() - interval '10 seconds'") == {"queue"}
    reclaiming.reap_dead_processes()
    assert plain(text("select 1 from processes"), {}) == []
    assert due() == set()


def test_deliveries_are_due_when_their_time_has_come_are_parked_or_have_lost_their_worker(db: None) -> None:
    customer, tool = factories.customer(), factories.tool()
    worker = replace(factories.worker(), take_next=False)
    customer.submit(tool, webhook_url="https://example.com/hook")
    invocations.complete(factories.taken(worker), GOOD, worker)
    assert due() == {"deliveries"}
    assert put("deliveries", "due_at = now() + interval '1 minute'") == set(), "a retry, later"
    assert put("deliveries", "parked = true") == {"deliveries"}
    leased = "parked = false, token = gen_random_uuid(), lease_until = now() + interval '1 minute'"
    assert put("deliveries", leased) == set(), "it is under way"
    assert put("deliveries", "lease_until = now() - interval '1 second'") == {"deliveries"}
    ended = "status = 'delivered', finished_at = now(), token = null, lease_until = null, due_at = now()"
    assert put("deliveries", ended) == set()


def test_schedules_are_due_at_their_time(db: None) -> None:
    customer, tool = factories.customer(), factories.tool()
    made = text("""insert into schedules (id, user_id, tool_id, input, every_seconds, counted_from, next_at, due_at)
                   values (:id, :user_id, :tool_id, '{}', 60, now(), now(), now() + interval '1 minute')""")
    database.rowcount(made, {"id": clock.uuid7(), "user_id": customer.user_id, "tool_id": tool.id})
    assert due() == set()
    assert put("schedules", "due_at = now()") == {"schedules"}
    assert put("schedules", "paused = true, next_at = null, due_at = null") == set()


def test_a_look_shows_what_the_process_holds_and_what_was_canceled(db: None) -> None:
    customer, tool, worker = factories.customer(), factories.tool(), factories.worker()
    made = [customer.submit(tool) for _ in range(2)]
    tokens: dict[UUID, UUID] = {}
    for _ in made:
        task = factories.taken(worker)
        tokens[task.id] = task.token
    invocations.cancel(customer.caller, made[0])
    seen = polling.look(worker.worker)
    assert (sorted(seen.held), seen.canceled) == (sorted(tokens.values()), [tokens[made[0]]])
    assert polling.look(NOBODY).held == []


def test_when_a_table_is_locked_everything_is_due(db: None) -> None:
    """What can be done is done, and nothing that runs is given up."""
    customer, tool, worker = factories.customer(), factories.tool(), factories.worker()
    customer.submit(tool)
    task = factories.taken(worker)
    with database.transaction() as session:
        session.execute(text("lock table schedules in access exclusive mode"))
        with database.private("impatient"):
            plain(text("set lock_timeout = '50ms'"), {})
            seen = polling.look(worker.worker)
    assert (seen.held, seen.queue, seen.deliveries, seen.schedules) == ([task.token], True, True, True)

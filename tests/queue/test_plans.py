"""Among many rows no hot statement reads a table from end to end, planned for its values or for any.

`PLANS_CALLS=1000000 PLANS_QUEUED=100000 pytest -s tests/queue/test_plans.py` prints figures for so many.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import TextClause, text

from common import budgets
from common.budgets import spending, truth
from common.identity.authorization import Caller
from common.invocations import (
    Completion,
    Order,
    admitting,
    canceling,
    claiming,
    completing,
    placing,
    quoting,
    reading,
    reclaiming,
    replaying,
    retrying,
    storing,
    submitting,
    sweeping,
    together,
    views,
)
from common.invocations.choosing import ChosenTool
from common.kit import clock, jsonb
from common.kit import db as database
from common.kit.db import planning
from common.kit.paging import Window
from common.models.invocations import STATUSES
from common.operations import polling
from common.subscriptions import terms
from common.tools import browsing
from tests import factories
from tests.plain import plain
from tests.queue import scale

CALLS = int(os.environ.get("PLANS_CALLS", "30000"))
QUEUED = int(os.environ.get("PLANS_QUEUED", "6000"))
#: Small tables are read whole, and should be; a sequence has one row.
SMALL = {"tools", "tool_versions", "plans", "periods", "grants", "processes", "vt", "watermarks", "webhook_endpoints"}
#: Nothing is in there yet.
SMALL |= {
    "idempotency_keys",
    "idempotent_requests",
    "people",
    "remainders",
    "things",
    "deliveries",
    "schedules",
    "instance",
}

#: Tables that fill, and some are empty at times.
GROWING = ["invocations", "queue", "events", "attempts", "usage_logs", "deliveries", "webhook_endpoints"]


class Many:
    """What the statements are asked about."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self.connection = connection
        self.worker = factories.worker().worker
        self.customers = [factories.customer(None, at_once=100) for _ in range(40)]
        self.tools = [factories.tool() for _ in range(10)]
        scale.fill(connection, calls=CALLS, queued=QUEUED, worker=self.worker)
        self.unused = factories.tool()
        self.first, self.last = (self._owner(order) for order in ("asc", "desc"))
        self.busy = self._row("token is not null")
        self.waiting = self._row("slot is null")
        self.middle = plain(text("select id from invocations order by id offset :n limit 1"), {"n": CALLS // 2})[0].id

    def _owner(self, order: str) -> Any:
        return plain(
            text(f"select user_id, period_id, count(*) as n from usage_logs group by 1, 2 order by n {order} limit 1"),
            {},
        )[0]

    def _row(self, condition: str) -> Any:
        return plain(text(f"select * from queue where {condition} limit 1"), {})[0]


@pytest.fixture(scope="module")
def many(_connected: None, database_url: str, _sweeper: Any, _sweep_statement: bytes) -> Iterator[Many]:
    _sweeper.execute(_sweep_statement)
    with psycopg.connect(database_url) as connection:
        yield Many(connection)
    _sweeper.execute(_sweep_statement)
    _sweeper.execute("vacuum")


def _submit(many: Many) -> dict[str, Any]:
    customer, chosen = many.customers[0], ChosenTool(many.tools[0], 10, requested=many.tools[1])
    caller = Caller(customer.user_id, "user", frozenset(), None, None, email_verified=True)
    hold = budgets.Hold(epoch=2, slot=3, rate=None, server=1)
    row = submitting._row(caller, Order({}, {}, "scale", idempotency_key="k"), chosen, customer.period_id, hold)
    return {**row, "id": clock.uuid7(), "request_hash": "-"}


def _list(many: Many, **changes: Any) -> tuple[TextClause, dict[str, Any]]:
    """What a listing asks of the database."""
    asked: list[Any] = []

    def ask(*statement: Any) -> list[Any]:
        asked.extend(statement)
        return []

    filters = {"owner": many.last.user_id, "window": Window(20, None), **changes}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "fetch_anywhere", ask)
        reading.listing(filters.pop("owner"), filters.pop("window"), **filters)
    return asked[0], asked[1]


def _taking(many: Many) -> dict[str, Any]:
    claimed = {"next_tokens": [clock.uuid7()], "paused": [], "quick": []}
    return {**claimed, "worker": many.worker, "width": 7}


GOOD = Completion("succeeded", {"a": 1}, 3, http_status=200, duration_ms=3)


def _ending(many: Many, row: Any = None, end: Completion = GOOD) -> dict[str, Any]:
    row = row or many.busy
    return {
        **completing.completion_parameters(row.id, end),
        "user_id": row.user_id,
        "token": row.token,
        **_taking(many),
    }


def _ending_together(many: Many) -> dict[str, Any]:
    task = SimpleNamespace(id=many.busy.id, token=many.busy.token, period_id=many.busy.period_id)
    given = jsonb.dumps([together._given(task, GOOD)])  # type: ignore[arg-type]
    tokens = [clock.uuid7() for _ in range(8)]
    return {**_taking(many), "given": given, "next_tokens": tokens, "quick": [many.busy.tool_version_id]}


def _retrying(many: Many) -> dict[str, Any]:
    failure = {"outcome": "tool_failed", "error_detail": "500", "http_status": 500, "last_error": "{}"}
    failure["operator_detail"] = None
    return {**_taking(many), **failure, "id": many.busy.id, "token": many.busy.token, "delay": 1.0, "loss": 0}


def _of(row: Any) -> dict[str, Any]:
    return {"id": row.id, "user_id": row.user_id}


WAITING: dict[str, Any] = {"behind": 1, "paused": [], "limit": 500, "after": UUID(int=0)}

HOT: dict[str, Any] = {
    "submit": (storing.SUBMIT, _submit),
    "key": (replaying.KEY, lambda many: {"user_id": many.first.user_id, "key": "k"}),
    "terms": (terms._TERMS, lambda many: {"user": many.first.user_id}),
    "take": (claiming.CLAIM, _taking),
    "take from the start": (claiming.CLAIM_FROM_THE_START, _taking),
    "end and take": (completing.COMPLETE_AND_CLAIM, _ending),
    "end": (completing.COMPLETE, _ending),
    "end queued": (canceling.COMPLETE_QUEUED, lambda many: _ending(many, many.waiting, Completion("canceled"))),
    "retry and take": (retrying.RETRY_AND_CLAIM, _retrying),
    "sending": (claiming.DISPATCHED, lambda many: {"id": many.busy.id, "token": many.busy.token}),
    "end together": (together.COMPLETE_TOGETHER, _ending_together),
    "give back": (retrying.GIVE_BACK, lambda many: {"ids": [many.busy.id], "tokens": [many.busy.token]}),
    "taken under": (claiming.CLAIMED_UNDER, lambda many: {"tokens": [many.busy.token]}),
    "ended by": (completing.COMPLETED_BY, lambda _: {"token": clock.uuid7()}),
    "retried by": (retrying.RETRIED_BY, lambda _: {"token": clock.uuid7()}),
    "cancel": (canceling.REQUEST_CANCEL, lambda many: _of(many.busy)),
    "in hand": (canceling.HELD, lambda many: {"worker": many.worker}),
    "look": (polling.LOOK, lambda many: {"worker": many.worker}),
    "get": (views.GET, lambda many: {"id": many.middle, "user_id": many.first.user_id}),
    "get many": (views.GET_MANY, lambda many: {"ids": [many.middle, many.busy.id], "payloads": True}),
    "get within": (views.GET_WITHIN, lambda many: {"id": many.middle, "user_id": many.first.user_id, "most": 0}),
    "states": (views.STATES, lambda many: {"ids": [many.middle, many.busy.id]}),
    "what keys hold": (
        spending._HOLDS,
        lambda many: {"user_id": many.last.user_id, "after": UUID(int=0), "limit": 2_000},
    ),
    "last use of tools": (
        browsing.LAST_USED,
        lambda many: {"tools": [tool.id for tool in (*many.tools, many.unused)], "user_id": many.last.user_id},
    ),
    "used": (browsing.USED, lambda many: {"tool_id": many.unused.id, "user_id": many.last.user_id}),
    "charges of a tool": (
        quoting.CHARGES,
        lambda many: {"tool_id": many.tools[3].id, "version_id": many.tools[3].current.id},
    ),
    "slots": (quoting.SLOTS, lambda many: {"period_id": many.last.period_id, "key_id": clock.uuid7(), "paused": []}),
    "slots of few": (quoting.SLOTS, lambda many: {"period_id": many.first.period_id, "key_id": None, "paused": []}),
    "keys": (admitting.KEYS, lambda _: {"after_key": UUID(int=0), "after_period": UUID(int=0), "limit": 500}),
    "waiting for a key": (
        admitting.ROWS,
        lambda many: {**WAITING, "key_id": clock.uuid7(), "period_id": many.last.period_id},
    ),
    "balance, many calls": (truth._BALANCE, lambda many: {"period": many.last.period_id}),
    "balance, few calls": (truth._BALANCE, lambda many: {"period": many.first.period_id}),
    "waiting": (placing.WAITING_ACCOUNTS, lambda _: WAITING),
    "waiting of": (
        placing.WAITING_ROWS,
        lambda many: {"behind": 1, "paused": [], "limit": 500, "period_id": many.last.period_id},
    ),
    "take over lost": (reclaiming.TAKE_OVER_LOST, lambda _: {"limit": 500}),
    "take over own": (reclaiming.TAKE_OVER_OWN, lambda many: {"worker": many.worker, "tokens": [many.busy.token]}),
    "overdue": (sweeping.OVERDUE, lambda _: {"limit": 500, "left": []}),
    "ready": (sweeping.READY, lambda _: {"limit": 100}),
    "lift": (placing.LIFT, lambda _: {"limit": 500}),
    "park paused": (placing.UNPLACE_PAUSED, lambda many: {"limit": 500, "paused": [many.tools[1].id]}),
    "forget keys": (sweeping.FORGET_KEYS, lambda _: {"limit": 500}),
}

#: Of somebody with a quarter of all calls and most of the queue, unless it says otherwise.
LISTS: dict[str, Any] = {
    "first": lambda _: {},
    "deep": lambda many: {"window": Window(20, (many.middle,))},
    "of few calls": lambda many: {"owner": many.first.user_id},
    "of few calls, deep": lambda many: {"owner": many.first.user_id, "window": Window(20, (many.middle,))},
    "everybody's": lambda _: {"owner": None},
    "everybody's, deep": lambda many: {"owner": None, "window": Window(20, (many.middle,))},
    "everybody's failed": lambda _: {"owner": None, "statuses": ["failed"]},
    "everybody's running": lambda _: {"owner": None, "statuses": ["running"]},
    "everybody's queued, by tool": lambda many: {"owner": None, "statuses": ["queued"], "tool": many.tools[3].slug},
    "everybody's, by tool": lambda many: {"owner": None, "tool": many.tools[3].slug},
    "queued": lambda _: {"statuses": ["queued"]},
    "queued, deep": lambda many: {"statuses": ["queued"], "window": Window(20, (many.waiting.id,))},
    "running": lambda _: {"statuses": ["running"]},
    "succeeded": lambda _: {"statuses": ["succeeded"]},
    "failed": lambda _: {"statuses": ["failed"]},
    "failed, deep": lambda many: {"statuses": ["failed"], "window": Window(20, (many.middle,))},
    "expired (none)": lambda _: {"statuses": ["expired"]},
    "failed, canceled, running": lambda _: {"statuses": ["failed", "canceled", "running"]},
    "every status": lambda _: {"statuses": list(STATUSES)},
    "by tool": lambda many: {"tool": many.tools[3].slug},
    "by tool, deep": lambda many: {"tool": str(many.tools[3].id), "window": Window(20, (many.middle,))},
    "by a tool never called": lambda many: {"tool": many.unused.slug},
    "failed, by tool": lambda many: {"statuses": ["failed"], "tool": many.tools[3].slug},
    "before a time": lambda _: {"end": datetime.now(UTC) - timedelta(days=11)},
    "since a time": lambda _: {"start": datetime.now(UTC) - timedelta(days=1)},
    "failed, before a time": lambda _: {"statuses": ["failed"], "end": datetime.now(UTC) - timedelta(days=11)},
    "by time": lambda _: {
        "start": datetime.now(UTC) - timedelta(days=12),
        "end": datetime.now(UTC) - timedelta(days=11),
    },
}


def _shown(name: str, statement: TextClause, values: dict[str, Any], many: Many) -> None:
    for generic in (False, True):
        plan = scale.explain(many.connection, statement, values, generic=generic)
        milliseconds, blocks = scale.cost(plan)
        print(f"{name:28} {'generic' if generic else 'custom':8} {milliseconds:9.3f} ms {blocks:7} blocks")
        assert scale.scanned(plan) <= SMALL, plan


@pytest.mark.parametrize("name", HOT)
def test_no_hot_statement_reads_a_table_from_end_to_end(many: Many, name: str) -> None:
    statement, values = HOT[name]
    _shown(name, statement, values(many), many)


_EMPTY = """
update pg_class set relpages = 0, reltuples = 0
 where oid in (select t from unnest(cast(%(tables)s as regclass[])) t
               union select indexrelid from pg_index where indrelid = any(cast(%(tables)s as regclass[])))
"""


@pytest.mark.parametrize("name", HOT)
def test_none_will_because_a_table_was_empty_when_it_was_planned(many: Many, name: str) -> None:
    """A session keeps a plan until PostgreSQL looks at the table again, up to a minute after it has filled."""
    statement, values = HOT[name]
    given = values(many)
    try:
        many.connection.execute(f"truncate {', '.join(GROWING)} cascade")
        many.connection.execute(_EMPTY, {"tables": GROWING})
        for setting, value in planning.PLANNING.items():
            many.connection.execute(f"set local {setting} = {value}")
        many.connection.execute("set local plan_cache_mode = force_generic_plan")
        plan = "\n".join(row[0] for row in scale.explained(many.connection, statement, given, "costs off"))
    finally:
        many.connection.rollback()
    assert not scale.scanned(plan) & set(GROWING), plan


_NEVER_ANALYZED = """
delete from pg_statistic where starelid = 'queue'::regclass;
update pg_class set relpages = 0, reltuples = -1 where oid = 'queue'::regclass;
update pg_class set relpages = 1, reltuples = 0
 where oid in (select indexrelid from pg_index where indrelid = 'queue'::regclass)
"""


@pytest.mark.parametrize("name", ["take", "take from the start", "end and take", "retry and take", "end together"])
def test_none_sorts_all_that_is_ready_because_the_queue_was_never_analyzed(many: Many, name: str) -> None:
    """PostgreSQL believes then that a few of its rows are ready, however many there are."""
    statement, values = HOT[name]
    given = values(many)
    try:
        many.connection.execute(_NEVER_ANALYZED)
        for setting, value in {**planning.IN_ORDER, "plan_cache_mode": "force_generic_plan"}.items():
            many.connection.execute(f"set local {setting} = {value}")
        plan = "\n".join(row[0] for row in scale.explained(many.connection, statement, given, "costs off"))
    finally:
        many.connection.rollback()
    assert "Index Scan using ix_queue_ready on queue" in plan
    assert "Sort Key: queue" not in plan, plan


def test_the_sessions_of_a_process_plan_so(db: None) -> None:
    assert plain(text("show jit"), {})[0][0] == "off", "it would compile what seems to cost much"
    for name, value in planning.PLANNING.items():
        assert plain(text(f"show {name}"), {})[0][0] == value
    for name in planning.IN_ORDER:
        with database.snapshot() as session:
            database.without_timeout(session)
            assert session.execute(text(f"show {name}")).scalar_one() == "on", "it may read whole tables"


@pytest.mark.parametrize("name", LISTS)
def test_no_list_reads_a_table_from_end_to_end(many: Many, name: str) -> None:
    statement, values = _list(many, **LISTS[name](many))
    _shown(f"list: {name}", statement, values, many)


_LARGE = """
update pg_class set reltuples = reltuples * 100
 where 'invocations'::regclass in (oid, (select indrelid from pg_index where indexrelid = oid))
"""


@pytest.mark.parametrize("name", LISTS)
def test_a_list_is_not_planned_anew_each_time(many: Many, name: str) -> None:
    """Which takes longer than reading a page; also where the planner believes in a hundred times as many rows."""
    statement, values = _list(many, **LISTS[name](many))
    try:
        many.connection.execute(_LARGE)
        assert scale.planned_once(many.connection, statement, values)
    finally:
        many.connection.rollback()

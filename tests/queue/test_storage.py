"""A plan's quota of stored input and output: refused beyond it, and what is dropped makes room."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import psycopg
import pytest
from flask.testing import FlaskClient
from sqlalchemy import text

from common import invocations, subscriptions
from common.errors import StorageExhausted
from common.identity import keys
from common.identity.audit import OPERATOR
from common.invocations import Completion, storage
from common.kit import clock, db
from common.settings import Settings
from common.subscriptions import plans
from tests import factories
from tests.factories import Customer
from tests.plain import plain
from tests.queue import scale
from web.app import create_app
from worker import sweeper


class Passing(clock.Clock):
    """As much later as it is told to be."""

    later = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.later


@pytest.fixture
def time() -> Iterator[Passing]:
    passing = Passing()
    before = clock.use(passing)
    yield passing
    clock.use(before)


def quota(customer: Customer, size: int | None) -> Customer:
    plans.edit(customer.plan, {"max_payload_bytes": size}, actor=OPERATOR)
    subscriptions.forget_terms(customer.user_id)
    return customer


@pytest.fixture
def customer(db: None) -> Customer:
    return quota(factories.customer(), 100_000)


def full(customer: Customer, tool: str) -> bool:
    try:
        customer.submit(tool, input="x")
    except StorageExhausted:
        return True
    return False


def test_a_submit_beyond_the_quota_is_refused_and_leaves_no_trace(customer: Customer, settings: Settings) -> None:
    client: FlaskClient = create_app(settings).test_client()
    tool, headers = factories.tool(input_schema={}).slug, {}
    headers["X-API-Key"] = keys.create(customer.user_id, "storing", actor=OPERATOR)[1]

    def submit() -> tuple[int, dict[str, object]]:
        answer = client.post(f"/api/v1/tools/{tool}/invoke", json={"input": "x" * 60_000}, headers=headers)
        return answer.status_code, answer.json or {}

    assert [submit()[0] for _ in range(2)] == [202, 202]
    status, problem = submit()
    assert (status, problem["code"], problem["limit"]) == (402, "storage_exhausted", 100_000)
    assert problem["stored"] == 120_004
    held = plain(text("select count(*) as n from queue"), {})[0].n
    batch = {"items": [{"tool": tool, "input": 1}]}
    [item] = client.post("/api/v1/invocations/batch", json=batch, headers=headers).json["data"]  # type: ignore[index]
    assert (item["status"], item["problem"]["code"]) == (402, "storage_exhausted")
    assert plain(text("select count(*) as n from queue"), {})[0].n == held == 2


def test_outputs_count_and_other_processes_submits_too(customer: Customer, time: Passing) -> None:
    tool, me = factories.tool(input_schema={}).slug, replace(factories.worker(), take_next=False)
    customer.submit(tool, input="x")
    invocations.complete(
        factories.taken(me), Completion("succeeded", "y" * 200_000, 1, http_status=200, duration_ms=1), me
    )
    time.later += storage.LONG
    assert full(customer, tool)
    assert not full(factories.customer(), tool), "without a quota of its own a plan has the settings'"


def test_what_is_dropped_makes_room(customer: Customer, time: Passing) -> None:
    tool = factories.tool(input_schema={}).slug
    made = customer.submit(tool, input="x" * 150_000)
    invocations.cancel(customer.caller, made)
    sweeper.run("measure-payloads")
    time.later += storage.LONG
    assert full(customer, tool)
    plain(text("update invocations set input = null, input_bytes = null where id = :id returning 1"), {"id": made})
    sweeper.run("measure-payloads")
    time.later += storage.SHORT
    assert not full(customer, tool)


def test_what_was_measured_is_not_counted_twice(customer: Customer, time: Passing) -> None:
    tool = factories.tool(input_schema={}).slug
    quota(customer, 200_000)
    customer.submit(tool, input="x" * 60_000)
    sweeper.run("measure-payloads")
    sweeper.run("measure-payloads")
    customer.submit(tool, input="x" * 60_000)
    time.later += storage.LONG
    assert not full(customer, tool)
    assert int(db.execute(storage._STORED, {"user_id": customer.user_id})[0].bytes) < 120_100


def test_no_quota(customer: Customer) -> None:
    subscriptions.configure(None)
    quota(customer, None)
    tool = factories.tool(input_schema={}).slug
    assert not full(customer, tool)
    subscriptions.configure(1)
    quota(customer, None)
    assert full(customer, tool), "the setting holds where the plan says nothing"
    subscriptions.configure(None)


#: Blocks that a look reads when nothing is new.
MOST_BLOCKS = 50


def test_a_long_history_is_caught_up_with_in_steps(customer: Customer, database_url: str) -> None:
    """As after an upgrade, or an hour of many submits: nothing is read twice, and no submit reads everything."""
    first, many = customer.submit(factories.tool(input_schema={}).slug, input="x"), 5 * storage.READ // 2
    with db.transaction() as session:
        session.execute(text("set local session_replication_role = replica"))
        session.execute(_HISTORY, {"like": first, "many": many})
    reads = [db.execute(storage._STORED, {"user_id": customer.user_id})[0] for _ in range(4)]
    assert [(int(read.bytes), read.all) for read in reads] == [
        (10 * storage.READ, False),
        (20 * storage.READ, False),
        (10 * many + 3, True),
        (10 * many + 3, True),
    ]
    sweeper.run("measure-payloads")
    assert int(db.execute(storage._STORED, {"user_id": customer.user_id})[0].bytes) == 10 * many + 3
    with psycopg.connect(database_url) as connection:
        connection.execute("set session_replication_role = replica")
        ((columns,),) = connection.execute(_COLUMNS).fetchall()
        connection.execute(_OLDER.format(columns=columns))
        connection.execute("analyze invocations")
        for generic in (False, True):
            plan = scale.explain(connection, storage._STORED, {"user_id": customer.user_id}, generic=generic)
            assert scale.cost(plan)[1] < MOST_BLOCKS, plan


def test_what_was_dropped_is_not_read_again(customer: Customer, database_url: str) -> None:
    """With a retention period, what is measured is what is kept."""
    first = customer.submit(factories.tool(input_schema={}).slug, input="x")
    with db.transaction() as session:
        session.execute(text("set local session_replication_role = replica"))
        session.execute(_HISTORY, {"like": first, "many": 5_000})
    assert invocations.drop_payloads(0) == 5_000
    customer.submit(factories.tool(input_schema={}).slug, input="xy")
    sweeper.run("measure-payloads")
    assert [row.bytes for row in plain(text("select bytes from stored_payloads"), {})] == [3 + 4]
    dropped = plain(storage._DROPPED, {})[0][0]
    with psycopg.connect(database_url) as connection:
        connection.execute("analyze invocations")
        plan = scale.explain(connection, storage._MEASURE, {"dropped": dropped}, generic=False)
        assert scale.cost(plan)[1] < MOST_BLOCKS, plan


_HISTORY = text("""
insert into invocations (id, user_id, period_id, tool_id, tool_version_id, status, input, input_bytes, held, charged,
                         attempts, request_id, created_at, started_at, finished_at, expires_at)
select overlay(uuid7_floor(at)::text placing right(md5(n::text)::uuid::text, 22) from 15)::uuid, user_id, period_id,
       tool_id, tool_version_id, 'succeeded', input, 10, held, 0, 1, n::text, at, at, at, expires_at
  from invocations i, generate_series(1, :many) n,
       lateral (select now() - interval '1 day' + n * interval '1 ms' as at) x
 where i.id = :like
""")
#: Twenty times as much, from before.
_OLDER = """
insert into invocations (id, {columns})
select overlay(id::text placing '00' || to_hex(n + 16) from 1 for 4)::uuid, {columns}
  from invocations, generate_series(0, 19) n where status <> 'open'
"""
_COLUMNS = """
select string_agg(quote_ident(attname), ', ') from pg_attribute
 where attrelid = 'invocations'::regclass and attnum > 0 and not attisdropped and attname <> 'id'
"""

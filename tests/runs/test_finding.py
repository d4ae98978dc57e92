"""Among many rows each filter is answered by an index, planned for its values or for any, and costs others nothing.

`PLANS_CALLS=200000 pytest -s tests/runs/test_finding.py` prints figures for so many.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

import psycopg
import pytest

from common import invocations
from common.invocations import Filters, Matching, completing, failure_groups, lists, placing, storing
from common.kit import clock
from common.kit import db as database
from common.kit.paging import Window
from common.models import finding
from tests.queue import scale
from tests.queue.test_plans import SMALL, Many, _ending, _list, _submit

KEYS = 50
#: More is read when a filter walks through an account's rows.
MOST_BLOCKS = 1_000

_LABEL = """
set session_replication_role = replica;
with n as (select id, user_id, row_number() over (order by id) as n from invocations)
update invocations i
   set metadata = case when n.n = 77 then '{"order": "7", "env": "prod"}'::jsonb
                       when n.n % 100 = 1 then '{"env": "prod", "team": "seldom"}'
                       when n.n % 10 = 0 then '{"env": "test"}' else '{"env": "prod"}' end,
       end_user = case when n.n % 2 = 0 then 'user-' || n.n % 1000 end,
       api_key_id = lpad(to_hex(n.n % %(keys)s), 32, '0')::uuid,
       request_id = case when n.n % 2 = 0 then 'client-' || n.n else replace(i.id::text, '-', '') end,
       rerun_of = case when n.n % 1000 = 0 then i.id end,
       created_at = i.created_at + skew.by, started_at = i.started_at + skew.by, finished_at = i.finished_at + skew.by
  from n cross join lateral (
       select interval '1 second' * case n.n % 49 when 7 then 40 when 9 then -1800 when 13 then 2000 when 14 then 9.9
                                                  when 15 then -9.9 else 0 end as by) skew
 where n.id = i.id;
insert into metadata_terms (term, invocation_id)
select unnest(invocation_terms(user_id, metadata)), id from invocations;
set session_replication_role = origin;
"""


class Found(Many):
    """Somebody with a quarter of all calls, which have everything that is looked for."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        super().__init__(connection)
        connection.execute(_LABEL.replace("%(keys)s", str(KEYS)))
        connection.commit()
        connection.autocommit = True
        connection.execute("vacuum analyze invocations, metadata_terms")
        connection.autocommit = False


@pytest.fixture(scope="module")
def many(_connected: None, database_url: str, _sweeper: Any, _sweep_statement: bytes) -> Iterator[Found]:
    _sweeper.execute(_sweep_statement)
    with psycopg.connect(database_url) as connection:
        yield Found(connection)
    _sweeper.execute(_sweep_statement)
    _sweeper.execute("vacuum")


def _last(many: Found, what: str, where: str) -> Any:
    query = f"select {what} from invocations where user_id = %s and {where} order by id limit 1"
    row = many.connection.execute(query, (many.last.user_id,)).fetchone()
    assert row is not None
    return row[0]


MATCHING: dict[str, Any] = {
    "a client's request id": lambda many: Matching(request_id=_last(many, "request_id", "request_id like 'client%%'")),
    "a request id of our own": lambda many: Matching(request_id=_last(many, "request_id", "request_id ~ '^0'")),
    "an unknown request id": lambda _: Matching(request_id="nothing"),
    "metadata, common": lambda _: Matching(metadata={"env": "prod"}),
    "metadata, one in a hundred": lambda _: Matching(metadata={"team": "seldom"}),
    "metadata, common and one in a hundred": lambda _: Matching(metadata={"env": "prod", "team": "seldom"}),
    "metadata, rare": lambda _: Matching(metadata={"order": "7"}),
    "metadata, unknown": lambda _: Matching(metadata={"order": "8"}),
    "api key": lambda many: Matching(api_key=_last(many, "api_key_id", "true")),
    "an unknown api key": lambda _: Matching(api_key=clock.uuid7()),
    "end user": lambda many: Matching(end_user=_last(many, "end_user", "end_user is not null")),
    "an unknown end user": lambda _: Matching(end_user="nobody"),
    "error": lambda _: Matching(error="tool_failed"),
    "an error that never was": lambda _: Matching(error="worker_lost"),
    "rerun of": lambda many: Matching(rerun_of=_last(many, "rerun_of", "rerun_of is not null")),
    "idempotency key": lambda _: Matching(idempotency_key="k"),
}


def _shown(name: str, statement: Any, values: dict[str, Any], many: Found) -> None:
    for generic in (False, True):
        plan = scale.explain(many.connection, statement, values, generic=generic)
        milliseconds, blocks = scale.cost(plan)
        print(f"{name:36} {'generic' if generic else 'custom':8} {milliseconds:9.3f} ms {blocks:7} blocks")
        assert scale.scanned(plan) <= SMALL, plan
        assert blocks < MOST_BLOCKS, plan


@pytest.mark.parametrize("page", ["first", "deep"])
@pytest.mark.parametrize("name", MATCHING)
def test_no_filter_walks_through_everything(many: Found, name: str, page: str) -> None:
    window = Window(20, (many.middle,) if page == "deep" else None)
    statement, values = _list(many, matching=MATCHING[name](many), window=window)
    _shown(f"{name}, {page}", statement, values, many)


def test_failures_that_no_sum_has_seen_are_counted_from_their_index(many: Found) -> None:
    now = datetime.now(UTC)
    values = failure_groups.parameters(many.last.user_id, Window(20), now - timedelta(days=30), now)
    for generic in (False, True):
        plan = scale.explain(many.connection, failure_groups.GROUPS, values, generic=generic)
        assert "Index Only Scan using ix_invocations_user_id_error_code_id" in plan
        assert "invocations" not in scale.scanned(plan), plan
        assert scale.cost(plan)[1] < MOST_BLOCKS, plan


RANGES: dict[str, tuple[dict[str, Any], str]] = {
    "any": ({}, "true"),
    "failed": ({"statuses": ["failed"]}, "status = 'failed'"),
    "ended badly": ({"statuses": ["failed", "canceled", "expired"]}, "status in ('failed', 'canceled')"),
    "succeeded": ({"statuses": ["succeeded"]}, "status = 'succeeded'"),
    "one in ten": ({"matching": Matching(metadata={"env": "test"})}, """metadata = '{"env": "test"}'"""),
    "an error": ({"matching": Matching(error="tool_failed")}, "error_code = 'tool_failed'"),
}


@pytest.mark.parametrize("name", RANGES)
def test_a_range_of_times_has_all_rows_whichever_clock_made_their_ids(many: Found, name: str) -> None:
    """Ids and times differ by up to half an hour; pages hang together."""
    given, condition = RANGES[name]
    found = many.connection.execute(
        f"select id, created_at from invocations where user_id = %s and {condition} order by id desc",
        (many.last.user_id,),
    ).fetchall()
    random, now = Random(name), datetime.now(UTC)
    skewed = [at for id_, at in found if abs(clock.made_at(id_) - at.timestamp()) > 10]
    for _ in range(12):
        start, end = sorted(random.choices(skewed, k=2))
        end += timedelta(microseconds=1)
        bounds: dict[str, Any] = random.choice([{"start": start}, {"end": end}, {"start": start, "end": end}])
        latest = now + timedelta(hours=1)
        wanted = [id_ for id_, at in found if bounds.get("start", at) <= at < bounds.get("end", latest)]
        window, got = Window(50), list[UUID]()
        for _ in range(3):
            page = invocations.listing(many.last.user_id, window, payloads=False, **given, **bounds)
            got += [each.id for each in page.items]
            if page.next is None:
                break
            window = Window(50, page.next)
        assert got == wanted[:150]


def test_a_time_is_looked_for_where_it_is(many: Found) -> None:
    """Not in the hour after it."""
    statement, values = _list(many, end=datetime.now(UTC) - timedelta(days=5))
    for generic in (False, True):
        plan = scale.explain(many.connection, statement, values, generic=generic)
        removed = [int(n) for n in re.findall(r"Rows Removed by Filter: (\d+)", plan)]
        assert sum(removed) <= 2, plan
        assert "ix_invocations_skewed" in plan


def test_open_work_is_found_in_the_queue(many: Found) -> None:
    given = Filters(many.first.user_id, matching=Matching(end_user="user-2"))
    statement = lists.open_work(lists.Kind.of(given))
    _shown("open work", statement, {**given.parameters(), "below": given.high, "limit": 1000}, many)


def _records(many: Found, statement: Any, values: dict[str, Any], *, indexed: bool) -> int:
    """How many entries of the write-ahead log it makes for `invocations`: one for each entry of an index, among others.

    Leaves nothing behind.
    """
    try:
        if not indexed:
            for index in finding.FOUND_BY:
                many.connection.execute(f"drop index {index.name}")
        plan = scale.explained(many.connection, statement, values, "analyze, wal, format json")
        (written,) = _writes(plan[0][0][0]["Plan"])
        assert written["WAL Records"], "nothing was written"
        return int(written["WAL Records"])
    finally:
        many.connection.rollback()


def _writes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if node["Node Type"] == "ModifyTable" and node["Relation Name"] == "invocations":
        yield node
    for inner in node.get("Plans", []):
        yield from _writes(inner)


def _cost(many: Found, statement: Any, values: dict[str, Any]) -> int:
    """How many entries the indexes of this page add."""
    with_, without = (_records(many, statement, values, indexed=indexed) for indexed in (True, False))
    print(f"{with_} entries of the log, {without} without the indexes")
    return with_ - without


def test_a_submit_writes_no_entry_for_what_it_does_not_have(many: Found) -> None:
    """Through a session, with the request id that we make, without labels."""
    made, submitted = clock.uuid7(), _submit(many)
    (state,) = database.execute(placing.PERIOD_STATE, {"id": submitted["period_id"]})
    plain = {**submitted, "id": made, "request_id": made.hex, "epoch": state.epoch, "server": state.server}
    assert _cost(many, storing.SUBMIT, plain) == 0
    assert _cost(many, storing.SUBMIT, {**plain, "request_id": "mine"}) == 1
    assert _cost(many, storing.SUBMIT, {**plain, "api_key_id": clock.uuid7()}) == 1
    assert _cost(many, storing.SUBMIT, {**plain, "end_user": "ada"}) == 1


def test_a_success_writes_no_entry(many: Found) -> None:
    """An update in place (heap-only), or one that is none for other reasons: these indexes add nothing."""
    values = _ending(many)
    many.connection.execute("set session_replication_role = replica")
    many.connection.execute(
        "update invocations set metadata = '{}', end_user = null, api_key_id = null, rerun_of = null,"
        " request_id = replace(id::text, '-', '') where id = %s",
        (many.busy.id,),
    )
    many.connection.commit()
    assert _cost(many, completing.COMPLETE, values) == 0

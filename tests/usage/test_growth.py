"""What is read does not grow with what was used: counted by PostgreSQL in rows, not in time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import event, text

from common import usage
from common.kit import db as kit
from common.kit.paging import Window
from tests.usage.ledger import START, Ledger, rolled_up

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
#: The first entries of an hour lie behind where a range cuts it.
SINCE = START.replace(minute=10)
UNTIL = SINCE + 40 * DAY
FEW, MANY = 2, 60
Asked = list[tuple[str, Any]]

#: So many entries in each hour of 42 days, three in five of them with the key.
_FILL = text("""
insert into usage_logs (invocation_id, id, user_id, period_id, tool_id, tool_version_id, api_key_id, status,
                        tokens_used, held, latency_ms, http_status, created_at)
select uuid7(), uuid7(), :user, :period, :tool, :tool, case when n % 5 < 3 then cast(:key as uuid) end,
       case when n % 2 = 0 then 'success' else 'error' end, (n % 2 = 0)::integer, 1, 40 * (n % 2), 200,
       cast(:start as timestamptz) + make_interval(hours => h, mins => 15, secs => n * 10)
  from generate_series(0, 24 * 42) h, generate_series(0, :several - 1) n
""")


def filled(several: int) -> Ledger:
    """An account with the same hours, days, tools, keys and statuses as another, and `several` entries in each hour."""
    ledger = Ledger()
    with kit.transaction() as session:
        values = {"user": ledger.user_id, "period": ledger.period_id, "key": ledger.key, "several": several}
        session.execute(_FILL, {**values, "tool": ledger.tools["echo"], "start": START.replace(minute=0, second=0)})
    return ledger


@contextmanager
def listening() -> Iterator[Asked]:
    """The statements that are sent inside the block."""
    asked: Asked = []

    def hear(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        asked.append((statement, parameters))

    event.listen(kit.engine(), "before_cursor_execute", hear)
    yield asked
    event.remove(kit.engine(), "before_cursor_execute", hear)


def rows_read(question: Callable[[], object]) -> Counter[str]:
    """How many rows of each kind of table PostgreSQL looks at to answer, whether it uses them or not.

    By indexes: tables as small as these it would rather read whole.
    """
    with listening() as asked:
        question()
    read: Counter[str] = Counter()
    with kit.engine().connect() as connection:
        connection.exec_driver_sql("set local enable_seqscan = off")
        for statement, parameters in asked:
            plan = connection.exec_driver_sql(f"explain (analyze, format json) {statement}", parameters).scalar_one()
            _count(plan[0]["Plan"], read)
    return read


def blocks_read(question: Callable[[], object]) -> int:
    """How many blocks of tables and indexes PostgreSQL looks at to answer."""
    with listening() as asked:
        question()
    found = 0
    with kit.engine().connect() as connection:
        for statement, parameters in asked:
            query = f"explain (analyze, buffers, format json) {statement}"
            plan = connection.exec_driver_sql(query, parameters).scalar_one()[0]["Plan"]
            found += plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
    return found


def _count(node: dict[str, Any], read: Counter[str]) -> None:
    if "Relation Name" in node:
        table = "usage_logs" if node["Relation Name"].startswith("usage_logs") else node["Relation Name"]
        rows = (
            node["Actual Rows"] + node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
        )
        read[table] += round(rows * node["Actual Loops"])
    for below in node.get("Plans", ()):
        _count(below, read)


@pytest.fixture
def accounts(db: None) -> tuple[Ledger, Ledger]:
    """Two accounts that differ in nothing but how much they used: their entries are 1 : 30."""
    both = filled(FEW), filled(MANY)
    rolled_up(200_000)
    with kit.engine().connect() as connection:
        connection.exec_driver_sql("analyze usage_logs, usage_rollups, usage_points")
        connection.commit()
    return both


def test_a_summary_reads_as_many_rows_as_there_are_units(accounts: tuple[Ledger, Ledger]) -> None:
    for bucket, group_by in (("hour", None), ("day", None), ("month", None), ("day", "tool"), ("month", "api_key")):
        few, many = (
            rows_read(partial(usage.summary, each.user_id, SINCE, UNTIL, bucket=bucket, group_by=group_by))
            for each in accounts
        )
        assert few["usage_logs"] == many["usage_logs"] == 0, (bucket, group_by)
        assert few["usage_points"] == many["usage_points"] > 40
        units = 41 + 24 * 41 * (bucket == "hour")
        assert few["usage_points"] <= 2 * (units + 48)
        cells = 4 if group_by else 0
        assert few["usage_rollups"] * MANY >= many["usage_rollups"] * FEW
        assert many["usage_rollups"] <= cells * (41 + 48)


def test_a_month_in_which_nothing_is_outside_the_range_counts_whole(accounts: tuple[Ledger, Ledger]) -> None:
    """As this month does until now, whatever the hour, and the first one since an account began."""
    ends = SINCE - DAY, START + 43 * DAY + HOUR / 2
    for group_by, cells in ((None, 0), ("tool", 4)):
        read = rows_read(partial(usage.summary, accounts[1].user_id, *ends, bucket="month", group_by=group_by))
        assert read["usage_points"] <= 2 * len(("October", "November", "December")), "in the total, and as points"
        assert read["usage_rollups"] <= 2 * 3 * cells  # of both accounts, if it reads them by time
        assert read["usage_logs"] == 0


def test_a_page_reads_its_own_rows(accounts: tuple[Ledger, Ledger]) -> None:
    for ledger in accounts:
        deep = usage.history(ledger.user_id, Window(999)).next
        for window in (Window(20), Window(20, deep)):
            assert rows_read(partial(usage.history, ledger.user_id, window))["usage_logs"] <= 2 * 21


def test_a_status_that_never_occurs_is_not_looked_for_among_the_others(accounts: tuple[Ledger, Ledger]) -> None:
    never = usage.Filter(statuses=frozenset(["timeout", "expired"]))
    few, many = (blocks_read(partial(usage.history, each.user_id, Window(20), never)) for each in accounts)
    assert many <= 1.5 * few

"""Failures in groups are sums of what was rolled up and of what was not: always what the rows say, and flat."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import psycopg
import pytest
from sqlalchemy import text

from common import invocations, usage
from common.invocations import failure_groups, failure_sums
from common.kit import clock
from common.kit import db as kit
from common.kit.paging import Window
from common.operations import ledger
from tests import factories
from tests.plain import plain
from tests.queue import scale
from tests.usage.ledger import beside_a_new_month

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
CODES = ("tool_failed", "tool_timeout", "worker_lost")

_FAILED = """
with x as (
  select md5(%(seed)s::text || n) as seed, n,
         %(last)s::timestamptz - %(span)s::interval * power((n + 0.5) / %(several)s, %(power)s::float8) as moment
    from generate_series(0, %(several)s - 1) n),
calls as (
  select overlay(uuid7_floor(moment + make_interval(secs => %(skew)s * (n %% 3 - 1)))::text
                 placing right(seed::uuid::text, 22) from 15)::uuid as id,
         moment, n, (%(tools)s::uuid[])[1 + n %% 2] as tool_id, (%(codes)s::text[])[1 + n %% 3] as code from x),
made as (
  insert into invocations (id, user_id, period_id, tool_id, tool_version_id, status, held, charged, attempts,
                           request_id, created_at, started_at, finished_at, expires_at, error_code, is_failure,
                           failure, requested_tool_id)
  select id, %(user)s, %(period)s, tool_id, tool_id, 'failed', 5, 0, 1, 'many', moment, moment, moment, moment, code,
         true, 'failed', case when n %% 5 = 0 then %(asked)s::uuid end from calls)
insert into usage_logs (invocation_id, id, user_id, period_id, tool_id, tool_version_id, status, tokens_used, held,
                        created_at)
select id, id, %(user)s, %(period)s, tool_id, tool_id, case code when 'tool_timeout' then 'timeout' else 'error' end, 0,
       5, moment + interval '2 hours' from calls
"""
_COUNTED = text("""
select tool_id, error_code as code, count(*) as number, min(created_at) as first, max(created_at) as last,
       max(id::text)::uuid as last_id,
       sum(coalesce((select v.max_tokens from tools t join tool_versions v on v.tool_id = t.id and v.version = t.version
                      where t.id = coalesce(i.requested_tool_id, i.tool_id)), 0))::bigint as again
  from invocations i
 where user_id = :user and error_code is not null and created_at >= :since and created_at < :until
 group by 1, 2 order by last_id desc
""")


class Failing:
    """An account whose invocations fail, by two tools and three errors; one in five ran as the fallback of a third."""

    def __init__(self, url: str) -> None:
        self.url, self.customer, self.seed = url, factories.customer(), 0
        self.tools = [factories.tool(price={"base_tokens": n, "per_unit": None, "max_tokens": n}) for n in (3, 5, 11)]

    def fail(self, several: int, *, span: timedelta = HOUR, last: datetime | None = None, power: float = 1.0) -> None:
        """So many, spread over the time before `last` (default: now); a higher `power` has more of them late."""
        self.seed += 1
        values = {
            "user": self.customer.user_id,
            "period": self.customer.period_id,
            "tools": [tool.id for tool in self.tools[:2]],
            "asked": self.tools[2].id,
            "codes": list(CODES),
            "seed": self.seed,
            "skew": 40,
        }
        when = {"span": span, "last": last or datetime.now(UTC), "several": several, "power": power}
        with psycopg.connect(self.url) as connection:
            connection.execute("set session_replication_role = replica")
            connection.execute(_FAILED, {**values, **when})

    def check(self, since: datetime, until: datetime) -> None:
        """The groups are what the rows say."""
        found = invocations.failures(self.customer.user_id, Window(50), start=since, end=until).items
        shown = [(g.tool_id, g.code, g.number, g.first, g.last, g.last_id, g.max_rerun_tokens) for g in found]
        assert shown == [
            tuple(row) for row in plain(_COUNTED, {"user": self.customer.user_id, "since": since, "until": until})
        ]


@pytest.fixture
def failing(db: None, database_url: str) -> Failing:
    return Failing(database_url)


_BEHIND = text("select exists (select from usage_logs where xid > coalesce(failure_mark(), '0'))")


def rolled_up() -> None:
    """All of it; as long as transactions of others on this server hold it up."""
    give_up = time.monotonic() + 60
    while plain(_BEHIND, {})[0][0]:
        assert time.monotonic() < give_up, "a transaction stays open"
        if not failure_sums.roll_up():
            time.sleep(0.02)  # until the transactions of others end


def test_groups_are_what_the_rows_say_rolled_up_or_not(failing: Failing) -> None:
    """Of any range, while more and more is rolled up."""
    random, now = Random(7), datetime.now(UTC)

    def moment() -> datetime:
        at = now - random.choice([40 * DAY, 2 * DAY, 3 * HOUR]) * random.random()
        return random.choice([at, at, at.replace(minute=0, second=0, microsecond=0)])

    for n in range(6):
        failing.fail(60, span=40 * DAY, power=2)
        failing.fail(20)
        if n % 2:
            rolled_up()
            assert failure_sums.differences() == []
        for _ in range(25):
            since, until = sorted((moment(), moment()))
            failing.check(since, until)
        failing.check(now - 50 * DAY, now + HOUR)


def test_failures_that_move_to_a_new_month_meanwhile_are_rolled_up(failing: Failing) -> None:
    """A statement that was planned before would find them neither where they were nor where they are."""
    moment = datetime(2021, 2, 20, tzinfo=UTC)
    later = moment + 20 * DAY
    failing.fail(1, last=later)
    usage.add_months(ahead=0)
    rolled_up()
    failing.fail(5, last=moment)
    failing.fail(1, last=later)
    beside_a_new_month(moment, failure_sums.roll_up)
    rolled_up()
    assert failure_sums.differences() == []
    with kit.transaction() as session:
        session.execute(text("drop table usage_logs_2021_02, usage_logs_2021_03"))


def test_pages_hang_together(failing: Failing) -> None:
    failing.fail(50, span=3 * DAY)
    rolled_up()
    failing.fail(7)
    window, found = Window(2), list[invocations.FailureGroup]()
    while True:
        page = invocations.failures(failing.customer.user_id, window)
        found += page.items
        if page.next is None:
            break
        window = Window(2, page.next)
    assert len(found) == 6
    assert [g.last_id for g in found] == sorted((g.last_id for g in found), reverse=True)
    assert sum(g.number for g in found) == 57


def _blocks(failing: Failing, many: psycopg.Connection[Any]) -> int:
    now = datetime.now(UTC)
    values = failure_groups.parameters(failing.customer.user_id, Window(20), now - 30 * DAY, now)
    return scale.cost(scale.explain(many, failure_groups.GROUPS, values, generic=True))[1]


def test_what_is_read_does_not_grow_with_what_failed(failing: Failing) -> None:
    """Ten times as many in the same hours, also in this one. Each hour has every tool with every error before."""
    with psycopg.connect(failing.url, autocommit=True) as connection:

        def look() -> int:
            rolled_up()
            connection.execute("vacuum analyze invocations, usage_logs, failure_rollups")
            connection.autocommit = False
            found = _blocks(failing, connection)
            connection.autocommit = True
            return found

        failing.fail(720, span=DAY)
        few = look()
        for _ in range(10):
            failing.fail(720, span=DAY)
        failing.fail(2_000, span=timedelta(minutes=5))
        many = look()
        assert many < 2 * few


def test_the_books_compare_and_repair_them(failing: Failing) -> None:
    failing.fail(30, span=2 * DAY)
    rolled_up()
    with kit.transaction() as session:
        session.execute(text("update failure_rollups set number = number + 1 where grain = 'day'"))
        session.execute(text("delete from failure_rollups where grain = 'month'"))
    assert {each.grain for each in failure_sums.differences()} == {"day", "month"}
    lines: list[str] = []
    ledger.repair(lines.append)
    assert "rollups of failures rebuilt from the invocations" in lines
    assert failure_sums.differences() == []
    failing.check(datetime.now(UTC) - 3 * DAY, datetime.now(UTC))


def test_a_restored_dump_is_counted_by_rows_until_its_usage_is_adopted(failing: Failing) -> None:
    failing.fail(30, span=2 * DAY)
    usage.catch_up()
    rolled_up()
    with kit.transaction() as session:
        session.execute(text("update watermarks set cluster = cluster + 1, xid = '9000000000'"))
        session.execute(text("set local joyfull.usage_maintenance = 'on'"))
        session.execute(text("update usage_logs set xid = '8000000000'"))
        session.execute(text("update failure_rollups set number = 77"))
    now = datetime.now(UTC)
    failing.check(now - 3 * DAY, now)
    assert failure_sums.roll_up() == 0
    failing.check(now - 3 * DAY, now)
    usage.catch_up()
    rolled_up()
    assert failure_sums.differences() == []
    assert plain(text("select failure_mark() is not null"), {})[0][0]
    failing.check(now - 3 * DAY, now)


def test_sums_by_transactions_that_are_now_others_are_made_anew(failing: Failing) -> None:
    """Usage is adopted that failures were summed by, although their watermark is of this cluster."""
    failing.fail(30, span=2 * DAY)
    usage.catch_up()
    rolled_up()
    with kit.transaction() as session:
        session.execute(text("set local joyfull.usage_maintenance = 'on'"))
        session.execute(text("update usage_logs set xid = '8000000000'"))
        session.execute(text("update watermarks set xid = '9000000000'"))
        session.execute(text("update failure_rollups set number = 77"))
    usage.adopt()
    rolled_up()
    assert failure_sums.differences() == []


@pytest.fixture
def old_month(failing: Failing) -> Iterator[datetime]:
    """Failures at the end of a month long ago, some of whose usage is of the next."""
    month = datetime(2021, 4, 1, tzinfo=UTC)
    failing.fail(40, span=6 * HOUR, last=month)
    usage.add_months(ahead=0)
    yield month
    with kit.transaction() as session:
        session.execute(text("drop table if exists usage_logs_2021_03, usage_logs_2021_04"))


def test_months_whose_usage_is_dropped_stay(failing: Failing, old_month: datetime) -> None:
    now = clock.now()
    keep = (now.year - old_month.year) * 12 + now.month - old_month.month
    usage.catch_up()
    assert usage.retire_months(keep) == [], "failures are not rolled up yet"
    for prepare in (rolled_up, lambda: usage.retire_months(keep), failure_sums.rebuild):
        prepare()
        assert failure_sums.differences() == []
        failing.check(old_month - DAY, old_month + DAY)
        failing.check(old_month - 2.5 * HOUR, old_month + DAY)
    assert plain(text("select to_regclass('usage_logs_2021_03') is null"), {})[0][0]

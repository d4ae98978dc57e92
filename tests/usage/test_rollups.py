"""Rolled up exactly once, and a summary that equals the history whatever commits when."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta
from itertools import combinations
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy import text
from sqlalchemy.orm import Session

from common import usage
from common.kit import db as kit
from common.kit.clock import uuid7_floor
from common.models.usage import USAGE_STATUSES
from tests.usage.ledger import END, INSERT, START, STATUSES, Ledger, beside_a_new_month, partitions, rolled_up, total

#: Moments that a sum may get wrong: the edges of hours, days and months, and what lies beside them.
HOURS = [datetime(2024, 10, 31, 23, tzinfo=START.tzinfo), datetime(2024, 11, 1, tzinfo=START.tzinfo), START]
tick = timedelta(microseconds=1)
latencies = st.none() | st.integers(0, 9)
EDGES = sorted(h + d for h in HOURS for d in (-tick, timedelta(0), tick, timedelta(minutes=30)))
moments = st.sampled_from(EDGES) | st.integers(0, 4 * 86_400).map(lambda s: START + timedelta(seconds=s))


class LateCommits(RuleBasedStateMachine):
    """Transactions that write rows of any age, and commit in any order between rollups."""

    @initialize()
    def account(self) -> None:
        self.ledger = Ledger()
        self.open: list[Session] = []

    @rule(
        at=moments, tokens=st.integers(0, 99), status=st.sampled_from(STATUSES), latency=st.none() | st.integers(0, 9)
    )
    def write(self, at: datetime, tokens: int, status: str, latency: int | None) -> None:
        charged = tokens if status in ("success", "canceled") else 0
        tool = self.ledger.tools["slow" if tokens % 3 else "echo"]
        key = self.ledger.key if tokens % 2 else None
        row = self.ledger.row(at, charged, status=status, held=99, latency_ms=latency, tool_id=tool, api_key_id=key)
        if len(self.open) < 3:
            self.open.append(Session(kit.engine()))
        self.open[tokens % len(self.open)].execute(INSERT, row)

    @rule(which=st.integers(0, 2), commit=st.integers(0, 4))
    def end(self, which: int, commit: int) -> None:
        if self.open:
            session = self.open.pop(which % len(self.open))
            if commit:
                session.commit()
            session.close()

    @rule(limit=st.sampled_from([1, 2, 100]))
    def roll_up(self, limit: int) -> None:
        usage.rollup(limit)

    @rule(one=moments, other=moments, bucket=st.sampled_from(["hour", "day", "month"]))
    def look(self, one: datetime, other: datetime, bucket: str) -> None:
        since, until = sorted((one, other))
        if since < until:
            self.compare(since, until, bucket, "status" if self.open else "api_key")

    @invariant()
    def whole_range(self) -> None:
        self.compare(START - timedelta(days=1), END + timedelta(days=1), "day", "tool")

    @invariant()
    def charged(self) -> None:
        with kit.snapshot() as session:
            values = {"period": self.ledger.period_id, "user": self.ledger.user_id}
            charged = session.scalar(text("select period_charged(:period, :user)"), values)
            assert charged == usage.sums(session, self.ledger.period_id)[1]

    def compare(self, since: datetime, until: datetime, bucket: str, by: str) -> None:
        found = usage.summary(self.ledger.user_id, since, until, bucket=bucket, group_by=by)
        expected = total(self.ledger.user_id, since, until)
        for figures in (
            [found.totals],
            [group.figures for group in found.groups],
            [point.figures for point in found.series],
        ):
            assert (sum(f.invocations for f in figures), sum(f.tokens_used for f in figures)) == expected

    def teardown(self) -> None:
        for session in self.open:
            session.close()
        rolled_up(3)
        assert usage.differences() == []


def test_a_summary_equals_the_history_whatever_commits_when(db: None) -> None:
    quick = settings(max_examples=8, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(LateCommits, settings=quick)


@pytest.mark.parametrize("rolled", [True, False])
def test_both_edges_of_a_range_are_exact(db: None, rolled: bool) -> None:
    ledger = Ledger()
    for n, edge in enumerate(EDGES):
        ledger.write(ledger.row(edge, 2**n))
        if rolled:
            rolled_up()
    for since, until in combinations(EDGES, 2):
        found = usage.summary(ledger.user_id, since, until, bucket="hour").totals.tokens_used
        assert found == sum(2**n for n, edge in enumerate(EDGES) if since <= edge < until)


def test_an_old_transaction_that_commits_late_is_rolled_up(db: None) -> None:
    ledger = Ledger()
    early = Session(kit.engine())
    early.execute(INSERT, ledger.row(START, 5))
    ledger.write(ledger.row(START, 7))
    assert usage.rollup() == 0, "nothing is certain while an older transaction is open"
    early.commit()
    early.close()
    assert sum(rolled_up()) == 2
    assert usage.rollup() == 0
    assert usage.summary(ledger.user_id, START, END).totals.tokens_used == 12


def test_a_transaction_of_another_database_delays_rollups_and_changes_no_sum(db: None, postgres_url: str) -> None:
    ledger = Ledger()
    with psycopg.connect(postgres_url.format("postgres")) as neighbour:
        neighbour.execute("select pg_current_xact_id()")
        ledger.write(ledger.row(START, 7))
        assert usage.rollup() == 0
        assert usage.summary(ledger.user_id, START, END).totals.tokens_used == 7
    assert sum(rolled_up()) == 1
    assert usage.summary(ledger.user_id, START, END).totals.tokens_used == 7


def test_rollups_beside_each_other_and_beside_writers_count_once(db: None) -> None:
    ledger = Ledger()
    stop = threading.Event()

    def roll() -> None:
        while not stop.is_set():
            usage.rollup(7)

    def write() -> None:
        for second in range(60):
            ledger.write(*(ledger.row(START + timedelta(seconds=second * 97), 3) for _ in range(3)))

    rollers = [threading.Thread(target=roll) for _ in range(2)]
    writers = [threading.Thread(target=write) for _ in range(2)]
    for thread in rollers + writers:
        thread.start()
    seen = 0
    while any(writer.is_alive() for writer in writers):
        now = usage.summary(ledger.user_id, START, END).totals.tokens_used
        assert now >= seen
        assert now % 9 == 0, "half of a transaction was counted"
        seen = now
    stop.set()
    for thread in rollers + writers:
        thread.join()
    rolled_up()
    assert usage.differences() == []
    assert usage.summary(ledger.user_id, START, END).totals.tokens_used == 2 * 60 * 9


def test_a_transaction_larger_than_the_batch_is_rolled_up_whole(db: None) -> None:
    ledger = Ledger()
    ledger.write(*(ledger.row(START) for _ in range(10)))
    assert rolled_up(3) == [10]


# -- repair --------------------------------------------------------------------------------------------------------


def test_a_dump_restored_into_another_cluster_is_adopted(db: None) -> None:
    ledger = Ledger()
    ledger.write(*(ledger.row(START, 10) for _ in range(4)))
    rolled_up()
    ledger.write(ledger.row(START, 1))
    _pretend_to_be_restored()
    assert usage.summary(ledger.user_id, START, END).totals.tokens_used == 41, "before anything was repaired"
    ledger.write(ledger.row(START, 2))
    assert usage.summary(ledger.user_id, START, END).totals.tokens_used == 43
    rolled_up(2)
    assert usage.summary(ledger.user_id, START, END).totals.tokens_used == 43
    assert usage.differences() == []
    ledger.write(ledger.row(START, 4))
    assert rolled_up() == [1]
    assert usage.summary(ledger.user_id, START, END).totals.tokens_used == 47


def _pretend_to_be_restored() -> None:
    """The rows and the watermark carry ids that this cluster will not reach for years."""
    with kit.transaction() as session:
        session.execute(text("set local joyfull.usage_maintenance = 'on'"))
        session.execute(text("update usage_logs set xid = (xid::text::bigint + 1000000000)::text::xid8"))
        session.execute(text("update watermarks set cluster = 1, xid = (xid::text::bigint + 1000000000)::text::xid8"))


def test_rebuilt_rollups_are_the_same(db: None) -> None:
    ledger = Ledger()
    ledger.write(*(ledger.row(START + timedelta(hours=h), h, latency_ms=h) for h in range(30)))
    rolled_up()
    before = usage.summary(ledger.user_id, START, END, group_by="tool")
    with kit.transaction() as session:
        session.execute(text("update usage_rollups set tokens_used = tokens_used + 1 where grain = 'day'"))
    assert {d.grain for d in usage.differences()} == {"day"}
    usage.rebuild()
    assert usage.summary(ledger.user_id, START, END, group_by="tool").totals == before.totals
    assert sum(rolled_up()) == 30
    assert usage.differences() == []
    assert usage.summary(ledger.user_id, START, END, group_by="tool").groups == before.groups


# -- partitions ----------------------------------------------------------------------------------------------------


def test_a_row_of_a_month_without_partition_is_kept_and_moved(db: None) -> None:
    ledger = Ledger()
    moment = datetime(2031, 2, 28, 23, 59, 59, tzinfo=START.tzinfo)
    ledger.write(ledger.row(moment, 3), ledger.row(moment + timedelta(seconds=1), 4))
    rolled_up()
    with kit.snapshot() as session:
        assert partitions(session) == ["usage_logs_default"]
    assert usage.add_months(ahead=0) == 2
    with kit.snapshot() as session:
        assert partitions(session) == ["usage_logs_2031_02", "usage_logs_2031_03"]
    assert usage.rollup() == 0, "moved rows are not new"
    assert usage.summary(ledger.user_id, moment, moment + timedelta(days=1)).totals.tokens_used == 7
    assert usage.add_months(ahead=0) == 0
    with kit.transaction() as session:
        session.execute(text("drop table usage_logs_2031_02, usage_logs_2031_03"))


def test_rows_that_move_to_a_new_month_meanwhile_are_rolled_up(db: None) -> None:
    """A statement that was planned before would find them neither where they were nor where they are."""
    ledger = Ledger()
    moment = datetime(2031, 2, 28, tzinfo=START.tzinfo)
    later = moment + timedelta(days=2)
    ledger.write(ledger.row(later))
    usage.add_months(ahead=0)
    rolled_up()
    ledger.write(ledger.row(moment, 3))
    ledger.write(ledger.row(later))
    beside_a_new_month(moment, usage.rollup)
    rolled_up()
    assert usage.differences() == []
    with kit.transaction() as session:
        session.execute(text("drop table usage_logs_2031_02, usage_logs_2031_03"))


def test_retiring_a_month_drops_rows_and_keeps_sums(db: None) -> None:
    ledger = Ledger()
    moment = datetime(2021, 3, 5, tzinfo=START.tzinfo)
    ledger.write(ledger.row(moment, 3))
    usage.add_months(ahead=0)
    assert usage.retire_months(keep=12) == [], "it is not rolled up yet"
    rolled_up()
    assert usage.retire_months(keep=12) == ["usage_logs_2021_03"]
    found = usage.summary(ledger.user_id, moment, moment + timedelta(days=1))
    assert found.totals.tokens_used == 3
    assert total(ledger.user_id, moment, moment + timedelta(days=1)) == (0, 0)
    with kit.transaction() as session:
        session.execute(text("delete from watermarks"))


@pytest.mark.parametrize("change", ["update usage_logs set tokens_used = 0", "delete from usage_logs"])
def test_usage_never_changes(db: None, change: str) -> None:
    ledger = Ledger()
    ledger.write(ledger.row(START))
    with pytest.raises(Exception, match="append-only"), kit.transaction() as session:
        session.execute(text(change))
    assert total(ledger.user_id, START, END) == (1, 1)


def test_statuses_are_the_contracts() -> None:
    assert USAGE_STATUSES == STATUSES


def test_an_id_tells_its_month(db: None) -> None:
    with kit.snapshot() as session:
        floor: UUID = session.scalar(text("select uuid7_floor(:at)"), {"at": START})
    assert floor == uuid7_floor(START)

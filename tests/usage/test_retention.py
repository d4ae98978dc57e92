"""What is dropped when it is old, and what stays: sums, balances, and the books."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from common import invocations, usage
from common.invocations import submitting
from common.kit import clock
from common.kit import db as kit
from common.operations import ledger
from tests import factories
from tests.factories import GOOD, Customer
from tests.plain import plain
from tests.usage.ledger import END, INSERT, START, Ledger, partitions, rolled_up, total
from worker import sweeper

MARCH, APRIL = datetime(2021, 3, 1, tzinfo=UTC), datetime(2021, 4, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)


@pytest.fixture
def spring(db: None) -> Iterator[Ledger]:
    """Entries of March and April 2021, one of which began in March and ended in April."""
    ledger = Ledger()
    late = ledger.row(APRIL + SECOND, 4)
    late["invocation_id"] = ledger.row(APRIL - SECOND)["invocation_id"]
    ledger.write(ledger.row(MARCH, 1), ledger.row(APRIL - SECOND, 2), late, ledger.row(APRIL + SECOND, 8))
    assert usage.add_months(ahead=0) == 2
    yield ledger
    with kit.transaction() as session:
        session.execute(text("drop table if exists usage_logs_2021_03, usage_logs_2021_04"))


def months() -> int:
    """How many months ago April 2021 began: March is older than that, April is not."""
    now = datetime.now(UTC)
    return (now.year - APRIL.year) * 12 + now.month - APRIL.month


def shown(ledger: Ledger) -> tuple[int, list[int]]:
    found = usage.summary(ledger.user_id, MARCH, APRIL + timedelta(days=30), bucket="month")
    return found.totals.tokens_used, [point.figures.tokens_used for point in found.series]


def test_a_month_that_is_not_rolled_up_is_kept(spring: Ledger) -> None:
    assert usage.retire_months(months()) == []
    assert shown(spring) == (15, [3, 12])


def test_a_dropped_month_leaves_its_sums_and_what_ended_later(spring: Ledger) -> None:
    rolled_up()
    assert usage.retire_months(months() + 1) == []
    assert usage.retire_months(months()) == ["usage_logs_2021_03"]
    assert usage.retire_months(months()) == []
    assert shown(spring) == (15, [3, 12])
    assert total(spring.user_id, MARCH, APRIL) == (0, 0)
    assert total(spring.user_id, APRIL, END) == (2, 12)
    assert usage.differences() == []
    assert usage.add_months(ahead=0) == 0, "the month is not made again for the late entry"
    with kit.snapshot() as session:
        assert partitions(session) == ["usage_logs_2021_04", "usage_logs_default"]


def test_sums_of_dropped_months_survive_a_rebuild(spring: Ledger) -> None:
    rolled_up()
    usage.retire_months(months())
    usage.rebuild()
    assert shown(spring) == (15, [3, 12])
    rolled_up()
    assert shown(spring) == (15, [3, 12])
    assert usage.differences() == []


def test_a_month_that_is_being_read_is_left_for_the_next_time(spring: Ledger) -> None:
    rolled_up()
    with kit.snapshot() as reading:
        reading.execute(text("select count(*) from usage_logs"))
        assert usage.retire_months(months()) == []
    assert usage.retire_months(months()) == ["usage_logs_2021_03"]


def test_months_are_made_ahead_and_across_a_years_end(db: None) -> None:
    """As if beat had been dead for two years: entries wait in the default partition, and find their months."""
    ledger = Ledger()
    ends = [datetime(2033, 12, 31, 23, 59, 59, tzinfo=UTC), datetime(2034, 1, 1, tzinfo=UTC)]
    ends += [datetime(2036, 2, 29, 12, tzinfo=UTC)]
    ledger.write(*(ledger.row(end, 5) for end in ends))
    try:
        assert usage.add_months(ahead=0) == 3
        with kit.snapshot() as session:
            assert partitions(session) == ["usage_logs_2033_12", "usage_logs_2034_01", "usage_logs_2036_02"]
        assert usage.add_months(ahead=5) >= 2
        assert usage.add_months(ahead=5) == 0
        assert usage.summary(ledger.user_id, ends[0], ends[2] + SECOND, bucket="month").totals.tokens_used == 15
    finally:
        with kit.transaction() as session:
            session.execute(text("drop table usage_logs_2033_12, usage_logs_2034_01, usage_logs_2036_02"))


# -- the books -----------------------------------------------------------------------------------------------------


def ended(customer: Customer) -> UUID:
    made = customer.submit(factories.tool(), input={"text": "hello"})
    worker = factories.worker()
    invocations.complete(factories.taken(worker), GOOD, worker)
    return made


def test_the_books_do_not_miss_what_was_dropped(db: None) -> None:
    ended(factories.customer())
    rolled_up()
    with kit.transaction() as session:  # as if the month had been dropped, but for an entry that came later
        session.execute(
            text("""insert into watermarks (name, cluster, at)
                                select 'usage_retired', system_identifier, now() + interval '1 day'
                                  from pg_control_system()""")
        )
    assert ledger.verify().differences == ()
    with kit.transaction() as session:
        session.execute(text("update watermarks set at = 'epoch' where name = 'usage_retired'"))
        row = Ledger().row(START)
        session.execute(INSERT, row)
    assert str(row["invocation_id"]) in {each.where for each in ledger.verify().differences}


# -- payloads ------------------------------------------------------------------------------------------------------


@pytest.fixture
def ago(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Until it is undone, invocations are made forty days ago."""

    def old() -> UUID:
        moment = datetime.now(UTC) - timedelta(days=40)
        return UUID(int=clock.uuid7_floor(moment).int | 7 << 76 | 2 << 62 | uuid4().int >> 68)

    monkeypatch.setattr(submitting, "uuid7", old)
    yield monkeypatch


def payloads(*ids: UUID) -> list[tuple[object, object]]:
    query = text("select input, output from invocations where id = any(:ids) order by array_position(:ids, id)")
    return [(row.input, row.output) for row in plain(query, {"ids": list(ids)})]


def test_payloads_are_dropped_and_what_they_cost_stays(db: None, ago: pytest.MonkeyPatch) -> None:
    customer = factories.customer()
    old = [ended(customer) for _ in range(5)]
    ago.undo()
    fresh = ended(customer)
    full = ({"text": "hello"}, {"ok": True})
    assert invocations.drop_payloads(41) == 0
    assert invocations.drop_payloads(39, batch=2) == 5
    assert payloads(*old, fresh) == [(None, None)] * 5 + [full]
    assert invocations.drop_payloads(39) == 0
    seen = invocations.get(old[0], customer.user_id)
    assert (seen.status, seen.charged, seen.input, seen.output) == ("succeeded", 1, None, None)
    assert ledger.verify().differences == ()


def test_payloads_of_open_invocations_are_kept_and_those_behind_them_wait(db: None, ago: pytest.MonkeyPatch) -> None:
    customer, tool, worker = factories.customer(), factories.tool(), factories.worker()
    first = ended(customer)
    waiting = customer.submit(tool, input={"text": "hello"})
    assert invocations.drop_payloads(39) == 1
    task = factories.taken(worker)
    assert task.id == waiting
    assert payloads(waiting) == [({"text": "hello"}, None)]
    invocations.complete(task, GOOD, worker)
    behind = ended(customer)
    assert invocations.drop_payloads(39) == 2
    assert payloads(first, waiting, behind) == [(None, None)] * 3


def test_payloads_of_what_never_ran_are_dropped_after_a_month(db: None, ago: pytest.MonkeyPatch) -> None:
    """Whatever else is kept for ever: the default is to keep everything that somebody had any use of."""
    customer, tool = factories.customer(at_once=1), factories.tool()
    ran = ended(customer)
    canceled, late, waiting = [customer.submit(tool, input={"n": n}) for n in range(3)]
    invocations.cancel(customer.caller, canceled)
    plain(text("update queue set expires_at = now() where id = :id returning id"), {"id": late})
    invocations.sweeping.expire()
    ago.undo()
    fresh = customer.submit(tool, input={"n": 9})
    invocations.cancel(customer.caller, fresh)
    sweeper.run("drop-unused-payloads")
    kept = ({"n": 2}, None), ({"n": 9}, None), ({"text": "hello"}, {"ok": True})
    assert payloads(canceled, late) == [(None, None)] * 2
    assert payloads(waiting, fresh, ran) == [*kept]
    assert invocations.get(late, customer.user_id).status == "expired"
    assert ledger.verify().differences == ()

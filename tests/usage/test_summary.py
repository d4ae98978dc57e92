"""What a summary says beside its sums."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from common import usage
from common.errors import Invalid
from common.kit import db as kit
from tests.usage.ledger import END, INSERT, START, Ledger, rolled_up


def test_groups_series_and_totals(db: None) -> None:
    ledger = Ledger()
    ledger.write(
        ledger.row(START, 5, api_key_id=ledger.key),
        ledger.row(START + timedelta(hours=2), 7, tool_id=ledger.tools["slow"]),
        ledger.row(START + timedelta(hours=2), 0, held=9, status="error"),
        ledger.row(START + timedelta(hours=2), 0, held=9, status="timeout"),
        ledger.row(START + timedelta(hours=3), 0, held=9, status="expired", latency_ms=None),
    )
    found = usage.summary(ledger.user_id, START, END, bucket="hour", group_by="tool")
    assert (found.totals.invocations, found.totals.succeeded, found.totals.failed) == (5, 2, 2)
    assert [(g.key, g.figures.tokens_used) for g in found.groups] == [
        (f"slow-{str(ledger.tools['slow'])[-12:]}", 7),
        (f"echo-{str(ledger.tools['echo'])[-12:]}", 5),
    ]
    assert [p.figures.tokens_used for p in found.series[:4]] == [5, 0, 7, 0]
    assert found.series[0].start == START.replace(minute=0, second=0)
    by_key = usage.summary(ledger.user_id, START, END, group_by="api_key").groups
    assert {g.key: g.figures.tokens_used for g in by_key} == {None: 7, str(ledger.key): 5}


def test_complete_through_waits_for_open_transactions(db: None) -> None:
    ledger = Ledger()
    until = datetime.now(UTC) + timedelta(days=1)
    late = Session(kit.engine())
    began: datetime = late.execute(text("select now()")).scalar_one()
    assert usage.summary(ledger.user_id, START, until).complete_through <= began
    late.execute(INSERT, ledger.row(began))
    late.commit()
    late.close()
    assert usage.summary(ledger.user_id, START, until).complete_through > began - timedelta(seconds=1)


@pytest.mark.parametrize(
    ("since", "until", "bucket"),
    [
        (END, START, "day"),
        (START, START + timedelta(days=36_525), "day"),
        (START, START + timedelta(days=42), "hour"),
        (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC), "month"),
    ],
)
def test_ranges_that_are_refused(db: None, since: datetime, until: datetime, bucket: str) -> None:
    with pytest.raises(Invalid):
        usage.summary(Ledger().user_id, since, until, bucket=bucket)


def test_a_cut_hour_reads_no_rows_when_its_rollups_lie_inside(db: None) -> None:
    """A period begins in the middle of an hour: its sums must not cost more the more was used in that hour."""
    ledger = Ledger()
    ledger.write(*(ledger.row(START + timedelta(seconds=n), 1) for n in range(10)))
    rolled_up()
    with kit.transaction() as session:
        session.execute(text("set local joyfull.usage_maintenance = 'on'"))
        session.execute(text("update usage_logs set tokens_used = 0"))
    assert usage.summary(ledger.user_id, START, END).totals.tokens_used == 10, "summed from rollups"
    assert usage.summary(ledger.user_id, START + timedelta(seconds=5), END).totals.tokens_used == 0, "summed from rows"

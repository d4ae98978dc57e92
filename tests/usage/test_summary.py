"""What a summary says beside its sums."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

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


@pytest.mark.parametrize("bucket", ["hour", "day", "month"])
@pytest.mark.parametrize("group_by", [None, "tool", "status", "api_key"])
def test_rolled_up_or_not_a_summary_says_the_same(db: None, bucket: str, group_by: str | None) -> None:
    """Each figure, percentiles too: of whole units, of those that the range cuts, and of those with late entries."""
    ledger = Ledger()
    ledger.write(*_varied(ledger, range(0, 3_000_000, 20_011)))
    rolled_up()
    ledger.write(*_varied(ledger, range(1_000, 3_000_000, 500_009)))
    ranges = [
        (START + timedelta(seconds=since), START + timedelta(seconds=until))
        for since, until in ((-10, 3_000_001), (40_021, 2_700_000), (2_900, 2_905), (0, 100_000), (90_000, 170_000))
    ]
    ranges += [(START.replace(minute=0, second=0) + timedelta(hours=n), END) for n in (1, 2, 26)]

    def shown() -> list[usage.Summary]:
        found = [usage.summary(ledger.user_id, *each, bucket=bucket, group_by=group_by) for each in ranges]
        return [replace(each, complete_through=END) for each in found]

    half = shown()
    assert half[0].totals.invocations == 156
    rolled_up()
    whole = shown()
    usage.rebuild()
    assert half == whole == shown()


def _varied(ledger: Ledger, seconds: Iterable[int]) -> Iterator[dict[str, Any]]:
    for n, second in enumerate(seconds):
        status = ("success", "success", "error", "success", "expired")[n % 5]
        changes: dict[str, Any] = {"latency_ms": None if status == "expired" else n * 37 % 1_009}
        changes |= {"tool_id": ledger.tools["slow"]} if n % 3 else {"api_key_id": ledger.key}
        yield ledger.row(START + timedelta(seconds=second), n * (status == "success"), held=n, status=status, **changes)


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

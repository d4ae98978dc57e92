"""The history in pages, the whole of it, and what its latencies say."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from math import ceil
from typing import Any

import pytest
from sqlalchemy import text

from common import usage
from common.kit import db as kit
from common.kit.paging import Window
from common.usage import Filter
from common.usage.histogram import milliseconds
from tests.usage.ledger import END, START, Ledger, rolled_up

MINUTE = timedelta(minutes=1)
_OPEN = """select count(*) from pg_stat_activity where datname = current_database() and xact_start < now()
           and backend_type = 'client backend'"""


def _varied(ledger: Ledger) -> None:
    """Twelve entries, two in each minute, of two tools and three statuses."""
    for n in range(12):
        status = ("success", "success", "error", "success", "timeout", "success")[n % 6]
        tool = ledger.tools["slow" if n % 4 == 0 else "echo"]
        charged = n if status == "success" else 0
        ledger.write(ledger.row(START + MINUTE * (n // 2), charged, held=99, status=status, tool_id=tool, latency_ms=n))


def _pages(ledger: Ledger, filters: Filter, limit: int) -> list[usage.Entry]:
    entries: list[usage.Entry] = []
    window = Window(limit)
    while True:
        page = usage.history(ledger.user_id, window, filters)
        entries += page.items
        if not page.has_more:
            return entries
        window = Window(limit, page.next)


@pytest.mark.parametrize(
    ("filters", "keeps"),
    [
        (lambda _: Filter(), lambda _: True),
        (lambda _: Filter(since=START + MINUTE, until=START + 3 * MINUTE), lambda e: 1 <= e.latency_ms // 2 < 3),
        (lambda _: Filter(statuses=frozenset(["error", "timeout"])), lambda e: e.status != "success"),
        (lambda _: Filter(statuses=frozenset(["success", "error"])), lambda e: e.status != "timeout"),
        (lambda led: Filter(tool=str(led.tools["slow"])), lambda e: e.latency_ms % 4 == 0),
        (lambda led: Filter(tool=f"slow-{str(led.tools['slow'])[-12:]}"), lambda e: e.latency_ms % 4 == 0),
        (lambda _: Filter(tool="never-heard-of"), lambda _: False),
    ],
)
def test_pages_hold_each_entry_once_newest_first(
    db: None, filters: Callable[[Ledger], Filter], keeps: Callable[[Any], bool]
) -> None:
    ledger, other = Ledger(), Ledger()
    _varied(ledger)
    _varied(other)
    everything = _pages(ledger, Filter(), 100)
    assert [(e.created_at, e.id) for e in everything] == sorted(
        ((e.created_at, e.id) for e in everything), reverse=True
    )
    assert len(everything) == 12
    expected = [entry.id for entry in everything if keeps(entry)]
    for limit in (1, 5):
        assert [entry.id for entry in _pages(ledger, filters(ledger), limit)] == expected
    assert [entry.id for entry in usage.export(ledger.user_id, filters(ledger))] == expected


def test_an_export_takes_many_short_transactions(db: None) -> None:
    ledger = Ledger()
    _varied(ledger)
    found = []
    for entry in usage.export(ledger.user_id, batch=3):
        found.append(entry.id)
        with kit.snapshot() as session:
            held = session.scalar(text(_OPEN))
        assert held == 0, "a snapshot is held while somebody reads slowly"
        ledger.write(ledger.row(END + timedelta(days=3650)))
    assert len(found) == 12


@pytest.mark.parametrize("latencies", [[], [None], [0], [0, 1, 2, 3], [7] * 9 + [40_000], list(range(1, 2_000, 7))])
@pytest.mark.parametrize("rolled", [False, True])
def test_percentiles_are_within_two_percent(db: None, latencies: list[int | None], rolled: bool) -> None:
    ledger = Ledger()
    if latencies:
        ledger.write(*(ledger.row(START + MINUTE * i, latency_ms=ms) for i, ms in enumerate(latencies)))
    if rolled:
        rolled_up(50)
    totals = usage.summary(ledger.user_id, START, END).totals
    known = sorted(ms for ms in latencies if ms is not None)
    for share, found in ((0.50, totals.latency_p50_ms), (0.95, totals.latency_p95_ms)):
        if not known:
            assert found is None
            continue
        exact = known[ceil(share * len(known)) - 1]
        assert found is not None
        assert abs(found - exact) <= 0.02 * exact + 0.5


def test_every_bucket_stands_for_what_is_in_it(db: None) -> None:
    values = [*range(1_000), *range(1_000, 700_000, 997), 2**31 - 1]
    with kit.snapshot() as session:
        rows = session.execute(text("select ms, latency_bucket(ms) from unnest(:values) ms"), {"values": values}).all()
    for ms, bucket in rows:
        assert abs(milliseconds(bucket) - ms) <= 0.02 * ms + 0.5

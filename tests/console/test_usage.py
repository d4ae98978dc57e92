"""Usage: bars, groups and rows that add up, whatever the range, and the file behind them."""

from __future__ import annotations

import csv
import io
import re
from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st

from common import usage
from common.identity import keys
from common.identity.audit import OPERATOR
from common.kit import clock
from tests import factories
from tests.console.charges import charge
from tests.console.conftest import Browser, Element, Trips, browser_of
from tests.console.test_pages import HOSTILE
from tests.usage.ledger import END, START, Ledger, rolled_up
from web.console import charts
from web.console.charts import Series
from web.console.pages.usage import MOST_BUCKETS, MOST_ROWS, bucket_for


def column(page: Element, title: str, name: str) -> list[int]:
    """The amounts of a column of a table."""
    cells = page.one("section", aria_labelledby=title).all("td", data_label=name)
    return [int(cell.words.replace(",", "")) for cell in cells]


def test_bars_groups_and_rows_add_up_to_the_total(browser: Browser) -> None:
    assert browser.customer
    now = clock.now()
    tools = [factories.tool() for _ in range(8)]
    for number, tool in enumerate(tools):
        charge(browser.customer, 10 * (number + 1), 1, at=now - timedelta(hours=30 * number), tool_id=tool.id)
    begins = (now - timedelta(days=12)).date()
    page = browser.get(f"/usage?from={begins}&by=tool")
    assert sum(column(page, "rows-title", "Tokens")) == 368
    groups = column(page, "groups-title", "Tokens")
    assert (len(groups), sum(groups), groups[0]) == (8, 368, 81)
    legend = [int(each.words.rpartition(": ")[2]) for each in page.one("ul", class_="legend").all("li")]
    assert (len(legend), sum(legend)) == (charts.MOST_GROUPS + 1, 368)
    assert page.one("figcaption").words.startswith("368 tokens in 16 runs; the most, ")
    assert "in UTC" in page.one("p", class_="filtered").words
    assert "Complete through" in page.words


@pytest.mark.parametrize("rolled", [False, True])
@pytest.mark.parametrize("by", ["tool", "status", "api_key"])
@pytest.mark.parametrize("bucket", ["hour", "day", "month"])
def test_the_stacks_are_the_series_cut_by_group(db: None, rolled: bool, by: str, bucket: str) -> None:
    ledger = Ledger()
    moments = [START + timedelta(minutes=37 * n) for n in range(0, 140, 3)]
    ledger.write(
        *(
            ledger.row(
                at, n, tool_id=ledger.tools["slow" if n % 3 else "echo"], status="canceled" if n % 5 else "success"
            )
            for n, at in enumerate(moments)
        )
    )
    if rolled:
        rolled_up()
        ledger.write(ledger.row(START + timedelta(hours=5), 1_000, api_key_id=ledger.key))
    since, until = START + timedelta(minutes=20), END - timedelta(minutes=20)
    found = usage.summary(ledger.user_id, since, until, bucket=bucket, group_by=by, stacked=True)
    by_start: dict[datetime, int] = {}
    by_key: dict[str | None, int] = {}
    for stack in found.stacks:
        by_start[stack.start] = by_start.get(stack.start, 0) + stack.tokens_used
        by_key[stack.key] = by_key.get(stack.key, 0) + stack.tokens_used
    points = {point.start.astimezone(UTC): point.figures.tokens_used for point in found.series}
    assert {start: tokens for start, tokens in by_start.items() if tokens} == {k: v for k, v in points.items() if v}
    assert by_key == {group.key: group.figures.tokens_used for group in found.groups}


@given(st.lists(st.lists(st.integers(0, 10**12), min_size=3, max_size=3), max_size=12))
def test_merging_groups_loses_nothing(amounts: list[list[int]]) -> None:
    series = [Series(str(number), each) for number, each in enumerate(amounts)]
    merged = charts.merged(series)
    assert len(merged) <= charts.MOST_GROUPS + 1
    assert sum(each.total for each in merged) == sum(each.total for each in series)


def test_bars_stand_on_each_other_and_hostile_names_are_text() -> None:
    starts = [START, START + timedelta(hours=1)]
    series = [Series(HOSTILE, [60, 0]), Series("other", [40, 50])]
    drawn = charts.stacked(starts, series, ['/x?a=1&b="2"', ""], HOSTILE, ("a", "b"))
    assert re.findall(r'class="g(\d)" d="M2 (\d+)h496v(-\d+)', drawn.svg) == [
        ("0", "200", "-120"),
        ("1", "80", "-80"),
    ]
    assert drawn.svg.count("<a ") == 1
    assert "<script>" not in drawn.svg
    assert 'href="/x?a=1&amp;b=&#34;2&#34;"' in drawn.svg


@pytest.mark.parametrize(
    ("days", "wanted", "shown"),
    [(1, None, "hour"), (30, None, "day"), (300, None, "month"), (30, "hour", "day"), (200, "day", "month")],
)
def test_a_bucket_suits_the_range(days: int, wanted: str | None, shown: str) -> None:
    assert bucket_for(START, START + timedelta(days=days), wanted) == shown
    assert MOST_BUCKETS == 100


def test_a_range_that_is_too_fine_says_what_is_shown(browser: Browser) -> None:
    page = browser.get("/usage?from=2026-01-01&to=2026-02-01&bucket=hour")
    assert "it is shown by day" in page.words
    assert "No run ended in this range." in page.words


def test_the_hours_of_a_period_that_has_only_begun_are_shown(browser: Browser) -> None:
    assert browser.customer
    charge(browser.customer, 10, 1, at=clock.now())
    page = browser.get("/usage?bucket=hour")
    assert "it is shown by day" not in page.words
    assert page.one("h2", id="chart-title").words == "Tokens by hour"


@pytest.mark.parametrize(
    "query",
    ["from=yesterday", "from=2026-02-30", "from=2026-02-01&to=2026-01-01", "bucket=week", "by=nothing", "to=%00"],
)
def test_a_filter_that_is_none_is_refused_with_a_page(browser: Browser, query: str) -> None:
    browser.get(f"/usage?{query}", 422)
    assert browser.ask(f"/usage/export?{query}").status_code == 422


def test_keys_are_named_whatever_their_name(browser: Browser) -> None:
    assert browser.customer
    key, _ = keys.create(browser.customer.user_id, HOSTILE[:200], actor=OPERATOR)
    charge(browser.customer, 5, api_key_id=key.id)
    charge(browser.customer, 3)
    groups = browser.get("/usage?by=key").one("section", aria_labelledby="groups-title")
    assert "<script>alert(1)</script>" in groups.words
    assert "a session" in groups.words


def test_the_file_has_exactly_the_entries_of_the_range(app: Flask, browser: Browser) -> None:
    assert browser.customer
    now = clock.now()
    charge(browser.customer, 5, 6, at=now - timedelta(days=2))
    charge(browser.customer, 7, at=now - timedelta(days=4))
    since = (now - timedelta(days=3)).date()
    page = browser.get(f"/usage?from={since}")
    [path] = [each.attributes["href"] for each in page.all("a", class_="button") if each.words == "Download CSV"]
    answer = browser.http.get(path)
    assert answer.headers["Content-Disposition"] == 'attachment; filename="usage.csv"'
    head, *rows = csv.reader(io.StringIO(answer.text))
    assert sorted(int(row[head.index("tokens_used")]) for row in rows) == [5, 6]
    assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "-", "@"))]
    lines = browser.http.get(path.replace("csv", "ndjson")).text.splitlines()
    assert len(lines) == 2
    assert browser_of(app, factories.customer()).http.get(path).text.count("\n") == 1, "others see the head only"


def test_a_full_page_stays_small(browser: Browser, trips: Trips) -> None:
    assert browser.customer
    now = clock.now()
    tools = [factories.tool().id for _ in range(12)]
    for hour in range(98):
        charge(browser.customer, 10**9, at=now - timedelta(hours=hour), tool_id=tools[hour % 12])
    path = f"/usage?by=tool&bucket=hour&from={(now - timedelta(days=3)).date()}&to={(now + timedelta(days=1)).date()}"
    browser.get(path)
    trips.clear()
    page = browser.get(path)
    assert len(page.one("section", aria_labelledby="rows-title").one("tbody").all("tr")) == MOST_ROWS
    assert len(trips.statements) <= 10, trips.statements
    assert len(trips.commands) <= 3, trips.commands

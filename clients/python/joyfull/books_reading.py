"""Reading the rows that one's own bill is made of."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from joyfull import models, wire
from joyfull.books import BooksReport, Rows, report
from joyfull.context import Context
from joyfull.exchange import Operation, do
from joyfull.paging import document, page
from joyfull.problems import NotFound
from joyfull.resource import Fields, one, request_of
from joyfull.retrying import call
from joyfull.wire import Json


def books(
    context: Context, from_: datetime | None, to: datetime | None, save: Path | None, kept: Path | None
) -> Operation[BooksReport]:
    """The report; of rows that were kept, without asking anybody."""
    if kept is not None:
        return report((yield from do(lambda: Rows.load(kept))))
    rows = yield from read_rows(context, from_, to)
    if save is not None:
        yield from do(lambda: rows.save(save))
    return report(rows)


def read_rows(context: Context, from_: datetime | None, to: datetime | None) -> Operation[Rows]:
    """Everything about a time; without one, about the current period up to now."""
    if from_ is None:
        request = request_of(context, "subscriptions_current")
        from_ = (yield from one(context, models.Subscription.of, request)).current_period_start
    end = to or context.today()
    span: Fields = {"from": from_, "to": end}
    rows = Rows(wire.rfc3339(from_), wire.rfc3339(end))
    rows.statement = yield from _data(context, "statements_show", {})
    rows.usage = yield from _all(context, "usage_index", span)
    for raw in (yield from _all(context, "invocations_index", {**span, "payloads": False})):
        rows.invocations[raw["id"]] = raw
    yield from _missing(context, rows)
    rows.summary = yield from _data(context, "usage_summary", {**span, "bucket": "day"})
    rows.statement_after = yield from _data(context, "statements_show", {})
    return rows


def _missing(context: Context, rows: Rows) -> Operation[None]:
    """Invocations that ended in this time and were made before."""
    for entry in rows.usage:
        name = entry["invocation_id"]
        if name not in rows.invocations:
            request = request_of(context, "invocations_show", {"invocation_id": name})
            try:
                found = document((yield from call(context, request)))["data"]
            except NotFound:  # not kept any longer
                continue
            rows.invocations[name] = {**found, "input": None, "output": None}


def _data(context: Context, name: str, query: Fields) -> Operation[Json]:
    return document((yield from call(context, request_of(context, name, query=query))))["data"]


def _all(context: Context, name: str, query: Fields) -> Operation[list[Json]]:
    found: list[Json] = []
    cursor: str | None = None
    while True:
        request = request_of(context, name, query={**query, "limit": 100, "cursor": cursor})
        part = page((yield from call(context, request)), lambda raw: raw)
        found.extend(part.items)
        cursor = part.next_cursor
        if not part.has_more:
            return found

"""`/usage`: the caller's usage as a history, as sums and as a file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict

from flask import Response

from common import subscriptions, usage
from common.kit.paging import Page
from common.usage import Entry, Filter, Summary, Whose, csv_lines, ndjson
from web.api.blueprint import Blueprint
from web.api.usage_schemas import (
    ExportArguments,
    ExportQuery,
    FilterArguments,
    SummaryArguments,
    SummaryQuery,
    UsageArguments,
    UsageEntrySchema,
    UsageQuery,
    UsageReportSchema,
)
from web.http import auth, large_reads
from web.http.negotiation import preferred
from web.http.responses import Shown

blp = Blueprint("usage", __name__, url_prefix="/usage", description="Usage, exact to the token")


# -- views -------------------------------------------------------------------------------------------------------


@blp.get("")
@auth.needs("usage:read")
@blp.arguments(UsageQuery, location="query")
@blp.page(UsageEntrySchema)
def index(query: UsageArguments) -> Page[Entry]:
    """One entry per ended invocation, newest first"""
    return usage.history(auth.caller().user_id, query["window"], _filter(query))


@blp.get("/summary")
@auth.needs("usage:read")
@blp.arguments(SummaryQuery, location="query")
@blp.response(200, UsageReportSchema)
def summary(query: SummaryArguments) -> Shown:
    """Sums that equal the history to the token

    The range defaults to the current period. The series has a point for every bucket until now. By end user, or of one
    end user or API key, they are added up from single entries, as far back as these are kept.
    """
    large_reads.begin()
    user_id = auth.caller().user_id
    since, until = subscriptions.range_within(user_id, query.get("since"), query.get("until"))
    whose = Whose(query.get("end_user"), query.get("api_key"))
    found = usage.summary(user_id, since, until, bucket=query["bucket"], group_by=query.get("group_by"), whose=whose)
    large_reads.count_rows(found.rows)
    return _shown(found)


@blp.get("/export")
@auth.needs("usage:read")
@blp.arguments(ExportQuery, location="query")
@blp.response(
    200,
    content_type="text/csv",
    headers=["Content-Disposition", "Vary"],
    description="Every entry, newest first, streamed: CSV, or an object per line.",
)
@blp.alt_response(
    200,
    content_type="application/x-ndjson",
    headers=["Content-Disposition", "Vary"],
    description="Every entry, newest first, streamed: CSV, or an object per line.",
)
def export(query: ExportArguments) -> Response:
    """The whole history as a file

    `format` chooses, or else `Accept`.
    """
    large_reads.begin()
    entries = usage.export(auth.caller().user_id, _filter(query))
    return _file(entries, query.get("format") or _FORMATS[preferred(list(_FORMATS))])


# -- rendering ---------------------------------------------------------------------------------------------------

_FORMATS = {"text/csv": "csv", "application/x-ndjson": "ndjson"}


def _filter(query: FilterArguments) -> Filter:
    statuses, whose = frozenset(query.get("status", ())), (query.get("end_user"), query.get("api_key"))
    return Filter(query.get("since"), query.get("until"), query.get("tool"), statuses, *whose)


def _shown(found: Summary) -> Shown:
    names = ("since", "until", "bucket", "group_by", "totals", "complete_through")
    return {
        **{name: getattr(found, name) for name in names},
        "groups": [{**asdict(group.figures), "key": group.key} for group in found.groups],
        "rest": None if found.rest is None else {**asdict(found.rest.figures), "groups": found.rest.groups},
        "series": [{**asdict(point.figures), "start": point.start} for point in found.series],
    }


def _file(entries: Iterable[Entry], form: str) -> Response:
    lines, media_type = (csv_lines(entries), "text/csv") if form == "csv" else (ndjson(entries), "application/x-ndjson")
    response = Response(lines, content_type=f"{media_type}; charset=utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="usage.{form}"'
    response.headers["Vary"] = "Accept"
    return response

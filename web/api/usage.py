"""`/usage`: the caller's usage as a history, as sums and as a file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime
from typing import NotRequired, TypedDict
from uuid import UUID

import marshmallow as ma
from flask import Response

from common import subscriptions, usage
from common.kit.paging import Page
from common.models.usage import USAGE_STATUSES
from common.usage import Entry, Filter, Summary, Whose, csv_lines, ndjson, ranges
from web.api.blueprint import Blueprint
from web.http import auth, large_reads
from web.http.fields import Id, Instant, OneOrMore, Text, Tokens, Whole, Word
from web.http.negotiation import preferred
from web.http.pagination import ListArguments, ListQuery
from web.http.responses import Shown
from web.http.schemas import QueryArguments, Resource

blp = Blueprint("usage", __name__, url_prefix="/usage", description="Usage, exact to the token")


# -- schemas -----------------------------------------------------------------------------------------------------


END_USER = Text(max=128, line=True, metadata={"description": "Whom the invocations were for."})
API_KEY = Id(metadata={"description": "The id of a key. Of one that was made by hand, also what comes from it."})
GROUPS = ("tool", "status", "api_key", "api_key_root", "end_user")


class RangeQuery(QueryArguments):
    since = Instant(data_key="from", metadata={"description": "Inclusive, on `created_at`."})
    until = Instant(data_key="to", metadata={"description": "Exclusive."})

    @ma.validates_schema
    def in_order(self, data: RangeArguments, **_: object) -> None:
        if "since" in data and "until" in data and data["since"] > data["until"]:
            raise ma.ValidationError("Must not be after `to`.", "from")


class RangeArguments(TypedDict, total=False):
    """What `RangeQuery` loads."""

    since: datetime
    until: datetime


class FilterQuery(RangeQuery):
    tool = Text(max=64, metadata={"description": "Id or slug."})
    status = OneOrMore(Word(*USAGE_STATUSES), max=len(USAGE_STATUSES))
    end_user = END_USER
    api_key = API_KEY


class FilterArguments(RangeArguments, total=False):
    """What `FilterQuery` loads."""

    tool: str
    status: list[str]
    end_user: str
    api_key: UUID


class UsageQuery(ListQuery, FilterQuery):
    pass


class UsageArguments(ListArguments, FilterArguments):
    """What `UsageQuery` loads."""


class SummaryQuery(RangeQuery):
    bucket = Word(*reversed(ranges.GRAINS), load_default="day")
    group_by = Word(*GROUPS)
    end_user = END_USER
    api_key = API_KEY


class SummaryArguments(RangeArguments):
    """What `SummaryQuery` loads."""

    bucket: str
    group_by: NotRequired[str]
    end_user: NotRequired[str]
    api_key: NotRequired[UUID]


class ExportQuery(FilterQuery):
    format = Word("csv", "ndjson", metadata={"description": "Default: the preference in `Accept`, otherwise `csv`."})


class ExportArguments(FilterArguments, total=False):
    """What `ExportQuery` loads."""

    format: str


class ToolNameSchema(Resource):
    id = Id(required=True)
    slug = Text(required=True)
    name = Text(required=True)


class UsageEntrySchema(Resource):
    id = Id(required=True)
    invocation_id = Id(required=True)
    tool = ma.fields.Nested(ToolNameSchema, required=True)
    status = Word(*USAGE_STATUSES, required=True)
    tokens_used = Tokens(required=True)
    latency_ms = Whole(required=True, allow_none=True)
    http_status = Whole(required=True, allow_none=True)
    api_key_id = Id(required=True, allow_none=True, metadata={"description": "Null: submitted through a session."})
    api_key_root_id = Id(
        required=True, allow_none=True, metadata={"description": "Of a delegated key, the one that it comes from."}
    )
    end_user = Text(required=True, allow_none=True, metadata={"description": "Whom the invocation was for."})
    created_at = Instant(required=True, metadata={"description": "When the invocation ended."})


class UsageFiguresSchema(Resource):
    invocations = Whole(required=True)
    succeeded = Whole(required=True)
    failed = Whole(required=True, metadata={"description": "Errors and timeouts."})
    tokens_used = Tokens(required=True)
    latency_p50_ms = Whole(required=True, allow_none=True, metadata={"description": "Within 2 %."})
    latency_p95_ms = Whole(required=True, allow_none=True, metadata={"description": "Within 2 %."})


class UsageGroupSchema(UsageFiguresSchema):
    key = Text(
        required=True,
        allow_none=True,
        metadata={
            "description": "The slug of a tool, a status, the id of an API key (null: submitted through a session), or "
            "an end user (null: none was named). `api_key_root` counts delegated keys with the one that they come from."
        },
    )


class UsagePointSchema(UsageFiguresSchema):
    start = Instant(required=True)


class UsageReportSchema(Resource):
    since = Instant(data_key="from", required=True)
    until = Instant(data_key="to", required=True)
    bucket = Word(*reversed(ranges.GRAINS), required=True)
    group_by = Word(*GROUPS, required=True, allow_none=True)
    totals = ma.fields.Nested(UsageFiguresSchema, required=True)
    groups = ma.fields.List(ma.fields.Nested(UsageGroupSchema), required=True)
    series = ma.fields.List(ma.fields.Nested(UsagePointSchema), required=True)
    complete_through = Instant(
        required=True, metadata={"description": "No more entries with an earlier `created_at` can be added."}
    )


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
    return _shown(
        usage.summary(user_id, since, until, bucket=query["bucket"], group_by=query.get("group_by"), whose=whose)
    )


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
        "series": [{**asdict(point.figures), "start": point.start} for point in found.series],
    }


def _file(entries: Iterable[Entry], form: str) -> Response:
    lines, media_type = (csv_lines(entries), "text/csv") if form == "csv" else (ndjson(entries), "application/x-ndjson")
    response = Response(lines, content_type=f"{media_type}; charset=utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="usage.{form}"'
    response.headers["Vary"] = "Accept"
    return response

"""What `/usage` takes and answers."""

from __future__ import annotations

from datetime import datetime
from typing import NotRequired, TypedDict
from uuid import UUID

import marshmallow as ma

from common import usage
from common.kit.pieces import StepCounter
from common.models.usage import USAGE_STATUSES
from common.usage import ranges
from web.http.fields import Id, Instant, OneOrMore, Text, Tokens, Whole, Word
from web.http.pagination import ListArguments, ListQuery
from web.http.schemas import QueryArguments, Resource

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


class InPieces(ma.fields.Nested):
    """An item of a long list: others run between some of them."""

    _pieces = StepCounter(50)

    def _serialize(self, *given: object, **more: object) -> object:
        self._pieces.step()
        return super()._serialize(*given, **more)  # type: ignore[no-untyped-call]  # as marshmallow has it


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


class UsageRestSchema(UsageFiguresSchema):
    groups = Whole(required=True, metadata={"description": "How many."})


class UsagePointSchema(UsageFiguresSchema):
    start = Instant(required=True)


class UsageReportSchema(Resource):
    since = Instant(data_key="from", required=True)
    until = Instant(data_key="to", required=True)
    bucket = Word(*reversed(ranges.GRAINS), required=True)
    group_by = Word(*GROUPS, required=True, allow_none=True)
    totals = ma.fields.Nested(UsageFiguresSchema, required=True)
    groups = ma.fields.List(
        InPieces(UsageGroupSchema),
        required=True,
        metadata={"description": f"The {usage.MOST_GROUPS:,} that used most tokens, the largest first."},
    )
    rest = ma.fields.Nested(
        UsageRestSchema,
        required=True,
        allow_none=True,
        metadata={"description": "All other groups together; null if there are none."},
    )
    series = ma.fields.List(InPieces(UsagePointSchema), required=True)
    complete_through = Instant(
        required=True, metadata={"description": "No more entries with an earlier `created_at` can be added."}
    )

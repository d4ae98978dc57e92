"""`/admin/usage`: usage of the whole platform."""

from __future__ import annotations

from dataclasses import asdict

import marshmallow as ma

from common import invocations, usage
from common.usage import Stats, ranges
from web.api.blueprint import Blueprint
from web.api.usage_schemas import RangeArguments, RangeQuery, UsageFiguresSchema, UsagePointSchema
from web.http import auth
from web.http.fields import Id, Instant, Text, Tokens, Whole, Word
from web.http.responses import Shown
from web.http.schemas import Resource

blp = Blueprint("admin_usage", __name__, url_prefix="/admin/usage", description="Usage of the whole platform")


class StatsQuery(RangeQuery):
    bucket = Word(*reversed(ranges.GRAINS), load_default="day")


class StatsArguments(RangeArguments):
    """What `StatsQuery` loads."""

    bucket: str


class UsedSchema(Resource):
    id = Id(required=True)
    invocations = Whole(required=True)
    failed = Whole(required=True)
    tokens_used = Tokens(required=True)


class TopToolSchema(UsedSchema):
    slug = Text(required=True, attribute="name")


class TopUserSchema(UsedSchema):
    email = Text(required=True, attribute="name")


class PlatformLatenciesSchema(Resource):
    p50 = Whole(required=True, allow_none=True)
    p95 = Whole(required=True, allow_none=True)
    p99 = Whole(required=True, allow_none=True)


class PlatformStatsSchema(Resource):
    since = Instant(data_key="from", required=True)
    until = Instant(data_key="to", required=True)
    bucket = Word(*reversed(ranges.GRAINS), required=True)
    totals = ma.fields.Nested(UsageFiguresSchema, required=True)
    series = ma.fields.List(ma.fields.Nested(UsagePointSchema), required=True)
    top_tools = ma.fields.List(ma.fields.Nested(TopToolSchema), required=True)
    top_users = ma.fields.List(ma.fields.Nested(TopUserSchema), required=True)
    active_users = Whole(
        required=True, metadata={"description": "Accounts with an invocation that ended in the range."}
    )
    error_rate = ma.fields.Float(required=True, metadata={"description": "`failed / invocations`; 0 without any."})
    latency_ms = ma.fields.Nested(PlatformLatenciesSchema, required=True, metadata={"description": "Within 2 %."})
    queue_depth = Whole(required=True, metadata={"description": "Invocations that are waiting now."})
    oldest_queued_seconds = Whole(required=True, metadata={"description": "Age of the oldest invocation that is due."})


@blp.get("/stats")
@auth.admin
@blp.arguments(StatsQuery, location="query")
@blp.response(200, PlatformStatsSchema)
def stats(query: StatsArguments) -> Shown:
    """Usage of all accounts, and the current state of the queue

    The range defaults to the last 30 days and is extended to whole hours (see `from` and `to`).
    """
    found, queue = usage.stats(**query), invocations.sweeping.depth()
    return {
        **_shown(found),
        "queue_depth": queue.depth - queue.running,
        "oldest_queued_seconds": round(queue.oldest),
    }


def _shown(found: Stats) -> Shown:
    names = ("since", "until", "bucket", "totals", "top_tools", "top_users", "active_users", "error_rate", "latency_ms")
    series = [{**asdict(point.figures), "start": point.start} for point in found.series]
    return {**{name: getattr(found, name) for name in names}, "series": series}

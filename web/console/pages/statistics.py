"""Usage of the whole platform, for admins."""

from __future__ import annotations

from datetime import datetime
from typing import Final, TypedDict

import marshmallow as ma

from common import invocations, usage
from common.usage import Stats, ranges
from web.console import charts, lists
from web.console.blueprint import Context, blp, page
from web.console.charts import Chart, Series
from web.console.moments import Moment
from web.http import auth
from web.http.fields import Word
from web.http.schemas import QueryArguments

BUCKETS: Final = tuple(reversed(ranges.GRAINS))
#: Points that are listed and drawn: the newest.
MOST_POINTS: Final = 62


class StatisticsFilter(QueryArguments):
    since = Moment(data_key="from")
    until = Moment(data_key="to")
    bucket = Word(*BUCKETS, load_default="day")

    @ma.validates_schema
    def in_order(self, data: StatsAsked, **_: object) -> None:
        if "since" in data and "until" in data and data["since"] > data["until"]:
            raise ma.ValidationError("Must not be after “to”.", "from")


class StatsRange(TypedDict, total=False):
    """The range that is asked for."""

    since: datetime
    until: datetime


class StatsAsked(StatsRange):
    """What `StatisticsFilter` loads."""

    bucket: str


@blp.get("/admin")
@auth.admin
@page("admin.html")
def admin() -> Context:
    """Sums of a range, who and what used most, and the queue now."""
    asked: StatsAsked = lists.query(StatisticsFilter)
    found = usage.stats(**asked)
    return {**_series(found), "stats": found, "queue": invocations.sweeping.depth(), "buckets": BUCKETS}


def _series(found: Stats) -> Context:
    points = found.series[-MOST_POINTS:]
    chart = _chart(found) if found.totals.invocations else None
    return {"points": points, "is_cut": len(points) < len(found.series), "chart": chart}


def _chart(found: Stats) -> Chart:
    points = found.series[-MOST_POINTS:]
    starts = [point.start for point in points]
    used = Series("tokens", [point.figures.tokens_used for point in points])
    return charts.stacked(starts, [used], [], charts.finding(found), charts.ends_of(starts, found.bucket))

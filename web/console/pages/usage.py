"""Usage: how much was used when, by what; every figure with its table, and the entries behind it as a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

import marshmallow as ma
from flask import Response

from common import subscriptions
from common import usage as history
from common.identity import keys
from common.kit import clock
from common.kit.paging import Window
from common.subscriptions import Bounds
from common.usage import Filter, Group, Rest, Summary, csv_lines, ndjson, ranges
from web.console import charts, downloads, frame, lists
from web.console.blueprint import Context, blp, page
from web.console.charts import Chart, Series
from web.console.rendering import exists, url
from web.http import auth, large_reads, limits
from web.http.fields import Instant, Word
from web.http.pagination import ListArguments, ListQuery

#: What a page shows at most; finer ones are in the API and in the file.
MOST_BUCKETS: Final = 100
MOST_ROWS: Final = 24
MOST_GROUPS: Final = 15
#: Bars that lead to their runs; the rows below lead there too.
MOST_LINKS: Final = 31
GRAINS: Final = ("hour", "day", "month")
GROUPS: Final = {"tool": "tool", "status": "status", "key": "api_key"}
#: How the end of a run is called where runs are listed, by what the usage log calls it.
_ENDS: Final = {"success": "succeeded", "error": "failed", "timeout": "failed", "canceled": "canceled"}
_DAY: Final = timedelta(days=1)
_DATE: Final = len("2026-11-29")


class DayOrInstant(Instant):
    """A day in UTC, or a point in time."""

    def _deserialize(self, value: object, *given: object, **more: object) -> datetime:
        whole = f"{value}T00:00:00Z" if isinstance(value, str) and len(value) == _DATE else value
        return super()._deserialize(whole, *given, **more)


class UsageFilter(ListQuery):
    """`from` is inclusive, `to` exclusive."""

    since = DayOrInstant(data_key="from")
    until = DayOrInstant(data_key="to")
    bucket = Word(*GRAINS)
    by = Word(*GROUPS)
    format = Word("csv", "ndjson", load_default="csv")

    @ma.validates_schema
    def in_order(self, data: UsageAsked, **_: object) -> None:
        if "since" in data and "until" in data and data["since"] >= data["until"]:
            raise ma.ValidationError("Must be before the end.", "from")


class UsageAsked(ListArguments, total=False):
    """What `UsageFilter` loads."""

    since: datetime
    until: datetime
    bucket: str
    by: str
    format: str


# -- what the page needs -------------------------------------------------------------------------------------------


def bucket_for(since: datetime, until: datetime, wanted: str | None) -> str:
    """The bucket that was asked for, or one that suits the range; a coarser one if a page cannot show so many."""
    span = until - since
    first = wanted or ("hour" if span <= 2 * _DAY else "day" if span <= 93 * _DAY else "month")
    coarser = GRAINS[GRAINS.index(first) :]
    return next((grain for grain in coarser if _number(since, until, grain) <= MOST_BUCKETS), "month")


def _number(since: datetime, until: datetime, grain: str) -> int:
    return sum(1 for _, _ in zip(ranges.starts(since, until, grain), range(MOST_BUCKETS + 1), strict=False))


def shown(found: Summary, query: UsageAsked, names: Mapping[str, str]) -> Context:
    """The summary as a chart and as tables."""
    used = [point for point in found.series if point.figures.invocations]
    series = _series(found, names)
    return {
        "found": found,
        "chart": _chart(found, series) if used else None,
        "series": charts.merged(series) if query.get("by") else [],
        "rows": [
            (point, charts.label(point.start, found.bucket), _runs(point.start, found))
            for point in used[: -MOST_ROWS - 1 : -1]
        ],
        "hidden": max(0, len(used) - MOST_ROWS),
        "groups": [(_name(group.key, query, names), group.figures, _runs_of(group, query)) for group in found.groups],
        "more_groups": 0 if found.rest is None else found.rest.groups,
        "query": query,
        "coarser": "bucket" in query and query["bucket"] != found.bucket,
        "typed": [day(query[name]) if name in query else "" for name in ("since", "until")],
        "ranges": _ranges(query),
        "exports": [(form.upper(), url("export_usage", **_filter(found), format=form)) for form in ("csv", "ndjson")],
    }


def _series(found: Summary, names: Mapping[str, str]) -> list[Series]:
    """The amounts of each group, the largest first; of all, where there are no groups."""
    starts = [point.start.astimezone(UTC) for point in found.series]
    if not found.group_by:
        return [Series("tokens", [point.figures.tokens_used for point in found.series])]
    amounts: dict[str | None, dict[datetime, int]] = {group.key: {} for group in found.groups}
    for each in found.stacks:
        if not each.is_rest:
            amounts.setdefault(each.key, {})[each.start] = each.tokens_used
    series = [
        Series(names.get(key or "", key or "a session"), [by_start.get(start, 0) for start in starts])
        for key, by_start in amounts.items()
    ]
    return series if found.rest is None else [*series, _others(found, found.rest, starts)]


def _others(found: Summary, rest: Rest, starts: Sequence[datetime]) -> Series:
    by_start = {each.start: each.tokens_used for each in found.stacks if each.is_rest}
    return Series(f"{rest.groups} others", [by_start.get(start, 0) for start in starts], rest.groups)


def _chart(found: Summary, series: Sequence[Series]) -> Chart:
    starts = [point.start for point in found.series]
    paths = [_runs(start, found) if len(starts) <= MOST_LINKS else "" for start in starts]
    return charts.stacked(
        starts, charts.merged(series), paths, charts.finding(found), charts.ends_of(starts, found.bucket)
    )


def day(moment: datetime) -> str:
    """A bound as it can be typed again: `2026-11-29`, or the moment to the second."""
    at = moment.astimezone(UTC)
    return at.date().isoformat() if at == ranges.floor(at, "day") else clock.rfc3339(at)


def _filter(found: Summary) -> dict[str, str]:
    return {"from": day(found.since), "to": day(found.until)}


def _runs(start: datetime, found: Summary) -> str:
    """Where the runs of a day or a month are listed."""
    if not exists("runs") or found.bucket == "hour":
        return ""
    last = ranges.following(start.astimezone(UTC), found.bucket) - timedelta(seconds=1)
    return url("runs", since=start.astimezone(UTC).date(), until=last.date())


def _runs_of(group: Group, query: UsageAsked) -> str:
    if not exists("runs") or group.key is None:
        return ""
    if query.get("by") == "tool":
        return url("runs", tool=group.key)
    return url("runs", status=_ENDS[group.key]) if group.key in _ENDS else ""


def _name(key: str | None, query: UsageAsked, names: Mapping[str, str]) -> str:
    return names.get(key or "", key or "") or ("a session" if query.get("by") == "key" else "")


def _ranges(query: UsageAsked) -> list[tuple[str, str]]:
    """Ranges that are often wanted."""
    now = ranges.following(ranges.floor(clock.now(), "hour"), "hour")
    kept = {"by": query["by"]} if "by" in query else {}
    days = {f"last {count} days": now - count * _DAY for count in (7, 30, 90)}
    wanted = {"last 24 hours": now - _DAY, **{name: ranges.floor(since, "day") for name, since in days.items()}}
    return [
        ("this period", url("usage", **kept)),
        *((name, url("usage", **kept, **{"from": day(since), "to": day(now)})) for name, since in wanted.items()),
    ]


def _period() -> Bounds | None:
    """The period that the head shows."""
    glance = frame.glance(auth.caller())
    meter = glance.meter if glance is not None else None
    return None if meter is None else Bounds(meter.starts_at, meter.ends_at)


def _key_names(query: UsageAsked, owner: UUID) -> dict[str, str]:
    if query.get("by") != "key":
        return {}
    return {str(key.id): key.name for key in keys.owned(owner, Window(100)).items}


# -- views ---------------------------------------------------------------------------------------------------------


@blp.get("/usage")
@auth.needs("usage:read")
@page("usage.html")
def usage() -> Context:
    """How much was used when, and by what."""
    large_reads.begin()
    query: UsageAsked = lists.query(UsageFilter)
    owner, by = auth.caller().user_id, GROUPS.get(query.get("by", ""))
    since, until = subscriptions.range_within(owner, query.get("since"), query.get("until"), _period())
    bucket = _bucket(since, until, query.get("bucket"))
    found = history.summary(owner, since, until, bucket=bucket, group_by=by, stacked=True, most_groups=MOST_GROUPS)
    large_reads.count_rows(found.rows)
    return shown(found, query, _key_names(query, owner))


def _bucket(since: datetime, until: datetime, wanted: str | None) -> str:
    return bucket_for(since, min(until, max(since, clock.now())) if wanted else until, wanted)


@blp.get("/usage/export")
@auth.needs("usage:read")
def export_usage() -> Response:
    """The entries behind the page as a file, newest first."""
    limits.count()
    large_reads.begin()
    query: UsageAsked = lists.query(UsageFilter)
    entries = history.export(auth.caller().user_id, Filter(query.get("since"), query.get("until")))
    form = query["format"]
    return downloads.streamed(f"usage.{form}", csv_lines(entries) if form == "csv" else ndjson(entries))


export_usage.produces = ["text/csv", "application/x-ndjson"]  # type: ignore[attr-defined]

"""Figures as SVG. A chart is one picture with a name that says the finding; its table is on the page below it.

The drawing is stretched to the width of the page, so no text is in it: the ends of the axes are written around it by
the macro `chart`. Everything that is drawn comes from numbers; addresses are escaped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from markupsafe import Markup

from common.subscriptions import Burndown
from common.usage import Stats, Summary
from web.console import show

WIDTH: Final = 1000
HEIGHT: Final = 200
#: Groups that a stacked chart tells apart; the others are one.
MOST_GROUPS: Final = 5
_DAY: Final = timedelta(days=1)
_FRAME: Final = Markup(
    '<svg viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}" focusable="false">{}</svg>'
)


@dataclass(frozen=True, slots=True)
class Chart:
    """`finding`: one sentence. `top`: the value at the upper edge. `first`, `last`: the ends of the time axis."""

    svg: Markup
    finding: str
    top: str
    first: str
    last: str


@dataclass(frozen=True, slots=True)
class Series:
    """A group of a stacked chart, with its amount in each bucket."""

    name: str
    amounts: Sequence[int]
    #: How many groups it is.
    groups: int = 1

    @property
    def total(self) -> int:
        """Over all buckets."""
        return sum(self.amounts)


# -- how a budget is used up ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DayLeft:
    """A UTC day of a period: what it was charged, and what was left after it."""

    day: datetime
    invocations: int
    tokens: int
    left: int


def days_left(course: Burndown) -> list[DayLeft]:
    """The days on which anything ended, and what was left of what has been granted by now."""
    left, found = course.balance.granted, []
    for each in course.days:
        left -= each.tokens
        start = datetime(each.day.year, each.day.month, each.day.day, tzinfo=UTC)
        found.append(DayLeft(start, each.invocations, each.tokens, left))
    return found


def burndown(course: Burndown, now: datetime, finding: str) -> Chart:
    """What was left over time, and what will be at the low, the middle and the high pace; of a limited period."""
    span, top = course.ends_at - course.starts_at, max(1, course.balance.granted)

    def point(at: datetime, tokens: float) -> str:
        across = min(1.0, max(0.0, (at - course.starts_at) / span))
        return f"{across * WIDTH:.0f} {HEIGHT - max(0.0, min(1.0, tokens / top)) * HEIGHT:.0f}"

    here = min(max(now, course.starts_at), course.ends_at)
    past = [point(at, left) for at, left in _past(course, here)]
    drawn = [_grid(), _path("held", [past[-1], point(here, course.balance.available)])]
    if here < course.ends_at:
        low, middle, high = ([point(*each) for each in _fall(course, here, pace)] for pace in _paces(course))
        drawn += [_path("between", [*low, *reversed(high)]), _path("ahead", middle)]
    drawn.append(_path("left", past))
    svg = _FRAME.format(WIDTH, HEIGHT, finding, Markup("").join(drawn))
    return Chart(
        svg, finding, show.number(course.balance.granted), show.day(course.starts_at), show.day(course.ends_at)
    )


def _past(course: Burndown, here: datetime) -> list[tuple[datetime, float]]:
    """Moments of the period up to here, and what was left then: it falls within each day on which anything ended."""
    points: list[tuple[datetime, float]] = [(course.starts_at, course.balance.granted)]
    for each in days_left(course):
        points += [(min(here, each.day), points[-1][1]), (min(here, each.day + _DAY), each.left)]
    return [*points, (here, points[-1][1])]


def _paces(course: Burndown) -> tuple[float, float, float]:
    pace = course.forecast.pace_per_day
    return pace.low, pace.middle, pace.high


def _fall(course: Burndown, here: datetime, per_day: float) -> list[tuple[datetime, float]]:
    """What is left from here on at that pace."""
    available = course.balance.available
    at_the_end = available - per_day * ((course.ends_at - here) / _DAY)
    if at_the_end >= 0:
        return [(here, available), (course.ends_at, at_the_end)]
    gone = here + timedelta(days=max(0, available) / per_day)
    return [(here, available), (gone, 0), (course.ends_at, 0)]


# -- how much in each bucket ---------------------------------------------------------------------------------------


def label(start: datetime, bucket: str) -> str:
    """A bucket as it is called: `29 Nov 2026, 14:00`, `29 Nov 2026`, `Nov 2026`; in UTC."""
    at = start.astimezone(UTC)
    if bucket == "month":
        return f"{at:%b %Y}"
    return f"{at.day} {at:%b %Y, %H:%M}" if bucket == "hour" else f"{at.day} {at:%b %Y}"


def ends_of(starts: Sequence[datetime], bucket: str) -> tuple[str, str]:
    """The first and the last bucket, as they are written at the ends of the axis."""
    return f"{label(starts[0], bucket)} (UTC)", label(starts[-1], bucket)


def finding(report: Summary | Stats) -> str:
    """What was used, and when most of it."""
    said = f"{show.tokens(report.totals.tokens_used)} in {show.count(report.totals.invocations, 'run')}"
    most = max(report.series, key=lambda point: point.figures.tokens_used)
    if not most.figures.tokens_used or len(report.series) == 1:
        return said
    when = {"day": "on", "month": "in"}.get(report.bucket, "from")
    return f"{said}; the most, {show.number(most.figures.tokens_used)}, {when} {label(most.start, report.bucket)}"


def stacked(
    starts: Sequence[datetime], series: Sequence[Series], paths: Sequence[str], finding: str, ends: tuple[str, str]
) -> Chart:
    """A bar for each bucket, made of the groups. `paths`: where each bar leads to; empty: nowhere."""
    sums = [sum(amounts) for amounts in zip(*(each.amounts for each in series), strict=True)] or [0] * len(starts)
    top, width = max([1, *sums]), WIDTH / max(1, len(starts))
    groups = [_bars(number, bars, width) for number, bars in enumerate(_stacks(series, top))]
    svg = _FRAME.format(WIDTH, HEIGHT, finding, Markup("").join([_grid(), *groups]))
    links = [
        Markup(
            '<a href="{}" tabindex="-1" aria-label="{}"><rect class="hit" x="{:.1f}" width="{:.1f}" height="{}"/></a>'
        ).format(path, show.tokens(sums[number]), number * width, width, HEIGHT)
        for number, path in enumerate(paths)
        if path and sums[number]
    ]
    over = Markup('<svg class="over" viewBox="0 0 {} {}" preserveAspectRatio="none" aria-hidden="true">{}</svg>')
    layer = over.format(WIDTH, HEIGHT, Markup("").join(links)) if links else Markup("")
    return Chart(svg + layer, finding, show.number(top), *ends)


def merged(series: Sequence[Series]) -> list[Series]:
    """The largest groups by themselves, and the others as one."""
    if len(series) <= MOST_GROUPS + 1:
        return list(series)
    groups = sum(each.groups for each in series[MOST_GROUPS:])
    rest = [sum(amounts) for amounts in zip(*(each.amounts for each in series[MOST_GROUPS:]), strict=True)]
    return [*series[:MOST_GROUPS], Series(f"{groups} others", rest, groups)]


def _stacks(series: Sequence[Series], top: int) -> list[list[tuple[float, float]]]:
    """Of each group, the height of what is below and of its own bars."""
    below = [0.0] * len(series[0].amounts) if series else []
    found = []
    for each in series:
        heights = [HEIGHT * amount / top for amount in each.amounts]
        found.append(list(zip(below, heights, strict=True)))
        below = [low + height for low, height in zip(below, heights, strict=True)]
    return found


def _bars(number: int, bars: Sequence[tuple[float, float]], width: float) -> Markup:
    gap = min(4.0, width / 6)
    drawn = [
        f"M{at * width + gap / 2:.0f} {HEIGHT - low:.0f}h{width - gap:.0f}v{-height:.0f}h{gap - width:.0f}z"
        for at, (low, height) in enumerate(bars)
        if height > 0
    ]
    return Markup('<path class="g{}" d="{}"/>').format(number, "".join(drawn)) if drawn else Markup("")


# -- both ----------------------------------------------------------------------------------------------------------


def _grid() -> Markup:
    lines = "".join(f"M0 {HEIGHT * quarter // 4}H{WIDTH}" for quarter in range(5))
    return Markup('<path class="grid" d="{}"/>').format(lines)


def _path(kind: str, points: Sequence[str]) -> Markup:
    return Markup('<path class="{}" d="M{}"/>').format(kind, "L".join(points))

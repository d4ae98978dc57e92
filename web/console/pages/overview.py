"""The first page: what is left and how long it lasts, what runs, what failed, what needs a hand."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from flask import Response, current_app

from common import invocations, subscriptions
from common.kit import clock
from common.kit.paging import Window
from common.operations import account_attention
from common.subscriptions import Burndown, Forecast, Meter
from common.tools import ListedTool, catalogue
from common.usage import DayCharge
from web.console import charts, frame, show
from web.console.blueprint import Context, blp, go, page
from web.http import auth

OPEN: Final = ("queued", "running")
#: Rows of each list.
SHOWN: Final = Window(10)
_DAY: Final = timedelta(days=1)
_WEEK: Final = 7


@dataclass(frozen=True, slots=True)
class Week:
    """Whole UTC days of the period, at most the last seven: their mean, and the lowest and the highest of them."""

    days: int
    mean: float
    lowest: DayCharge
    highest: DayCharge


@blp.get("/")
@auth.needs("invocations:read")
@page("overview.html", parts=("overview_runs",))
def overview() -> Context:
    """Budget, open runs, last failures, and what needs the account's owner."""
    owner = auth.caller().user_id
    return {
        "runs": invocations.listing(owner, SHOWN, statuses=OPEN, payloads=False),
        "failures": invocations.failures(owner, SHOWN),
        "attention": account_attention.attention(owner),
        **budget(),
    }


@blp.get("")
@auth.public
@page("overview.html")
def front() -> Response:
    """The address as it is typed."""
    return go("overview")


def budget() -> Context:
    """How the budget is used up; before the first charge, what to begin with; without a subscription, the plans."""
    glance = frame.glance(auth.caller())
    meter = glance.meter if glance is not None else None
    found: Context = {"course": None, "steps": None, "plans": None}
    if glance is not None and meter is None:
        return {**found, "plans": subscriptions.plans.offered(SHOWN).items}
    if meter is not None and not meter.balance.charged:
        known = catalogue.catalogue(Window(1)).items
        return {**found, "steps": steps(known[0] if known else None)}
    return {**found, "course": None if meter is None else course(meter)}


def steps(tool: ListedTool | None) -> Context:
    """What the commands of the first day are about: a tool, with its example if it has one."""
    example = {} if tool is None or tool.current.example_input is None else tool.current.example_input
    sent = shlex.quote(json.dumps({"input": example}, ensure_ascii=False))
    return {"tool": tool.slug if tool else None, "sent": sent, "hub": current_app.config["PUBLIC_URL"]}


def course(meter: Meter) -> Context:
    """The period as a chart, its days, and the finding in words."""
    now = clock.now()
    found = subscriptions.burndown(auth.caller().user_id, meter)
    finding = "The subscription has ended." if meter.is_over else lasting(found.forecast)
    drawn = None if meter.balance.unlimited else charts.burndown(found, now, finding)
    return {"chart": drawn, "finding": finding, "days": charts.days_left(found)[::-1], "week": week(found, now)}


def lasting(found: Forecast) -> str:
    """How long the tokens last, in a sentence."""
    resets, until = show.near(found.resets_at), found.lasts_until
    if found.available is None:
        return "The plan has no limit."
    if found.available <= 0:
        return f"Nothing is left. New tokens come on {resets}."
    if until.middle is None or until.middle > found.resets_at:
        said = f"Lasts beyond {resets}, when new tokens come."
        if until.high is not None and until.high < found.resets_at:
            said += f" At the fastest pace it would be used up on {show.near(until.high)}."
        return said
    earliest = show.near(until.high) if until.high else show.near(until.middle)
    latest = show.near(until.low) if until.low else "much later"
    return f"Lasts until {show.near(until.middle)} ({earliest} – {latest}). New tokens come on {resets}."


def week(course: Burndown, now: datetime) -> Week | None:
    """The pace of the last whole days of the period; None on its first day."""
    charged = {each.day: each for each in course.days}
    ends = min(now, course.ends_at)
    wanted = [(ends - back * _DAY).date() for back in range(1, _WEEK + 1)]
    days = [charged.get(day, DayCharge(day, 0, 0)) for day in wanted if day > course.starts_at.date()]
    if not days:
        return None
    by_tokens = sorted(days, key=lambda each: each.tokens)
    return Week(len(days), sum(each.tokens for each in days) / len(days), by_tokens[0], by_tokens[-1])

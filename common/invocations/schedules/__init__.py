"""Schedules: invocations that are submitted again and again, at times.

    timing      when a schedule fires: cron on the clock of a time zone, or a fixed distance
    rows        a schedule as it is read
    editing     create, change, remove: what its owner does
    firing      what is due is submitted, exactly once for each time (run by the sweep of every second)
    giving_up   times of which nothing comes: refused, missed or overtaken, and never submitted as well

Design: docs/schedules.md.
"""

from common.invocations.schedules.editing import Changes, NewSchedule, change, create, get, listing, remove, remove_all
from common.invocations.schedules.firing import fire_due
from common.invocations.schedules.rows import ScheduleRow

__all__ = [
    "Changes",
    "NewSchedule",
    "ScheduleRow",
    "change",
    "create",
    "fire_due",
    "get",
    "listing",
    "remove",
    "remove_all",
]

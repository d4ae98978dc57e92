"""Schedules over HTTP, while the test itself is the sweep, and lets the time pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import text

from common import boot
from common.invocations import SubmitRules, schedules
from common.kit import db as database
from common.tools import ListedTool
from tests import factories
from tests.plain import plain
from tests.runs.conftest import Api, Json, api
from tests.timing import Fast, using

__all__ = ["api"]

#: As if so much time had passed for the schedule; what it is for stays on the minute.
_PASS = text("""
update schedules
   set next_at = next_at - make_interval(secs => :seconds), due_at = due_at - make_interval(secs => :seconds),
       counted_from = counted_from - make_interval(secs => :seconds),
       last_at = last_at - make_interval(secs => :seconds)
 where cast(:id as uuid) is null or id = :id
""")
_LEASES_END = text("update schedules set due_at = next_at where due_at > next_at")


class Died(BaseException):
    """The process was killed: nothing in it goes on."""


def die() -> None:
    raise Died


@dataclass(slots=True)
class Sweep:
    """Fires what is due, and lets time pass."""

    api: Api
    passed: int = 0

    def fire(self, *, verified_only: bool = False) -> int:
        return schedules.fire_due(SubmitRules(boot.outbound(), verified_only))

    def after(self, seconds: float, of: Json | None = None) -> int:
        """Fire once so much time has passed, and a second more each time: no time is one that was before."""
        self.passed += 1
        database.rowcount(_PASS, {"seconds": seconds + self.passed, "id": of and of["id"]})
        return self.fire()

    def later(self) -> int:
        """Fire once a sweep that died is given up, or a failure was waited for."""
        database.rowcount(_LEASES_END, {})
        with using(Fast()):  # who died within a submit is waited for
            return self.fire()

    def add(self, tool: ListedTool | None = None, **body: Any) -> Json:
        """A schedule of every hour, unless the body says more."""
        times = {} if "cron" in body else {"every_seconds": 3600}
        slug = (tool or factories.tool()).slug
        return dict(self.api.post("/schedules", {"tool": slug, "input": {}, **times, **body}, 201))

    def shown(self, schedule: Json) -> Json:
        return dict(self.api.get(f"/schedules/{schedule['id']}"))

    def made(self) -> list[str]:
        """The ids of all invocations, oldest first."""
        return [str(row.id) for row in plain(text("select id from invocations order by id"), {})]

    def refused(self) -> list[Json]:
        """What the feed says was refused."""
        return [each["data"] for each in self.api.get("/events?limit=100") if each["type"] == "schedule.refused"]


@pytest.fixture
def sweep(api: Api) -> Sweep:
    return Sweep(api)

"""Schedules: recurring submits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

from joyfull import models
from joyfull.exchange import Operation
from joyfull.paging import Page
from joyfull.resource import body_of, many, nothing, one, request_of
from joyfull.surface import Asynchronous, Surface, Synchronous, listing, operation

if TYPE_CHECKING:
    from joyfull.models.bodies import ScheduleChanges, ScheduleIn, SchedulesIndexQuery


class SchedulesSurface(Surface):
    """Schedules: recurring submits."""

    @listing
    def list(self, **filters: Unpack[SchedulesIndexQuery]) -> Operation[Page[models.Schedule]]:
        """The schedules of the account."""
        request = request_of(self._context, "schedules_index", query=filters)
        return many(self._context, models.Schedule.of, request)

    @operation
    def create(self, **fields: Unpack[ScheduleIn]) -> Operation[models.Schedule]:
        """Submit by `cron` in a `timezone`, or `every_seconds`."""
        request = request_of(self._context, "schedules_create", body=body_of(fields))
        return one(self._context, models.Schedule.of, request)

    @operation
    def get(self, schedule_id: str) -> Operation[models.Schedule]:
        """One schedule."""
        request = request_of(self._context, "schedules_show", {"schedule_id": schedule_id})
        return one(self._context, models.Schedule.of, request)

    @operation
    def update(self, schedule_id: str, **fields: Unpack[ScheduleChanges]) -> Operation[models.Schedule]:
        """Change or pause it."""
        request = request_of(self._context, "schedules_edit", {"schedule_id": schedule_id}, body=body_of(fields))
        return one(self._context, models.Schedule.of, request)

    @operation
    def delete(self, schedule_id: str) -> Operation[None]:
        """No more submits; those made go on."""
        request = request_of(self._context, "schedules_remove", {"schedule_id": schedule_id})
        return nothing(self._context, request)


class Schedules(SchedulesSurface, Synchronous):
    """Submits at times, of a `Client`."""


class AsyncSchedules(SchedulesSurface, Asynchronous):
    """Submits at times, of an `AsyncClient`."""

"""`/schedules`: invocations that are submitted again and again, at times."""

from __future__ import annotations

from typing import Final
from uuid import UUID

import marshmallow as ma

from common import boot, errors
from common.identity.idempotency import Once
from common.invocations import schedules
from common.invocations.schedules import Changes, NewSchedule, ScheduleRow
from common.kit.expecting import Expect
from common.kit.paging import Page
from web.api.blueprint import Blueprint
from web.http import auth
from web.http.fields import Flag, Id, Instant, JsonObject, Metadata, Text, Tokens, Whole
from web.http.pagination import ListArguments, ListQuery
from web.http.responses import Headers, location
from web.http.schemas import Body, Resource

MOST_SECONDS: Final = 31_536_000
CRON_DOC: Final = {
    "description": "Minute, hour, day of the month, month, day of the week: `30 9 * * MON-FRI`, `0 8 L * *`.",
}
EVERY_DOC: Final = {"description": "Instead of `cron`: the interval in seconds, counted from now."}
ZONE_DOC: Final = {"description": "IANA time zone of the clock that `cron` goes by."}
CAP_DOC: Final = {"description": "As of any submit; null: that of the price."}

blp = Blueprint("schedules", __name__, url_prefix="/schedules", description="Invocations submitted on a schedule")


# -- schemas -----------------------------------------------------------------------------------------------------


class ScheduleInSchema(Body):
    tool = Text(required=True, max=64, metadata={"description": "Id or slug. It cannot be changed later."})
    input = ma.fields.Raw(required=True, allow_none=True)
    cron = Text(max=100, metadata=CRON_DOC)
    every_seconds = Whole(60, MOST_SECONDS, metadata=EVERY_DOC)
    timezone = Text(max=64, load_default="UTC", metadata=ZONE_DOC)
    webhook_url = Text(max=2048, allow_none=True, load_default=None)
    metadata = Metadata(load_default=dict)
    max_tokens = Tokens(allow_none=True, load_default=None, metadata=CAP_DOC)
    paused = Flag(load_default=False)


class ScheduleChangesSchema(Body):
    input = ma.fields.Raw(allow_none=True)
    cron = Text(max=100, metadata=CRON_DOC)
    every_seconds = Whole(60, MOST_SECONDS, metadata=EVERY_DOC)
    timezone = Text(max=64, metadata=ZONE_DOC)
    webhook_url = Text(max=2048, allow_none=True)
    metadata = Metadata()
    max_tokens = Tokens(allow_none=True, metadata=CAP_DOC)
    paused = Flag()


class ScheduledToolSchema(Resource):
    id = Id(required=True, attribute="tool_id")
    slug = Text(required=True, attribute="tool_slug")
    name = Text(required=True, attribute="tool_name")


class LastFiringSchema(Resource):
    at = Instant(required=True, attribute="last_at", metadata={"description": "The time that it was for."})
    invocation_id = Id(required=True, allow_none=True, attribute="last_invocation_id")
    problem = JsonObject(
        required=True,
        allow_none=True,
        attribute="last_problem",
        metadata={
            "description": "Why nothing was submitted: `code`, `title`, `detail` and more, as of a refused submit."
        },
    )


class ScheduleSchema(Resource):
    id = Id(required=True)
    tool = ma.fields.Nested(ScheduledToolSchema, required=True)
    input = ma.fields.Raw(required=True, allow_none=True)
    cron = Text(required=True, allow_none=True)
    every_seconds = Whole(required=True, allow_none=True)
    timezone = Text(required=True)
    webhook_url = Text(required=True, allow_none=True)
    metadata = Metadata(required=True)
    max_tokens = Tokens(required=True, allow_none=True)
    paused = Flag(required=True)
    next_at = Instant(required=True, allow_none=True, metadata={"description": "Null while it is paused."})
    last = ma.fields.Nested(LastFiringSchema, required=True, allow_none=True)
    created_at = Instant(required=True)
    updated_at = Instant(required=True)


# -- views -------------------------------------------------------------------------------------------------------


@blp.get("")
@auth.needs("invocations:write")
@blp.arguments(ListQuery, location="query")
@blp.page(ScheduleSchema)
def index(query: ListArguments) -> Page[ScheduleRow]:
    """The account's schedules, newest first"""
    return schedules.listing(auth.caller().user_id, **query)


@blp.post("")
@auth.needs("invocations:write")
@blp.arguments(ScheduleInSchema)
@blp.response(201, ScheduleSchema, headers=["Location"])
@blp.raises(errors.ToolInputRejected, errors.UrlRefused, errors.Conflict)
@blp.idempotent
@blp.tagged(ScheduleSchema)
def create(body: NewSchedule, once: Once) -> tuple[ScheduleRow, Headers]:
    """Add a schedule

    At each of its times the input is submitted as `POST /tools/{tool}/invoke` does, exactly once, in the name of the
    account: the key that made the schedule may end, and keys with limits cannot make one. Exactly one of `cron` and
    `every_seconds` is required.

    Times that a clock skips when it is put forward come at the next that exists; those that it shows twice come once.
    Of the times that were missed, the last one is made up if it is less than an hour old. A refusal (402, an archived
    tool, an input that its schema does not allow any more, …) is an event `schedule.refused`; the schedule goes on.

    An account can have 100 schedules, with inputs of 1 MiB together.
    """
    made = schedules.create(auth.caller(), boot.outbound(), once=once, **body)
    return made, location("schedules.show", schedule_id=made.id)


@blp.get("/<uuid:schedule_id>")
@auth.needs("invocations:write")
@blp.response(200, ScheduleSchema)
@blp.tagged(ScheduleSchema)
def show(schedule_id: UUID) -> ScheduleRow:
    """One schedule, with its next time and what came of the last"""
    return schedules.get(auth.caller().user_id, schedule_id)


@blp.patch("/<uuid:schedule_id>")
@auth.needs("invocations:write")
@blp.arguments(ScheduleChangesSchema)
@blp.response(200, ScheduleSchema)
@blp.raises(errors.ToolInputRejected, errors.UrlRefused, errors.Conflict)
@blp.tagged(ScheduleSchema)
def edit(body: Changes, schedule_id: UUID, expect: Expect[ScheduleRow]) -> ScheduleRow:
    """Change, pause or resume a schedule

    New times, and the end of a pause, count from now: what was missed before is not made up.
    """
    return schedules.change(auth.caller(), schedule_id, boot.outbound(), expect=expect, **body)


@blp.delete("/<uuid:schedule_id>")
@auth.needs("invocations:write")
@blp.response(204)
@blp.matched(ScheduleSchema)
def remove(schedule_id: UUID, expect: Expect[ScheduleRow]) -> None:
    """Delete a schedule; the invocations that it has submitted stay"""
    schedules.remove(auth.caller().user_id, schedule_id, expect=expect)

# ruff: noqa: S608  (the statements are put together from constants)
"""Firing: what is due is submitted, exactly once for each time, whatever dies in between.

The time that is fired is the latest that has come. The submit has an Idempotency-Key made of the schedule and that
time, and a body that says no more, so a repetition finds the invocation of the first try, even if the schedule or its
tool was changed meanwhile. Only then is the row moved on to the next time; a sweep that dies before leaves it due.
That nothing comes of a time is decided under the same key (`giving_up`). A time is given up after `HOUR`, long before
keys are forgotten.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final
from uuid import UUID

from sqlalchemy import text

from common import invocations
from common.errors import DependencyUnavailable, PlatformError, Temporary
from common.identity import authorization
from common.invocations import Order, SubmitFields, SubmitRules
from common.invocations.schedules import giving_up
from common.invocations.schedules.giving_up import FIRINGS
from common.invocations.schedules.rows import COLUMNS, ScheduleRow
from common.kit import apart, clock, db, failpoints, jsonb, metrics
from common.kit.query import Query

LATE = metrics.Histogram(
    "joyfull_schedule_late_seconds",
    "Seconds between the time of a schedule and its submit",
    buckets=metrics.LONG_SECONDS,
)
#: A time that was missed is made up if it is not older.
HOUR: Final = timedelta(hours=1)
#: For how long a sweep fires, about.
SECONDS: Final = 1.0
#: How long others leave a schedule alone that a sweep has begun to fire.
LEASE_SECONDS: Final = 10.0
#: Between two tries after a temporary failure.
RETRY_SECONDS: Final = (5, 60)
#: The deadline of its invocations, in seconds: that of any submit.
EXPIRES_IN: Final = 86_400

#: Whether `fire_due` has something to do.
DUE: Final = "(select true from schedules where due_at <= now() order by due_at limit 1) is not null"
CLAIM: Final = Query(
    f"""
with due as (select id from schedules where due_at <= now() order by due_at limit 1 for update skip locked)
update schedules s set due_at = now() + make_interval(secs => :lease)
  from due, tools t where s.id = due.id and t.id = s.tool_id
returning {COLUMNS}
""",
    ScheduleRow,
)
#: It is tried again, for as long as no later time has come.
POSTPONE: Final = text("""
update schedules
   set due_at = now() + make_interval(secs => :seconds), last_at = :at, last_invocation_id = null,
       last_problem = cast(:problem as jsonb)
 where id = :id and next_at = :at
""")


def fire_due(rules: SubmitRules, *, seconds: float = SECONDS) -> int:
    """For the sweep: fire the schedules that are due, for about so many seconds. Returns how many times were done."""
    due = _due(clock.monotonic() + seconds)
    return apart.total("fire-schedules", due, partial(_fire, rules), lambda row: row.id)


def _due(give_up: float) -> Iterator[ScheduleRow]:
    while rows := db.execute(CLAIM, {"lease": LEASE_SECONDS}):
        yield rows[0]
        if clock.monotonic() > give_up:
            return


def _fire(rules: SubmitRules, row: ScheduleRow) -> int:
    if row.next_at is None:
        return 0
    at = row.timing.latest(max(row.next_at, row.now - HOUR), row.now) or row.next_at
    if at <= row.now - HOUR:
        known = _known_problem(row)
        outcome = "refused" if known else "missed"
        return int(giving_up.give_up(row, at, known or _problem(_missed()), outcome=outcome))
    if at != row.next_at and not _overtaken(row, at):
        return 0
    try:
        invocation_id = _submit(rules, row, at)
    except Temporary as error:
        _postpone(row, at, error)
        return 0
    except PlatformError as error:
        return int(giving_up.give_up(row, at, _problem(error)))
    failpoints.at("schedule.after_submit")
    done = {"id": row.id, "at": at, "next": row.timing.after(row.now), "invocation_id": invocation_id}
    noted = db.rowcount(giving_up.NOTE, done)
    FIRINGS.labels("submitted").inc()
    LATE.observe(max(0.0, (row.now - at).total_seconds()))
    return noted


def _submit(rules: SubmitRules, row: ScheduleRow, at: datetime) -> UUID:
    """Submit for this time, or find what was submitted for it. Raises `PlatformError` when it is refused."""
    key, body = giving_up.key_of(row, at)
    try:
        caller = authorization.of_account(row.user_id)
        rules.require_allowed(caller)
        order = replace(_order(rules, row, key), body=body, request_id=f"schedule-{row.id}-{at:%Y%m%dT%H%M%SZ}")
        failpoints.at("schedule.before_submit")
        return invocations.submit(caller, str(row.tool_id), order).id
    except PlatformError:
        if earlier := invocations.made_under(row.user_id, key, body):
            return earlier
        raise


def _order(rules: SubmitRules, row: ScheduleRow, key: str) -> Order:
    sent = SubmitFields(input=row.input, expires_in=EXPIRES_IN, metadata=dict(row.metadata))
    if row.max_tokens is not None:
        sent["max_tokens"] = row.max_tokens
    if row.webhook_url is not None:
        sent["webhook_url"] = row.webhook_url
    return rules.order(sent, request_id="", key=key)


# -- times of which nothing came ------------------------------------------------------------------------------------


def _overtaken(row: ScheduleRow, at: datetime) -> bool:
    """Go on to a later time that has come; False when the owner or another sweep has moved it.

    What was tried for the earlier one in vain is told; one that nobody came to is made up by the later.
    """
    if row.next_at is None:
        return False
    if problem := _known_problem(row):
        return giving_up.give_up(row, row.next_at, problem, following=at)
    return giving_up.skip(row, row.next_at, at)


def _postpone(row: ScheduleRow, at: datetime, error: Temporary) -> None:
    least, most = RETRY_SECONDS
    seconds = max(least, min(most, error.retry_after))
    again = {"id": row.id, "at": at, "seconds": seconds, "problem": jsonb.dumps(_problem(error))}
    if db.rowcount(POSTPONE, again):
        FIRINGS.labels("postponed").inc()


def _known_problem(row: ScheduleRow) -> dict[str, object] | None:
    """Why the time that is due could not be fired so far."""
    return dict(row.last_problem) if row.last_problem and row.last_at == row.next_at else None


def _missed() -> DependencyUnavailable:
    return DependencyUnavailable("The schedule could not be fired within an hour of its time. Nothing was submitted.")


def _problem(error: PlatformError) -> dict[str, object]:
    """The members of a problem that do not depend on a request, as JSON."""
    own = {name: clock.rfc3339(it) if isinstance(it, datetime) else it for name, it in error.members.items()}
    problem: dict[str, object] = {"title": error.title, "detail": error.detail, "code": error.code, **own}
    if error.errors:
        problem["errors"] = [{"pointer": fault.pointer, "detail": fault.detail} for fault in error.errors]
    return problem

# ruff: noqa: S608  (the statements are put together from constants)
"""Firing: what is due is submitted, exactly once for each time, whatever dies in between.

The time that is fired is the latest that has come. The submit has an Idempotency-Key made of the schedule and that
time, and a body that says no more, so a repetition finds the invocation of the first try, even if the schedule or its
tool was changed meanwhile. Only then is the row moved on to the next time; a sweep that dies before leaves it due. A
time is given up after `HOUR`, long before keys are forgotten.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from common import invocations, webhooks
from common.errors import DependencyUnavailable, PlatformError, Temporary
from common.identity import authorization
from common.invocations import Order, SubmitFields, SubmitRules
from common.invocations.schedules.rows import COLUMNS, ScheduleRow
from common.kit import apart, clock, db, failpoints, jsonb, log, metrics
from common.kit.query import Query
from common.queueing import messages

logger = log.get(__name__)

#: What came of a time: submitted, refused, missed (nobody came to it for an hour), postponed (it is tried again),
#: overtaken (a later time had come, and took its place).
FIRINGS = metrics.Counter("joyfull_schedule_firings", "Firings of schedules, by outcome", ["outcome"])
LATE = metrics.Histogram(
    "joyfull_schedule_late_seconds",
    "Seconds between the time of a schedule and its submit",
    buckets=metrics.LONG_SECONDS,
)
REFUSED: Final = "schedule.refused"
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
#: A time was dealt with: `next_at` moves on unless the owner has moved it, and what became of it is noted unless that
#: of a later time was.
NOTE: Final = text("""
update schedules
   set due_at = case when next_at = :at then cast(:next as timestamptz) else due_at end,
       next_at = case when next_at = :at then cast(:next as timestamptz) else next_at end,
       last_invocation_id = case when last_at > :at then last_invocation_id else :invocation_id end,
       last_problem = case when last_at > :at then last_problem end,
       last_at = greatest(last_at, :at)
 where id = :id
""")


class _Moved(NamedTuple):
    id: UUID


#: Nothing came of a time, and nobody else has dealt with it.
GIVE_UP: Final = Query(
    """
update schedules
   set next_at = cast(:next as timestamptz), due_at = cast(:next as timestamptz), last_at = :at,
       last_invocation_id = null, last_problem = cast(:problem as jsonb)
 where id = :id and next_at = :at
returning id
""",
    _Moved,
)
#: It is tried again, for as long as no later time has come.
POSTPONE: Final = text("""
update schedules
   set due_at = now() + make_interval(secs => :seconds), last_at = :at, last_invocation_id = null,
       last_problem = cast(:problem as jsonb)
 where id = :id and next_at = :at
""")
#: A later time has come, and takes its place.
SKIP: Final = text("update schedules set next_at = :next where id = :id and next_at = :at")


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
        _give_up(row, at, known or _problem(_missed()), outcome="refused" if known else "missed")
        return 1
    if at != row.next_at and not _overtaken(row, at):
        return 0
    try:
        invocation_id = _submit(rules, row, at)
    except Temporary as error:
        _postpone(row, at, error)
        return 0
    except PlatformError as error:
        _give_up(row, at, _problem(error))
        return 1
    failpoints.at("schedule.after_submit")
    done = {"id": row.id, "at": at, "next": row.timing.after(row.now), "invocation_id": invocation_id}
    noted = db.rowcount(NOTE, done)
    FIRINGS.labels("submitted").inc()
    LATE.observe(max(0.0, (row.now - at).total_seconds()))
    return noted


def _submit(rules: SubmitRules, row: ScheduleRow, at: datetime) -> UUID:
    """Submit for this time, or find what was submitted for it. Raises `PlatformError` when it is refused."""
    key, body = f"schedule:{row.id}:{at:%Y-%m-%dT%H:%M:%SZ}", {"schedule": str(row.id), "at": clock.rfc3339(at)}
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
    if (problem := _known_problem(row)) and row.next_at:
        return _give_up(row, row.next_at, problem, following=at)
    skipped = db.rowcount(SKIP, {"id": row.id, "at": row.next_at, "next": at}) == 1
    if skipped:
        FIRINGS.labels("overtaken").inc()
    return skipped


def _give_up(
    row: ScheduleRow,
    at: datetime,
    problem: dict[str, object],
    *,
    outcome: str = "refused",
    following: datetime | None = None,
) -> bool:
    """Tell the owner that nothing came of a time, once, and go on to the next."""
    moved = {"id": row.id, "at": at, "next": following or row.timing.after(row.now), "problem": jsonb.dumps(problem)}
    about = {"schedule_id": str(row.id), "tool": row.tool_slug, "at": clock.rfc3339(at), "problem": problem}
    with db.transaction() as session:
        told = bool(db.fetch(session, GIVE_UP, moved))
        if told:
            webhooks.record(session, row.user_id, REFUSED, about)
    if told:
        FIRINGS.labels(outcome).inc()
        messages.notify(messages.DELIVER)
        logger.info("schedule refused", schedule_id=str(row.id), code=problem["code"])
    return told


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

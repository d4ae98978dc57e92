"""Times of which nothing comes: refused, missed, or overtaken by a later one.

A sweep that was taken for dead may still submit, or still be about to give up. So that nothing comes of a time is
decided as its submit is: by taking the Idempotency-Key, in the transaction that tells the owner. Whoever comes second
finds the key taken: a submit makes nothing any more, and a time that was submitted is noted instead of given up.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final, NamedTuple, TypeAlias

from sqlalchemy import TextClause, text
from sqlalchemy.orm import Session

from common import invocations, webhooks
from common.invocations.schedules.rows import ScheduleRow
from common.kit import clock, db, failpoints, jsonb, log, metrics
from common.queueing import messages

logger = log.get(__name__)

#: What came of a time: submitted, refused, missed (nobody came to it for an hour), postponed (it is tried again),
#: overtaken (a later time had come, and took its place).
FIRINGS = metrics.Counter("joyfull_schedule_firings", "Firings of schedules, by outcome", ["outcome"])
REFUSED: Final = "schedule.refused"

#: A time was submitted: `next_at` moves on unless the owner has moved it, and what became of it is noted unless that
#: of a later time was.
NOTE: Final = text("""
update schedules
   set due_at = case when next_at = :at then cast(:next as timestamptz) else due_at end,
       next_at = case when next_at = :at then cast(:next as timestamptz) else next_at end,
       last_invocation_id = case when last_at > :at then last_invocation_id else :invocation_id end,
       last_problem = case when last_at > :at then last_problem end,
       last_at = greatest(last_at, :at)
 where id = :id
returning id
""")
#: Nothing came of a time, and its owner has not moved it.
GIVE_UP: Final = text("""
update schedules
   set next_at = cast(:next as timestamptz), due_at = cast(:next as timestamptz), last_at = :at,
       last_invocation_id = null, last_problem = cast(:problem as jsonb)
 where id = :id and next_at = :at
returning id
""")
#: A later time has come, and takes its place; whoever is firing it goes on with that.
SKIP: Final = text("update schedules set next_at = :next where id = :id and next_at = :at returning id")
#: Nothing came of it when it came before: a clock was set back.
MOVE_ON: Final = text("""
update schedules set next_at = cast(:next as timestamptz), due_at = cast(:next as timestamptz)
 where id = :id and next_at = :at
returning id
""")


#: A statement that moves a schedule on, with its parameters.
Move: TypeAlias = tuple[TextClause, dict[str, object]]


class TimeKey(NamedTuple):
    """The Idempotency-Key of a time's submit, and the body that the key stands for."""

    key: str
    body: dict[str, str]


def key_of(row: ScheduleRow, at: datetime) -> TimeKey:
    """The key of the schedule's submit at this time: the same whatever else was changed."""
    return TimeKey(f"schedule:{row.id}:{at:%Y-%m-%dT%H:%M:%SZ}", {"schedule": str(row.id), "at": clock.rfc3339(at)})


def give_up(
    row: ScheduleRow,
    at: datetime,
    problem: dict[str, object],
    *,
    outcome: str = "refused",
    following: datetime | None = None,
) -> bool:
    """Tell the owner that nothing came of a time, once, and go on to the next; or note what did come of it.

    False: the owner or another sweep has moved on.
    """
    failpoints.at("schedule.before_giving_up")
    moved = {"id": row.id, "at": at, "next": following or row.timing.after(row.now), "problem": jsonb.dumps(problem)}
    about = {"schedule_id": str(row.id), "tool": row.tool_slug, "at": clock.rfc3339(at), "problem": problem}
    with db.transaction() as session:
        done = _decide(session, row, at, (GIVE_UP, moved), outcome)
        if done == outcome:
            webhooks.record(session, row.user_id, REFUSED, about)
    if done == outcome:
        messages.notify(messages.DELIVER)
        logger.info("schedule refused", schedule_id=str(row.id), code=problem["code"])
    return _counted(done)


def skip(row: ScheduleRow, at: datetime, following: datetime) -> bool:
    """Leave out a time that nobody came to, for a later one; or note what came of it.

    False: the owner or another sweep has moved on.
    """
    failpoints.at("schedule.before_giving_up")
    moved = {"id": row.id, "at": at, "next": following}
    with db.transaction() as session:
        done = _decide(session, row, at, (SKIP, moved), "overtaken")
    return _counted(done)


def _decide(session: Session, row: ScheduleRow, at: datetime, move: Move, outcome: str) -> str | None:
    """Take the time's key and move on. Returns what came of the time ("": that was told before), if that was done.

    A key that the owner has used for a request of their own is as good as taken: no submit can have it.
    """
    statement, moved = move
    key, body = key_of(row, at)
    holder = invocations.occupy(session, row.user_id, key, body)
    if holder is not None and holder.same:
        made = holder.invocation_id
        statement, outcome = (MOVE_ON, "") if made is None else (NOTE, "submitted")
        moved = {**moved, "invocation_id": made}
    return None if session.execute(statement, moved).first() is None else outcome


def _counted(done: str | None) -> bool:
    if done:
        FIRINGS.labels(done).inc()
    return done is not None

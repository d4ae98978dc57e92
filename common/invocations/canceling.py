"""cancel: the owner changes their mind, of one invocation or of many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import takewhile
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from common.errors import AlreadyFinished, Conflict, DependencyUnavailable, NotFound
from common.identity.authorization import Caller
from common.invocations import completion_sql, lists, reading
from common.invocations.completing import after_commit, completion_of, completion_parameters
from common.invocations.filters import Filters
from common.invocations.model import Completion, Task
from common.kit import apart, clock, db, failpoints, log
from common.kit.query import Query

logger = log.get(__name__)

TRIES: Final = 10
#: Queued rows that are read at a time.
BATCH: Final = 100
#: So many are canceled by one request.
MOST_AT_ONCE: Final = 1_000

COMPLETE_QUEUED: Final = completion_of(
    f"delete from queue where id = :id and user_id = :user_id and token is null returning {completion_sql.DELETED}"  # noqa: S608
)


class _Requested(NamedTuple):
    cancel_at: datetime


REQUEST_CANCEL: Final = Query(
    """
update queue set cancel_at = coalesce(cancel_at, now())
 where id = :id and user_id = :user_id and token is not null returning cancel_at
""",
    _Requested,
)


class HeldRow(NamedTuple):
    """A row that a worker process holds. `cancel_at`: its owner has asked for a cancel."""

    token: UUID
    cancel_at: datetime | None


#: (`lease_expires_at is not null`: the index of running rows.)
HELD: Final = Query(
    "select q.token, q.cancel_at from queue q where q.worker = :worker and q.lease_expires_at is not null", HeldRow
)


def cancel(caller: Caller, invocation_id: UUID) -> bool:
    """Cancel one of the caller's invocations. True: it is canceled. False: it runs, and its worker will be notified.

    Raises:
        NotFound: unknown, or of another account.
        AlreadyFinished: it was complete before.
    """
    mine = {"id": invocation_id, "user_id": caller.user_id}
    for _ in range(TRIES):  # it may start, or go back to the queue, between the two questions
        failpoints.at("cancel.before_queued")
        rows = db.execute(COMPLETE_QUEUED, {**completion_parameters(invocation_id, Completion("canceled")), **mine})
        if rows:
            after_commit(rows[0])
            return True
        failpoints.at("cancel.before_running")
        if db.execute(REQUEST_CANCEL, mine):
            return False
        if reading.get_within(invocation_id, caller.user_id, 0).ended:
            raise AlreadyFinished
    raise DependencyUnavailable("The invocation changed state repeatedly. It was not canceled; retry.", retry_after=1)


def cancel_unread(task: Task) -> int:
    """For its worker: ask for the cancel of a stream that nobody reads any more, in its owner's name. Returns 1."""
    db.execute(REQUEST_CANCEL, {"id": task.id, "user_id": task.user_id})
    logger.info("stream canceled: it has no readers", invocation_id=str(task.id))
    return 1


class _Queued(NamedTuple):
    id: UUID


QUEUED_OF: Final = Query(
    """
select q.id from queue q
 where q.period_id in (select p.id from periods p where p.user_id = :user_id) and q.token is null
 limit :limit
""",
    _Queued,
)


class OpenOf(NamedTuple):
    """Whether an account has anything in the queue."""

    open: bool


_OPEN_OF = Query(
    """
select exists (select from queue where period_id in (select p.id from periods p where p.user_id = :user_id)) as open
""",
    OpenOf,
)
_FORGET_URLS = text("""
update invocations i set webhook_url = null, webhook_events = null
 where i.id in (select q.id from queue q
                 where q.period_id in (select p.id from periods p where p.user_id = :user_id))
   and i.status = 'open' and i.webhook_url is not null
""")


def cancel_queued(user_id: UUID, *, seconds: float) -> bool:
    """Cancel what the account has in the queue, for about so many seconds. What runs is left to its end.

    Returns whether nothing of the account is open any more.
    """
    give_up = clock.monotonic() + seconds
    while clock.monotonic() < give_up:
        rows = db.execute(QUEUED_OF, {"user_id": user_id, "limit": BATCH})
        in_time = takewhile(lambda _: clock.monotonic() <= give_up, rows)
        if not apart.total("cancel-queued", in_time, partial(_cancel_queued, user_id), lambda row: row.id):
            break
    return not db.execute(_OPEN_OF, {"user_id": user_id})[0].open


def _cancel_queued(user_id: UUID, row: _Queued) -> int:
    canceled = {**completion_parameters(row.id, Completion("canceled")), "user_id": user_id}
    for completed in db.execute(COMPLETE_QUEUED, canceled):
        after_commit(completed)
    return 1


def forget_urls(session: Session, user_id: UUID) -> None:
    """Forget the webhook URLs of the account's open invocations: their ends are told to nobody."""
    session.execute(_FORGET_URLS, {"user_id": user_id})


def held_by(worker: UUID) -> list[HeldRow]:
    """The rows that this worker process holds."""
    return db.execute(HELD, {"worker": worker})


# -- many ----------------------------------------------------------------------------------------------------------


class _Count(NamedTuple):
    known: int


KNOWN: Final = Query(
    "select count(*) as known from invocations where id = any(cast(:ids as uuid[])) and user_id = :user_id", _Count
)


@dataclass(slots=True)
class CancelCounts:
    """How many never start, how many were running and are to stop, and how many had ended before."""

    canceled: int = 0
    requested: int = 0
    already_finished: int = 0


def cancel_several(caller: Caller, ids: Sequence[UUID]) -> CancelCounts:
    """Cancel these invocations of the caller, each by itself, in this order.

    Raises `NotFound`, before anything is canceled, if one is unknown or of another account.
    """
    if db.execute(KNOWN, {"ids": list(ids), "user_id": caller.user_id})[0].known < len({*ids}):
        raise NotFound("At least one of these invocations does not exist. Nothing was canceled.")
    counts = CancelCounts()
    for each in ids:
        try:
            if cancel(caller, each):
                counts.canceled += 1
            else:
                counts.requested += 1
        except AlreadyFinished:
            counts.already_finished += 1
    return counts


def cancel_matching(caller: Caller, given: Filters, confirm: int) -> CancelCounts:
    """Cancel the caller's open invocations that a list would show, if there are `confirm` of them.

    The newest `MOST_AT_ONCE`: when there are more, the counts add up to less than `confirm`. One that ends meanwhile
    counts as finished. Raises `Conflict` with their `count` if it is another.
    """
    found = db.execute(
        lists.open_work(lists.Kind.of(given)), {**given.parameters(), "below": given.high, "limit": MOST_AT_ONCE}
    )
    count = found[0].found if found else 0
    if count != confirm:
        raise Conflict(f"{count} open invocations match, not {confirm}. Nothing was canceled.", count=count)
    return cancel_several(caller, [row.id for row in found])

"""cancel: the owner changes their mind."""

from __future__ import annotations

from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from common.errors import AlreadyFinished, DependencyUnavailable
from common.identity.authorization import Caller
from common.invocations import fragments, reading
from common.invocations.completing import after_commit, completion_of, completion_parameters
from common.invocations.model import Completion
from common.kit import db, failpoints
from common.kit.query import Query

TRIES: Final = 10

COMPLETE_QUEUED: Final = completion_of(
    f"delete from queue where id = :id and user_id = :user_id and token is null returning {fragments.DELETED}"  # noqa: S608
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
        if reading.get(invocation_id, caller.user_id).ended:
            raise AlreadyFinished
    raise DependencyUnavailable("The invocation changed state repeatedly. It was not canceled; retry.", retry_after=1)


def held_by(worker: UUID) -> list[HeldRow]:
    """The rows that this worker process holds."""
    return db.execute(HELD, {"worker": worker})

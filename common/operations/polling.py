"""What a worker process asks PostgreSQL once a second, in one statement: what it holds, and what there is to do.

Each part of the sweep says beside its statements when it has something to do. Only then is it run: what is due is still
found within a second, and a platform that does nothing asks one question.
"""

from __future__ import annotations

from typing import Final, NamedTuple
from uuid import UUID

from common import invocations
from common.invocations import sweeping
from common.invocations.schedules import firing
from common.kit import db, log
from common.kit.query import Query
from common.operations import instance
from common.webhooks import sweeping as deliveries

logger = log.get(__name__)


class Look(NamedTuple):
    """The tokens of the rows that the process holds, and of those to be canceled; whether there is work of each kind.

    `platform`: the name of the platform that the database belongs to, None if that is not known.
    """

    held: list[UUID]
    canceled: list[UUID]
    queue: bool
    deliveries: bool
    schedules: bool
    platform: str | None


_HELD = "select q.token from queue q where q.worker = :worker and q.lease_expires_at is not null"
LOOK: Final = Query(
    f"""
select array({_HELD}) as held, array({_HELD} and q.cancel_at is not null) as canceled, {sweeping.DUE} as queue,
       {deliveries.SOMETHING_DUE} as deliveries, {firing.DUE} as schedules, ({instance.NAME}) as platform
""",
    Look,
)


def look(worker: UUID) -> Look:
    """Look once, for this worker process.

    If one of the tables is locked, only what the process holds is looked up, and everything counts as due: the parts of
    the sweep that can be done are done.

    Raises:
        db.Unreachable: nothing is known.
    """
    try:
        return db.execute(LOOK, {"worker": worker})[0]
    except db.Busy as error:
        logger.warning("cannot see what is due: sweeping everything", reason=str(error))
    rows = invocations.held_by(worker)
    canceled = [row.token for row in rows if row.cancel_at is not None]
    return Look([row.token for row in rows], canceled, queue=True, deliveries=True, schedules=True, platform=None)

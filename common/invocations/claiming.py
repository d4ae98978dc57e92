# ruff: noqa: S608  (the statements are put together from constants)
"""claim: a worker gets the row that is due first in fair order, under a fresh fencing token."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from common.invocations import fragments
from common.invocations.model import Task
from common.kit import clock, db, memory
from common.kit.clock import uuid7
from common.kit.query import Query
from common.queueing import messages

#: Seconds between two looks of a process at rows that the virtual clock has left behind: there are hardly any, and the
#: sweep raises their start tags every second.
LOOK_BACK_SECONDS = 0.1


class ClaimedRow(NamedTuple):
    """A claimed row. `next_id` is None, and everything else with it, when there was none to claim.

    `vt`: the virtual clock, where this claim has moved it. `deliveries`: how many webhook deliveries it made due.
    """

    next_id: UUID | None
    next_user_id: UUID
    next_period_id: UUID
    next_tool_id: UUID
    next_tool_version_id: UUID
    next_held: int
    next_attempts: int
    next_crash_count: int
    next_token: UUID
    next_input: str
    next_request_id: str
    next_traceparent: str | None
    next_stream: bool
    next_seconds_left: Decimal
    vt: int | None
    deliveries: int


def _claim(low: str) -> Query[ClaimedRow]:
    return Query(
        f"""
with {fragments.ready(low)},
t as (update queue q set {fragments.CLAIM} from n where q.id = n.id returning {fragments.TASK}),
st as ({fragments.STARTED}),
sd as ({fragments.STARTED_DELIVERIES})
select {fragments.CLAIMED_COLUMNS}, (select count(*) from sd) as deliveries from t join invocations ti on ti.id = t.id
 order by t.start_tag
""",
        ClaimedRow,
    )


CLAIM: Final = _claim("(select last_value from vt)")
CLAIM_FROM_THE_START: Final = _claim(str(fragments.SLACK))

#: After a lost answer: did the statement that carried these new tokens claim rows?
CLAIMED_UNDER: Final = Query(
    f"""
select {fragments.CLAIMED_COLUMNS.replace(fragments.MOVED_CLOCK, "0")},
       1 as deliveries
  from queue t join invocations ti on ti.id = t.id
 where t.token = any(cast(:tokens as uuid[])) and t.lease_expires_at is not null order by t.start_tag
""",
    ClaimedRow,
)

DISPATCHED: Final = text("""
update queue set dispatched_at = now() where id = :id and token = :token and dispatched_at is null and cancel_at is null
""")


@dataclass(frozen=True, slots=True)
class ClaimOptions:
    """Which worker process claims, and the tools that it must not take now: paused, or at their own limit.

    `most`: how many rows it takes at once, if the tool versions of all are among `quick` and none of the rows has lost
    a worker before; otherwise one.

    `once`: a write that PostgreSQL does not answer or refuses is not repeated, but raises `db.Unreachable`. For the
    sweep, which comes again.
    """

    worker: UUID
    paused: tuple[UUID, ...] = ()
    take_next: bool = True
    most: int = 1
    quick: tuple[UUID, ...] = ()
    once: bool = False


class _Looked:
    """When this process last looked at rows that the virtual clock has left behind."""

    back = 0.0


_looked = memory.Part(_Looked)


def claim(options: ClaimOptions) -> Task | None:
    """Claim the row that is due first in fair order; None when no row is ready."""
    return next(iter(claim_several(replace(options, most=1))), None)


def claim_several(options: ClaimOptions) -> list[Task]:
    """Claim the row that is due first in fair order, and up to `options.most` altogether if they are quick."""
    rows = _claimed(CLAIM, options)
    if not rows and clock.monotonic() - _looked().back > LOOK_BACK_SECONDS:
        _looked().back = clock.monotonic()
        rows = _claimed(CLAIM_FROM_THE_START, options)
    if rows and rows[0].deliveries:
        messages.notify(messages.DELIVER)
    return tasks(rows)


def _claimed(statement: Query[ClaimedRow], options: ClaimOptions) -> list[ClaimedRow]:
    tokens = new_tokens(options)
    try:
        return db.execute(statement, parameters(options, tokens))
    except db.CommitUnknown:
        return claimed_under(tokens)


def claimed_under(tokens: Sequence[UUID]) -> list[ClaimedRow]:
    """What a statement whose answer was lost has claimed under its new tokens."""
    return db.execute(CLAIMED_UNDER, {"tokens": list(tokens)})


def new_tokens(options: ClaimOptions) -> list[UUID]:
    """A fencing token for each row that may be claimed."""
    return [uuid7() for _ in range(options.most)]


def parameters(options: ClaimOptions, tokens: Sequence[UUID]) -> dict[str, object]:
    """The parameters of every statement that claims."""
    lists = {"next_tokens": tokens, "paused": options.paused, "quick": options.quick}
    return {**{name: _array(ids) for name, ids in lists.items()}, "worker": options.worker}


def _array(ids: Iterable[UUID]) -> str:
    """An array as PostgreSQL reads it, for a parameter that is cast: psycopg takes four times as long for a list."""
    return "{" + ",".join([each.hex for each in ids]) + "}"


def tasks(rows: Iterable[ClaimedRow]) -> list[Task]:
    """Claimed rows as the worker holds them, in fair order."""
    return [task for row in rows if (task := _task(row))]


def _task(row: ClaimedRow) -> Task | None:
    if row.next_id is None:
        return None
    return Task(
        id=row.next_id,
        token=row.next_token,
        user_id=row.next_user_id,
        period_id=row.next_period_id,
        tool_id=row.next_tool_id,
        tool_version_id=row.next_tool_version_id,
        input=row.next_input,
        held=row.next_held,
        attempt=row.next_attempts,
        crash_count=row.next_crash_count,
        request_id=row.next_request_id,
        traceparent=row.next_traceparent,
        stream=row.next_stream,
        seconds_left=float(row.next_seconds_left),
    )


def mark_dispatched(task: Task) -> bool:
    """Record, before a call that must not be repeated, that it goes out now; or before any output is shown, that it is.

    False: the row has another owner, or was canceled: do not call, show nothing.
    """
    return db.rowcount(DISPATCHED, {"id": task.id, "token": task.token}) == 1

# ruff: noqa: S608  (the statements are put together from constants)
"""retry_later: a row goes back to wait for its next attempt. give_back: a row goes back unbegun."""

from __future__ import annotations

from dataclasses import replace
from typing import Final, NamedTuple
from uuid import UUID

from common import budgets
from common.budgets import Move
from common.invocations import fragments
from common.invocations.claiming import ClaimedRow, ClaimOptions
from common.invocations.completing import WORKER_LOST, complete, complete_and_claim, successor
from common.invocations.model import Completion, Task
from common.invocations.writing import Write, write
from common.kit import db, jsonb
from common.kit.query import Query


class RetriedRow(NamedTuple):
    """A row that waits again, and the row that got its slot."""

    id: UUID
    user_id: UUID
    period_id: UUID
    moves: int
    successor: UUID | None
    successor_slot: int
    successor_moves: int


_WAITING = f"""
w as (
  select id, slot, start_tag, token, worker, claimed_at from queue
   where id = :id and token = cast(:token as uuid) and cancel_at is null
     and now() + make_interval(secs => :delay) < expires_at for update),
d as (
  update queue q
     set token = null, worker = null, claimed_at = null, lease_expires_at = null, dispatched_at = null, slot = null,
     start_tag = null, {fragments.waits_again("now() + make_interval(secs => :delay)")},
         last_error = cast(:last_error as jsonb), crash_count = q.crash_count + :loss, moves = q.moves + 1
    from w where q.id = w.id
  returning q.id, q.user_id, q.period_id, q.attempts, q.moves, q.capped_key,
            coalesce(q.key_due_at, q.due_at) as due_at, w.slot, w.start_tag, w.token, w.worker, w.claimed_at),
a as (
  insert into attempts (invocation_id, n, token, worker, started_at, ended_at, outcome, http_status, detail,
                        operator_detail, retry_at)
  select d.id, d.attempts, d.token, d.worker, d.claimed_at, greatest(now(), d.claimed_at), cast(:outcome as text),
         cast(:http_status as smallint), cast(:error_detail as text), cast(:operator_detail as text), d.due_at
    from d)"""
_RETRIED = f"d.id, d.user_id, d.period_id, d.moves, {fragments.SUCCESSOR_COLUMNS}"

RETRY: Final = Query(
    f"""
with {_WAITING}, {fragments.SUCCESSOR}, {fragments.SUCCESSOR_WITH_SLOT}
select {_RETRIED} from d left join hu on true
""",
    RetriedRow,
)
RETRY_AND_CLAIM: Final = Query.pair(
    f"""
with {_WAITING}, {fragments.CLAIM_NEXT}
select {_RETRIED}, {fragments.CLAIMED_COLUMNS}, (select count(*) from sd) as deliveries
  from d left join hu on true left join t on true left join invocations ti on ti.id = t.id
 order by t.start_tag
""",
    RetriedRow,
    ClaimedRow,
)
RETRIED_BY: Final = Query(
    """
select q.id, q.user_id, q.period_id, q.moves, null::uuid as successor, 0 as successor_slot, 0 as successor_moves
  from attempts a join queue q on q.id = a.invocation_id where a.token = :token
""",
    RetriedRow,
)


class GivenBackRow(NamedTuple):
    """A row that was handed back."""

    id: UUID


#: Nothing was tried, so the attempts do not count.
GIVE_BACK: Final = Query(
    """
update queue set token = null, worker = null, claimed_at = null, lease_expires_at = null, dispatched_at = null,
       attempts = attempts - 1, started_at = case when attempts = 1 then null else started_at end,
       start_tag = (select last_value from vt) + slot
 where id = any(cast(:ids as uuid[])) and token = any(cast(:tokens as uuid[])) and cancel_at is null returning id
""",
    GivenBackRow,
)


def retry_later(
    task: Task, failure: Completion, delay: float, options: ClaimOptions, *, lost: bool = False
) -> Task | None:
    """`retry_and_claim`, of the next task alone."""
    return next(iter(retry_and_claim(task, failure, delay, replace(options, most=1), lost=lost)), None)


def retry_and_claim(
    task: Task, failure: Completion, delay: float, options: ClaimOptions, *, lost: bool = False
) -> list[Task]:
    """Put the row back for `delay` seconds and claim the next; completes it instead when it was canceled or time is up.

    `lost`: its worker died, which counts against the payload.
    """
    parameters = {
        "id": task.id,
        "token": task.token,
        "delay": delay,
        "outcome": failure.outcome,
        "error_detail": failure.error_detail,
        "operator_detail": failure.operator_detail,
        "http_status": failure.http_status,
        "last_error": jsonb.dumps({"code": failure.error_code, "detail": failure.error_detail}),
        "loss": int(lost),
        "width": 0,
    }
    waits, following = write(_RETRY, task, parameters, options)
    return following if waits else complete_and_claim(task, failure, options)


def _after_commit(row: RetriedRow) -> None:
    budgets.moved(row.user_id, row.period_id, Move(row.id, row.moves, None), *successor(row))


_RETRY: Final = Write(RETRY_AND_CLAIM, RETRY, RETRIED_BY, _after_commit)


def give_back(*tasks: Task) -> None:
    """Hand back tasks whose calls were not begun: no attempt was made. Canceled ones are completed."""
    rows = {"ids": [task.id for task in tasks], "tokens": [task.token for task in tasks]}
    done = {row.id for row in db.execute(GIVE_BACK, rows)}
    for task in tasks:
        if task.id not in done:
            complete(task, WORKER_LOST, ClaimOptions(task.token, take_next=False))

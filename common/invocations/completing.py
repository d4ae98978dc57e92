# ruff: noqa: S608  (the statements are put together from constants)
"""complete: one statement, fenced by the token, writes how a call ended and everything that follows from it.

The queue row goes. With it come the invocation's final state, the attempt, the usage entry, the event, the webhook
deliveries, the account's next row in the slot that is free now, and the worker's next task. After the commit the budget
gate is settled, and then everyone else is notified.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final, Generic, NamedTuple, Protocol, TypeVar
from uuid import UUID

from common import budgets
from common.budgets import Move
from common.invocations import claiming, counting, fragments, thresholds
from common.invocations.claiming import ClaimedRow, ClaimOptions
from common.invocations.model import Completion, Task
from common.kit import clock, db, failpoints, jsonb, log
from common.kit.clock import uuid7
from common.kit.query import Query
from common.models.budgets import THRESHOLDS
from common.queueing import messages

logger = log.get(__name__)

#: How long a worker tries to record a completion while PostgreSQL is unavailable; then the sweep completes the row.
PERSIST_SECONDS = 60.0
PAUSE_SECONDS = 0.5

WORKER_LOST = Completion(
    "failed",
    error_code="worker_lost",
    error_detail="The worker died during the call. It is unknown whether the tool ran.",
)


class CompletedRow(NamedTuple):
    """A completed invocation, the slot that it had, and the row that got the slot.

    `counted_at`: when it was charged, if an API key's allowance counts it. `told`: deliveries that are due.
    """

    id: UUID
    status: str
    charged: int
    user_id: UUID
    period_id: UUID
    tool_id: UUID
    slot: int | None
    moves: int
    counted_at: datetime | None
    successor: UUID | None
    successor_slot: int
    successor_moves: int
    told: int


# -- SQL -----------------------------------------------------------------------------------------------------------

_COMPLETED = f"""f.id, f.status, f.charged, f.user_id, f.period_id, f.tool_id, f.slot, f.moves,
       case when f.api_keys is not null then now() end as counted_at, {fragments.SUCCESSOR_COLUMNS},
       (select count(*) from de) as told"""
_BY_TOKEN = f"delete from queue where id = :id and token = cast(:token as uuid) returning {fragments.DELETED}"


def completion_of(which: str) -> Query[CompletedRow]:
    """The statement that completes the row that `which`, a DELETE, takes out of the queue."""
    return Query(
        f"""
with d as materialized ({which}), {fragments.COMPLETION}, {fragments.SUCCESSOR}, {fragments.SUCCESSOR_WITH_SLOT}
select {_COMPLETED} from f left join hu on true
""",
        CompletedRow,
    )


COMPLETE: Final = completion_of(_BY_TOKEN)
COMPLETE_AND_CLAIM: Final = Query.pair(
    f"""
with d as materialized ({_BY_TOKEN}), {fragments.COMPLETION}, {fragments.CLAIM_NEXT}
select {_COMPLETED}, {fragments.CLAIMED_COLUMNS}, (select count(*) from sd) as deliveries
  from f left join hu on true left join t on true left join invocations ti on ti.id = t.id
""",
    CompletedRow,
    ClaimedRow,
)

#: Did our completion commit, although its answer was lost? (Its slot, and who got it, are lost with the answer.)
COMPLETED_BY: Final = Query(
    """
select i.id, i.status, i.charged, i.user_id, i.period_id, i.tool_id, null::integer as slot, 0 as moves,
       i.finished_at as counted_at,
       null::uuid as successor, 0 as successor_slot, 0 as successor_moves, 1 as told
  from attempts a join invocations i on i.id = a.invocation_id
 where a.token = :token and i.status <> 'open'
""",
    CompletedRow,
)


# -- complete ------------------------------------------------------------------------------------------------------


def complete(task: Task, completion: Completion, options: ClaimOptions) -> Task | None:
    """Record how a call ended, settle it, and claim the next task if the worker wants one.

    A completion that the fencing token rejects changes nothing and claims nothing: the row has another owner, and the
    result is dropped. A cancel that came before turns every completion but a success into `canceled`.
    """
    parameters = {**completion_parameters(task.id, completion), "token": task.token}
    written, following = write(_COMPLETE, task, parameters, options)
    if not written:
        counting.rejected(task, completion)
    return following


def completion_parameters(invocation_id: UUID, completion: Completion) -> dict[str, object]:
    """The parameters of every statement that completes."""
    succeeded, shown = completion.status == "succeeded", completion.shown
    kept = succeeded or shown is not None
    output = completion.output if succeeded or shown is None else shown.output
    return {
        "id": invocation_id,
        "event_id": uuid7(),
        "status": completion.status,
        "output": jsonb.dumps(output) if kept else None,
        "output_as_sent": jsonb.as_sent(output) if kept else None,
        "error_code": completion.error_code,
        "error_detail": completion.error_detail,
        "operator_detail": completion.operator_detail,
        "cost": completion.cost,
        "units": _exact(completion.units),
        "basis": completion.basis,
        "shown_cost": 0 if shown is None else shown.cost,
        "shown_units": None if shown is None else _exact(shown.units),
        "shown_basis": None if shown is None else shown.basis,
        "outcome": completion.outcome,
        "usage_status": completion.usage_status,
        "http_status": completion.http_status,
        "latency_ms": completion.duration_ms,
        "paused": [],
        "width": 0,
    }


def _exact(units: float | None) -> Decimal | None:
    return None if units is None else Decimal(str(units))


def after_commit(row: CompletedRow) -> None:
    """After a completion is committed: count it, settle the hold, notify deliverers, record budget thresholds."""
    counting.completed(row.tool_id, row.status, row.charged)
    last = Move(row.id, row.moves, row.slot)
    moves, message = successor(row), str(row.id)
    settled = budgets.settle(
        row.user_id, row.period_id, last, row.charged, *moves, message=message, counted_at=row.counted_at
    )
    if row.told:
        messages.notify(messages.DELIVER)
    for percent in THRESHOLDS:
        if settled is not None and settled.reached(percent):
            thresholds.record(row.user_id, row.period_id, percent)
    logger.info("invocation completed", invocation_id=str(row.id), status=row.status, charged=row.charged)


class _HasSuccessor(Protocol):
    @property
    def successor(self) -> UUID | None: ...
    @property
    def successor_slot(self) -> int: ...
    @property
    def successor_moves(self) -> int: ...


def successor(row: _HasSuccessor) -> tuple[Move, ...]:
    """The move of the row that got the free slot, if there is one."""
    return () if row.successor is None else (Move(row.successor, row.successor_moves, row.successor_slot),)


# -- a fenced write of a worker ------------------------------------------------------------------------------------


class _Owned(Protocol):
    @property
    def user_id(self) -> UUID: ...
    @property
    def period_id(self) -> UUID: ...


W = TypeVar("W", bound=_Owned)


@dataclass(frozen=True, slots=True)
class Write(Generic[W]):
    """One kind of write, with and without claiming the next row; how to see later that it was done; what follows."""

    and_claim: Query[tuple[W, ClaimedRow]]
    alone: Query[W]
    done_by: Query[W]
    after_commit: Callable[[W], None]


_COMPLETE: Final = Write(COMPLETE_AND_CLAIM, COMPLETE, COMPLETED_BY, after_commit)


def write(kind: Write[W], task: Task, parameters: dict[str, object], options: ClaimOptions) -> tuple[bool, Task | None]:
    """One write of a worker, fenced by its token. Returns whether the row was its own, and the next task, if any."""
    width, token = budgets.width(task.period_id), uuid7()
    everything = {**parameters, **claiming.parameters(options, token), "width": width}
    try:
        written, claimed = _execute(kind, everything, claim=options.take_next)
    except db.Unreachable:
        return _write_alone(kind, task, everything, token)
    if written is None:
        return False, None
    failpoints.at("worker.after_commit")
    kind.after_commit(written)
    failpoints.at("worker.after_settle")
    if claimed is None:
        return True, None
    if claimed.deliveries:
        messages.notify(messages.DELIVER)
    return True, claiming.task(claimed)


def _execute(kind: Write[W], parameters: dict[str, object], *, claim: bool) -> tuple[W | None, ClaimedRow | None]:
    """What was written, and what was claimed; (None, None) when the fencing token rejected the write."""
    if claim:
        return next(iter(db.execute(kind.and_claim, parameters)), (None, None))
    return next(iter(db.execute(kind.alone, parameters)), None), None


def _write_alone(
    kind: Write[W], task: Task, parameters: dict[str, object], next_token: UUID
) -> tuple[bool, Task | None]:
    """The write without the claim, until the database answers. It is fenced, so it may be repeated; a claim may not.

    Then look at what the first statement did, in case only its answer was lost: it may have written, and it may have
    claimed a row under the new token.
    """
    give_up = clock.monotonic() + PERSIST_SECONDS
    while clock.monotonic() < give_up:
        try:
            written = _written(kind, task, parameters)
            claimed = claiming.claimed_under(next_token)
            return written, claiming.task(claimed[0]) if claimed else None
        except db.Unreachable:
            clock.sleep(PAUSE_SECONDS)
    logger.warning("completion left to the sweep: database unavailable", invocation_id=str(task.id))
    return True, None


def _written(kind: Write[W], task: Task, parameters: dict[str, object]) -> bool:
    if rows := db.execute(kind.alone, parameters):
        kind.after_commit(rows[0])
    elif rows := db.execute(kind.done_by, {"token": task.token}):
        kind.after_commit(rows[0])
        budgets.tell(rows[0].user_id, rows[0].period_id)  # which row got the slot is lost with the answer
    return bool(rows)

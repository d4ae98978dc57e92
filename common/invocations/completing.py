# ruff: noqa: S608  (the statements are put together from constants)
"""complete: one statement, fenced by the token, writes how a call ended and everything that follows from it.

The queue row goes. With it come the invocation's final state, the attempt, the usage entry, the event, the webhook
deliveries, the account's next row in the slot that is free now, and the worker's next task. After the commit the budget
gate is settled, and then everyone else is notified.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Final, NamedTuple, Protocol
from uuid import UUID

from common import budgets
from common.budgets import Move, Settlement
from common.invocations import completion_sql, counting, fragments, thresholds
from common.invocations.claiming import ClaimedRow, ClaimOptions
from common.invocations.model import Completion, Task
from common.invocations.writing import Write, write
from common.kit import jsonb, log
from common.kit.clock import uuid7
from common.kit.query import Query
from common.models.budgets import THRESHOLDS
from common.queueing import messages

logger = log.get(__name__)

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

COMPLETED_COLUMNS: Final = f"""f.id, f.status, f.charged, f.user_id, f.period_id, f.tool_id, f.slot, f.moves,
       case when f.api_keys is not null then now() end as counted_at, {fragments.SUCCESSOR_COLUMNS},
       (select count(*) from de) as told"""
_BY_TOKEN = f"delete from queue where id = :id and token = cast(:token as uuid) returning {completion_sql.DELETED}"


def completion_of(which: str) -> Query[CompletedRow]:
    """The statement that completes the row that `which`, a DELETE, takes out of the queue."""
    return Query(
        f"""
with c as not materialized (select {completion_sql.GIVEN_ONE}), d as materialized ({which}),
{completion_sql.COMPLETION}, {fragments.SUCCESSOR}, {fragments.SUCCESSOR_WITH_SLOT}
select {COMPLETED_COLUMNS} from f left join hu on true
""",
        CompletedRow,
    )


COMPLETE: Final = completion_of(_BY_TOKEN)
COMPLETE_AND_CLAIM: Final = Query.pair(
    f"""
with c as not materialized (select {completion_sql.GIVEN_ONE}), d as materialized ({_BY_TOKEN}),
{completion_sql.COMPLETION}, {fragments.CLAIM_NEXT}
select {COMPLETED_COLUMNS}, {fragments.CLAIMED_COLUMNS}, (select count(*) from sd) as deliveries
  from f left join hu on true left join t on true left join invocations ti on ti.id = t.id
 order by t.start_tag
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
    """`complete_and_claim`, of the next task alone."""
    return next(iter(complete_and_claim(task, completion, replace(options, most=1))), None)


def complete_and_claim(task: Task, completion: Completion, options: ClaimOptions) -> list[Task]:
    """Record how a call ended, settle it, and claim the next tasks if the worker wants any.

    A completion that the fencing token rejects changes nothing and claims nothing: the row has another owner, and the
    result is dropped. A cancel that came before turns every completion but a success into `canceled`.
    """
    parameters = {**completion_parameters(task.id, completion), "token": task.token}
    written, following = write(ENDED, task, parameters, options)
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
    after_commits([row])


def after_commits(rows: Sequence[CompletedRow]) -> None:
    """`after_commit` of several that one statement has completed, settled in one round trip."""
    settled = budgets.settle([settlement(row) for row in rows])
    if any(row.told for row in rows):
        messages.notify(messages.DELIVER)
    for row, figures in zip(rows, settled, strict=True):
        counting.completed(row.tool_id, row.status, row.charged)
        for percent in THRESHOLDS:
            if figures is not None and figures.reached(percent):
                thresholds.record(row.user_id, row.period_id, percent)
    completed = [{"invocation_id": str(row.id), "status": row.status, "charged": row.charged} for row in rows]
    if len(completed) == 1:
        logger.info("invocation completed", **completed[0])
    else:
        logger.info("invocations completed", invocations=completed)


def settlement(row: CompletedRow) -> Settlement:
    """What the budget gate is told of a completion."""
    last = Move(row.id, row.moves, row.slot)
    return Settlement(row.user_id, row.period_id, last, row.charged, successor(row), str(row.id), row.counted_at)


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


ENDED: Final = Write(COMPLETE_AND_CLAIM, COMPLETE, COMPLETED_BY, after_commit)

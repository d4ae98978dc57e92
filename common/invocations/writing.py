"""A write of a worker, fenced by its token, that may claim the next rows in the same statement.

What is written is told of after the commit. When the answer is lost, only the write is repeated, and what the statement
has claimed is looked up by its new tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar
from uuid import UUID

from common import budgets
from common.invocations import claiming
from common.invocations.claiming import ClaimedRow, ClaimOptions
from common.invocations.model import Task
from common.kit import clock, db, failpoints, log
from common.kit.query import Query
from common.queueing import messages

logger = log.get(__name__)

#: How long a worker tries to record a completion while PostgreSQL is unavailable; then the sweep completes the row.
PERSIST_SECONDS: Final = 60.0
PAUSE_SECONDS: Final = 0.5


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


def write(kind: Write[W], task: Task, parameters: dict[str, object], options: ClaimOptions) -> tuple[bool, list[Task]]:
    """One write of a worker, fenced by its token. Returns whether the row was its own, and the next tasks, if any.

    Raises `db.Unreachable` with `options.once`: the row is its own still, or was written, and nobody was told.
    """
    width, tokens = budgets.width(task.period_id), claiming.new_tokens(options)
    everything = {**parameters, **claiming.parameters(options, tokens), "width": width}
    try:
        written, claimed = _execute(kind, everything, claim=options.take_next)
    except db.Unreachable:
        if options.once:
            raise
        give_up = clock.monotonic() + PERSIST_SECONDS
        return write_alone(kind, task, everything, give_up), claimed_after_loss(tokens, give_up)
    if written is None:
        return False, []
    failpoints.at("worker.after_commit")
    kind.after_commit(written)
    failpoints.at("worker.after_settle")
    return True, claimed_tasks(claimed)


def claimed_tasks(rows: Sequence[ClaimedRow]) -> list[Task]:
    """What a write has claimed as well; deliverers are notified of it."""
    if rows and rows[0].deliveries:
        messages.notify(messages.DELIVER)
    return claiming.tasks(rows)


def _execute(kind: Write[W], parameters: dict[str, object], *, claim: bool) -> tuple[W | None, list[ClaimedRow]]:
    """What was written, and what was claimed; nothing when the fencing token rejected the write."""
    if not claim:
        return next(iter(db.execute(kind.alone, parameters)), None), []
    rows = db.execute(kind.and_claim, parameters)
    return rows[0][0] if rows else None, [claimed for _, claimed in rows]


def write_alone(kind: Write[W], task: Task, parameters: dict[str, object], give_up: float) -> bool:
    """The write without the claim, until the database answers or `give_up`. It is fenced, so it may be repeated; a
    claim may not. Returns whether the row was its own.

    Then look at what the first statement did, in case only its answer was lost: it may have written.
    """
    while clock.monotonic() < give_up:
        try:
            return _written(kind, task, parameters)
        except db.Unreachable:
            clock.sleep(PAUSE_SECONDS)
    logger.warning("completion left to the sweep: database unavailable", invocation_id=str(task.id))
    return True


def claimed_after_loss(tokens: Sequence[UUID], give_up: float) -> list[Task]:
    """What a statement whose answer was lost has claimed under its new tokens."""
    while clock.monotonic() < give_up:
        try:
            return claiming.tasks(claiming.claimed_under(tokens))
        except db.Unreachable:
            clock.sleep(PAUSE_SECONDS)
    return []


def _written(kind: Write[W], task: Task, parameters: dict[str, object]) -> bool:
    if rows := db.execute(kind.alone, parameters):
        kind.after_commit(rows[0])
    elif rows := db.execute(kind.done_by, {"token": task.token}):
        kind.after_commit(rows[0])
        budgets.tell(rows[0].user_id, rows[0].period_id)  # which row got the slot is lost with the answer
    return bool(rows)

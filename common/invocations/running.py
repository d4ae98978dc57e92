"""claim · end · retry_later · give_back · cancel: everything that may happen to an open invocation.

An end is one statement: the queue row goes, fenced by its token, and with it come the invocation's last state, the
attempt, the usage row, the event, the deliveries, the account's next row in its place, and the next task for the
worker. Then the gate is told (`budgets.settle`), and only then anybody else.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Row, TextClause
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from common import budgets, tools, webhooks
from common.budgets import Move
from common.errors import AlreadyFinished, DependencyUnavailable, NotFound
from common.identity.authorization import Caller
from common.invocations import counting, sql
from common.invocations.model import End, Task
from common.kit import apart, clock, db, failpoints, jsonb, log
from common.kit.clock import uuid7
from common.models.budgets import THRESHOLDS, BudgetThreshold
from common.queueing import messages

logger = log.get(__name__)

#: How long a worker tries to write down an end while PostgreSQL is away, before it leaves the row to the sweep.
STUBBORN_SECONDS = 60.0
CANCEL_TRIES = 10
#: Between two looks of a process at rows that the virtual clock has left behind: there are hardly any, and the sweep
#: lifts them every second.
LOOK_BACK_SECONDS = 0.1
#: How many (period, percent) a process remembers to have told.
TOLD_MOST = 10_000
LOST = End(
    "failed",
    error_code="worker_lost",
    error_detail="The worker died during the call; whether the tool ran is not known.",
)
#: A payload that took so many workers with it is not given to another.
MAX_LOSSES = 3


@dataclass(frozen=True, slots=True)
class ClaimOptions:
    """Who takes the next row: a worker process, and the tools it must not take now (paused, or too many of them)."""

    worker: UUID
    paused: tuple[UUID, ...] = ()
    take_next: bool = True


# -- claim -----------------------------------------------------------------------------------------------------


def claim(claim_options: ClaimOptions) -> Task | None:
    """Take whatever is due first in fair order, under a fresh token; None when nothing is."""
    rows = _claimed(sql.TAKE, claim_options)
    if not rows and clock.monotonic() - _Looked.back > LOOK_BACK_SECONDS:
        _Looked.back = clock.monotonic()
        rows = _claimed(sql.TAKE_FROM_THE_START, claim_options)
    if not rows:
        return None
    if rows[0].deliveries:
        messages.notify(messages.DELIVER)
    return _task(rows[0])


class _Looked:
    """When this process last looked at rows that the virtual clock has left behind."""

    back = 0.0


def _claimed(statement: TextClause, claim_options: ClaimOptions) -> list[Row[Any]]:
    token = uuid7()
    try:
        return db.execute(statement, _taking(claim_options, token))
    except db.CommitUnknown:
        return db.execute(sql.TAKEN_UNDER, {"token": token})


def _taking(claim_options: ClaimOptions, token: UUID) -> dict[str, Any]:
    return {"next_token": token, "worker": claim_options.worker, "paused": list(claim_options.paused)}


def _task(row: Row[Any]) -> Task | None:
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
        losses=row.next_losses,
        request_id=row.next_request_id,
        traceparent=row.next_traceparent,
        seconds_left=float(row.next_seconds_left),
    )


def sending(task: Task) -> bool:
    """Note, before a call that must not be repeated, that it goes out now. False: the row is not ours any more."""
    return db.rowcount(sql.SENDING, {"id": task.id, "token": task.token}) == 1


def give_back(task: Task) -> None:
    """Hand back a task whose call was not begun; it does not count as an attempt. A canceled one ends."""
    if not db.rowcount(sql.GIVE_BACK, {"id": task.id, "token": task.token}):
        end(task, LOST, ClaimOptions(task.token, take_next=False))


# -- end -------------------------------------------------------------------------------------------------------


def end(task: Task, end_: End, claim_options: ClaimOptions) -> Task | None:
    """Write down how a call ended, settle it, and take the next task if the worker wants one.

    A fenced-out end changes nothing and takes nothing (somebody else owns the row now): its result is dropped.
    A cancel that came before turns any end but a success into `canceled`.
    """
    written, following = _write(_END, task, {**_ending(task.id, end_), "token": task.token}, claim_options)
    if not written:
        counting.stale(task, end_)
    return following


def retry_later(
    task: Task, failure: End, delay: float, claim_options: ClaimOptions, *, lost: bool = False
) -> Task | None:
    """Put the row back for `delay` seconds and take the next; ends it instead when it was canceled or time is up."""
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
    parked, following = _write(_RETRY, task, parameters, claim_options)
    return following if parked else end(task, failure, claim_options)


def _ending(invocation_id: UUID, end_: End) -> dict[str, Any]:
    return {
        "id": invocation_id,
        "event_id": uuid7(),
        "status": end_.status,
        "output": None if end_.status != "succeeded" else jsonb.dumps(end_.output),
        "output_as_sent": None if end_.status != "succeeded" else jsonb.as_sent(end_.output),
        "error_code": end_.error_code,
        "error_detail": end_.error_detail,
        "operator_detail": end_.operator_detail,
        "cost": end_.cost,
        "outcome": end_.outcome,
        "usage_status": end_.usage_status,
        "http_status": end_.http_status,
        "latency_ms": end_.duration_ms,
        "paused": [],
        "width": 0,
    }


@dataclass(frozen=True, slots=True)
class _How:
    """One kind of write: with taking the next row, without, how to see later that it was done, and whom to tell."""

    and_take: TextClause
    alone: TextClause
    seen: TextClause
    tell: Callable[[Row[Any]], None]


def _write(how: _How, task: Task, parameters: dict[str, Any], claim_options: ClaimOptions) -> tuple[bool, Task | None]:
    """One write of a worker, fenced by its token. Returns whether the row was its own, and the next task, if any."""
    everything = {**parameters, **_taking(claim_options, uuid7()), "width": budgets.width(task.period_id)}
    try:
        rows = db.execute(how.and_take if claim_options.take_next else how.alone, everything)
    except db.Unreachable:
        return _write_alone(how, task, everything)
    if not rows:
        return False, None
    failpoints.at("worker.after_commit")
    how.tell(rows[0])
    failpoints.at("worker.after_settle")
    if not claim_options.take_next:
        return True, None
    if rows[0].next_told:
        messages.notify(messages.DELIVER)
    return True, _task(rows[0])


def _write_alone(how: _How, task: Task, parameters: dict[str, Any]) -> tuple[bool, Task | None]:
    """The write without the take, until somebody answers. It is fenced, so it may be repeated; a take may not.

    Then a look at what the first statement had done, should only its answer have been lost: it may have written, and
    it may have taken a row under the new token.
    """
    give_up = clock.monotonic() + STUBBORN_SECONDS
    while clock.monotonic() < give_up:
        try:
            written = _written(how, task, parameters)
            taken = db.execute(sql.TAKEN_UNDER, {"token": parameters["next_token"]})
            return written, _task(taken[0]) if taken else None
        except db.Unreachable:
            clock.sleep(0.5)
    logger.warning("left to the sweep: database away", invocation_id=str(task.id))
    return True, None


def _written(how: _How, task: Task, parameters: dict[str, Any]) -> bool:
    if rows := db.execute(how.alone, parameters):
        how.tell(rows[0])
    elif rows := db.execute(how.seen, {"token": task.token}):
        how.tell(rows[0])
        budgets.tell(rows[0].user_id, rows[0].period_id)  # who got the place is lost with the answer
    return bool(rows)


def _finish(row: Row[Any]) -> None:
    """After an end is committed: settle, ring for the deliveries, tell of thresholds."""
    counting.ended(row)
    last = Move(row.id, row.moves, row.place)
    settled = budgets.settle(row.user_id, row.period_id, last, row.charged, *_successor(row), message=str(row.id))
    if row.told:
        messages.notify(messages.DELIVER)
    for percent in THRESHOLDS:
        if settled is not None and settled.reached(percent):
            tell_of_threshold(row.user_id, row.period_id, percent)
    logger.info("invocation ended", invocation_id=str(row.id), status=row.status, charged=row.charged)


def _parked(row: Row[Any]) -> None:
    budgets.moved(row.user_id, row.period_id, Move(row.id, row.moves, None), *_successor(row))


def _successor(row: Row[Any]) -> tuple[Move, ...]:
    return () if row.successor is None else (Move(row.successor, row.successor_moves, row.successor_place),)


_END = _How(sql.END_AND_TAKE, sql.END, sql.ENDED_BY, _finish)
_RETRY = _How(sql.RETRY_AND_TAKE, sql.RETRY, sql.RETRIED_BY, _parked)

_told: set[tuple[UUID, int]] = set()


def tell_of_threshold(user_id: UUID, period_id: UUID, percent: int) -> None:
    """One `budget.threshold` event for each period and percentage, once the rows say that it is reached.

    Whoever sees it first; cheap to say again. Best effort: `sweeping.tell_of_thresholds` finds what was missed.
    """
    if (period_id, percent) in _told:
        return
    try:
        with db.transaction() as session:
            books = budgets.balance(session, period_id)
            if books.unlimited or books.charged * 100 < books.granted * percent:
                return
            first = _first_to_tell(session, period_id, percent)
            data = {"percent": percent, "granted": books.granted, "charged": books.charged, "period_id": str(period_id)}
            if first:
                webhooks.record(session, user_id, "budget.threshold", data)
    except budgets.UnknownPeriod:
        return  # a gate of somebody else's, or from before a restored backup: `free_orphans` removes it
    except db.Unreachable:
        logger.warning("threshold left to the sweep", period_id=str(period_id), percent=percent)
        return
    if len(_told) >= TOLD_MOST:
        _told.clear()
    _told.add((period_id, percent))
    if first:
        messages.notify(messages.DELIVER)


def _first_to_tell(session: Session, period_id: UUID, percent: int) -> bool:
    row = insert(BudgetThreshold).values(period_id=period_id, percent=percent).on_conflict_do_nothing()
    return bool(session.execute(row.returning(BudgetThreshold.percent)).scalar())


# -- cancel ----------------------------------------------------------------------------------------------------


def cancel(caller: Caller, invocation_id: UUID) -> bool:
    """Cancel one's own invocation. True: it is ended now. False: it runs, and its worker will be told.

    Raises:
        NotFound: unknown or someone else's.
        AlreadyFinished: it had ended before.
    """
    mine = {"id": invocation_id, "user_id": caller.user_id}
    for _ in range(CANCEL_TRIES):  # it may start, or go back to the queue, between the two questions
        rows = db.execute(sql.END_QUEUED, {**_ending(invocation_id, End("canceled")), **mine})
        if rows:
            _finish(rows[0])
            return True
        if db.execute(sql.REQUEST_CANCEL, mine):
            return False
        found = db.execute(sql.GET, mine)
        if not found:
            raise NotFound("There is no such invocation.")
        if found[0].stored != "open":
            raise AlreadyFinished
    raise DependencyUnavailable("The invocation keeps starting and stopping; nothing was done.", retry_after=1)


def in_hand(worker: UUID) -> list[Row[Any]]:
    """The rows that this worker process holds: `token`, `cancel_at`."""
    return db.execute(sql.IN_HAND, {"worker": worker})


# -- the pulse of worker processes -----------------------------------------------------------------------------


def heartbeat(worker: UUID, *, name: str, progress: bool, stopping: bool) -> None:
    """I am alive. A process that stops saying so loses its rows in two steps (`sweeping.reap_dead_processes`)."""
    db.rowcount(
        sql.HEARTBEAT, {"id": worker, "kind": "worker", "name": name, "progress": progress, "stopping": stopping}
    )


def leave(worker: UUID) -> None:
    """A process that ends in order: what it still held is lost work at once."""
    db.rowcount(sql.LEAVE, {"id": worker})


def take_over(worker: UUID, tokens: Collection[UUID]) -> int:
    """End or requeue rows that a process has, by the books, and works on in no thread. Returns how many."""
    return requeue_or_fail(db.execute(sql.TAKE_OVER_OWN, {"worker": worker, "tokens": list(tokens)}))


def requeue_or_fail(rows: Iterable[Row[Any]]) -> int:
    """Requeue rows that were taken over from a worker, or end them, each under its new token. Returns how many."""
    return apart.total("take-back", rows, _requeue_or_fail, lambda row: row.id)


def _requeue_or_fail(row: Row[Any]) -> int:
    version = tools.version(row.tool_version_id)
    task = _lost_task(row)
    quiet = ClaimOptions(worker=uuid7(), take_next=False)
    unsafe = row.sent and not version.idempotent
    exhausted = row.attempts >= version.max_attempts or row.losses + 1 >= MAX_LOSSES
    if unsafe or exhausted or row.cancel_at is not None:
        end(task, LOST, quiet)
    else:
        retry_later(task, LOST, 0.0, quiet, lost=True)
    return 1


def _lost_task(row: Row[Any]) -> Task:
    nil = UUID(int=0)
    return Task(row.id, row.token, nil, nil, nil, row.tool_version_id, "null", 0, row.attempts, row.losses, "", 0.0)

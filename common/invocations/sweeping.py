"""What the sweep does every second: bounded, harmless when done twice or by two at once, not in the workers' queue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from common import budgets
from common.errors import DependencyUnavailable
from common.invocations import sql
from common.invocations.model import End
from common.invocations.running import _ending, _finish, requeue_or_fail, tell_of_threshold
from common.kit import apart, clock, db, failpoints, log
from common.models.budgets import THRESHOLDS
from common.queueing import messages

logger = log.get(__name__)

SUSPECT_AFTER = 20.0
REAP_AFTER = 10.0
BATCH = 500
#: Parked rows are given this long to be found by an ending neighbour before the sweep places them.
BEHIND = 1.0
#: How long old keys are dropped at a time: more of them than a busy minute brings.
KEY_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Depth:
    """The queue at a glance; `oldest` is the age in seconds of the longest due row."""

    depth: int
    running: int
    oldest: float


def reap_dead_processes() -> int:
    """Processes without a pulse become suspect, then dead, and their rows are taken back. Returns how many rows."""
    db.rowcount(sql.SUSPECT, {"after": SUSPECT_AFTER})
    for dead in db.execute(sql.REAP, {"after": REAP_AFTER}):
        logger.warning("worker process lost", worker=str(dead.id), name=dead.name)
    rows = db.execute(sql.TAKE_OVER_LOST, {"limit": BATCH})
    if rows:
        failpoints.at("reaper.after_select")
    return requeue_or_fail(rows)


def expire() -> int:
    """End what did not start before its deadline (`expired`) or ran out of time between retries (`failed`)."""
    rows = db.execute(sql.OVERDUE, {"limit": BATCH})
    return apart.total("expire", rows, _expire, _id)


def _expire(row: Row[Any]) -> int:
    last = row.last_error or {"code": "worker_lost", "detail": "Time ran out."}
    late = End("failed", error_code=last["code"], error_detail=last["detail"]) if row.started else End("expired")
    for ended in db.execute(sql.END_OVERDUE, _ending(row.id, late)):
        _finish(ended)
    return 1


def _id(row: Row[Any]) -> object:
    return row.id


class _Round:
    """Where this process's walk over the accounts with waiting rows goes on."""

    after = UUID(int=0)


def place_waiting(paused: Sequence[UUID]) -> int:
    """Give parked rows that are due the places that are free (an end that found no successor may have missed them)."""
    where = {"behind": BEHIND, "paused": list(paused), "limit": BATCH}
    accounts = db.execute(sql.WAITING, {**where, "after": _Round.after})
    _Round.after = accounts[-1].period_id if len(accounts) == BATCH else UUID(int=0)
    rows = [waiting for waiting in accounts if waiting.id is not None]
    return apart.total("place", rows, lambda waiting: _place_all(waiting, where), lambda row: row.period_id)


def _place_all(waiting: Row[Any], where: dict[str, Any]) -> int:
    """Place an account's oldest row, and then its others as long as there is room."""
    account = budgets.Account(
        waiting.user_id, waiting.period_id, waiting.max_concurrency, waiting.rate_limit_per_minute
    )
    try:
        return 1 + _place_more(account, where) if _place(account, waiting) else 0
    except DependencyUnavailable:
        logger.warning("rows not placed", period_id=str(account.period_id))
        return 0


def _place_more(account: budgets.Account, where: dict[str, Any]) -> int:
    """The account has room: place its other rows as long as it has."""
    placed = 0
    for row in db.execute(sql.WAITING_OF, {**where, "period_id": account.period_id}):
        if not _place(account, row):
            break
        placed += 1
    return placed


def _place(account: budgets.Account, row: Row[Any]) -> bool:
    """One row, one place.

    If an ending neighbour was quicker, its own word settles what the gate has counted here; if the epoch has moved
    on, a rebuild does.
    """
    free = budgets.place(account, budgets.Move(row.id, row.moves, None))
    if free is None:
        return False
    number, epoch, server = free
    where = {"id": row.id, "moves": row.moves, "period_id": account.period_id, "epoch": epoch, "server": server}
    if placed := db.execute(sql.PLACE, {**where, "place": number}):
        budgets.moved(account.user_id, account.period_id, budgets.Move(row.id, placed[0].moves, number))
        return True
    ruling = db.execute(sql.PERIOD_STATE, {"id": account.period_id})[0]
    if (ruling.epoch, ruling.server) != (epoch, server):
        budgets.catch_up(account.user_id, account.period_id, ruling.epoch, ruling.server)
    return False


def park_paused(paused: Sequence[UUID]) -> int:
    """Take the places from rows whose tool is resting, so that others of their account can run."""
    if not paused:
        return 0
    rows = db.execute(sql.PARK_PAUSED, {"paused": list(paused), "limit": BATCH})
    return apart.total("park", rows, _parked, _id)


def _parked(row: Row[Any]) -> int:
    budgets.moved(row.user_id, row.period_id, budgets.Move(row.id, row.moves, None))
    return 1


def tell_of_thresholds() -> int:
    """Tell of the thresholds that were reached when nobody could tell. Returns how many."""
    return apart.total("tell-of-thresholds", budgets.spent(THRESHOLDS), _tell_of, lambda reached: reached[1])


def _tell_of(reached: tuple[UUID, UUID, int]) -> int:
    user_id, period_id, percent = reached
    if db.execute(sql.THRESHOLD, {"period_id": period_id, "percent": percent}):
        return 0
    tell_of_threshold(user_id, period_id, percent)
    return 1


def lift_stragglers() -> int:
    """Raise ranks that the virtual clock has left behind, so that takes need not look there."""
    return db.rowcount(sql.LIFT, {"limit": BATCH})


def notify_for_ready(threads: int) -> int:
    """Ring as often as there is ready work and nobody has heard yet; at most once for each worker thread."""
    ready = int(db.execute(sql.READY, {"limit": threads})[0][0])
    if ready:
        failpoints.at("reaper.after_select")
    return messages.notify_times(messages.RUN_INVOCATION, ready) if ready else 0


def forget_old_keys(*, seconds: float = KEY_SECONDS) -> int:
    """Drop idempotency keys that are out of their 24 hours: all of them, or for about so long."""
    give_up, total = clock.monotonic() + seconds, 0
    while True:
        forgotten = db.rowcount(sql.FORGET_KEYS, {"limit": BATCH})
        total += forgotten
        if forgotten < BATCH or clock.monotonic() > give_up:
            return total


def unheard(seconds: float) -> bool:
    """Whether work could begin, and no worker process has heard a bell or ended a call for so long."""
    return bool(db.execute(sql.UNHEARD, {"seconds": seconds})[0].unheard)


def depth() -> Depth:
    row = db.execute(sql.DEPTH, {})[0]
    return Depth(row.depth, row.running, float(row.oldest))


def lately(name: str, seconds: float) -> bool:
    """Whether a periodic piece of work was done so short a time ago, by the database's clock."""
    return bool(db.execute(sql.LATELY, {"name": name, "seconds": seconds}))


def note(name: str, milliseconds: int, *, failed: bool) -> None:
    """Write down that a periodic piece of work was done, for `doctor` and the alerts."""
    db.rowcount(sql.SWEPT, {"name": name, "milliseconds": milliseconds, "failed": int(failed)})

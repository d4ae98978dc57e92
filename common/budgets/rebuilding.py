"""Rebuilding the gate from the rows: always as a whole, always under a new epoch, one rebuild at a time per account.

1. Raise `periods.epoch` and commit: no hold that was taken before can commit its row any more.
2. Announce the rebuild in Redis (`rebuild_begin.lua`): from here on, completions and moves are recorded.
3. Read granted, charged, open holds and their slots in one snapshot, and gather the holds in Redis piece by piece
   (`stage.lua`) under a key that is not read yet. Each piece renews the lock.
4. Install them under the epoch of step 1 (`install.lua`), with what was recorded; not if Redis was wiped in between.


The lock only avoids duplicate work; the epoch is what makes a rebuild correct. A request waits for at most two
seconds, and is then told how long the rebuild may still take (Retry-After).
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil
from uuid import UUID

from common.budgets import allowances, truth
from common.budgets.model import Balance, allowances_key, budget_key
from common.errors import DependencyUnavailable
from common.kit import clock, db, failpoints, log, redis

logger = log.get(__name__)

#: How long a lock outlives its owner; a live one renews it with every piece.
LOCK_MS = 5_000
WAIT_SECONDS = 2.0
#: Requests do not wait for a rebuild that may take more than so many seconds.
NOT_WORTH_WAITING = 3
#: Open rows that are read and gathered at once: some 10 ms of Redis' time.
PIECE = 2_000
#: The rate of a rebuild, for the estimate in Retry-After. (Measured, alone on two cores: 38,000.)
ROWS_PER_SECOND = 30_000
MAX_RETRY_AFTER = 60
#: Gathered holds that were not installed expire after so long.
STAGING_SECONDS = 60
#: An installed state lives this long without a rebuild; it is only a cache, so any number would be right.
CACHE_SECONDS = 40 * 86_400


def tell(user_id: UUID, period_id: UUID) -> None:
    """After a change of the rows has been committed: rebuild the gate, or else drop it.

    Best effort: when Redis is away, `free_orphans` finds what differs.
    """
    try:
        rebuild(user_id, period_id)
    except (redis.RedisUnreachable, db.Unreachable, DependencyUnavailable):
        logger.warning("budget gate not rebuilt", user_id=str(user_id))
        drop(user_id, period_id)


def drop(user_id: UUID, period_id: UUID) -> None:
    """Make the gate unknown, as a wiped Redis does. Best effort."""
    try:
        with redis.reachable():
            redis.client().unlink(budget_key(user_id, period_id))
    except redis.RedisUnreachable:
        logger.warning("budget gate not dropped: Redis unavailable", user_id=str(user_id))


def catch_up(user_id: UUID, period_id: UUID, epoch: int, server: int) -> None:
    """Rebuild unless the gate is of `epoch` and `server` already (another process may just have rebuilt it)."""
    with redis.reachable():
        installed = redis.client().hmget(budget_key(user_id, period_id), ["epoch", "server"])
    if installed != [str(epoch), str(server)]:
        rebuild(user_id, period_id, joining=True)


def rebuild(user_id: UUID, period_id: UUID, *, joining: bool = False) -> None:
    """Make the gate equal to the rows; remove it when the period does not exist. One at a time per account.

    `joining`: any rebuild will do, also one that is under way; it may have read the rows before you called.

    Raises:
        DependencyUnavailable: it could not be done in time; nothing is admitted meanwhile. `retry_after` says how long
            the rebuild that is under way may still take, in seconds.
    """
    key, lock = budget_key(user_id, period_id), f"rebuild:{{{user_id}}}:{period_id}"
    give_up = clock.monotonic() + WAIT_SECONDS
    while True:
        with _locked(lock) as owner:
            if owner is not None and _rebuild_once(key, lock, owner, period_id):
                return
        left = 1 if owner is not None else _seconds_left(lock)
        if clock.monotonic() >= give_up or left > NOT_WORTH_WAITING:
            retry_after = min(max(left, 1), MAX_RETRY_AFTER)
            raise DependencyUnavailable(
                "The budget is being rebuilt. No invocation was created; retry.", retry_after=retry_after
            )
        if owner is None:
            clock.sleep(0.01)
            if joining and _done_by_another(key, lock):
                return


@contextmanager
def _locked(lock: str) -> Iterator[str | None]:
    """The lock for the block: the name of its owner, or None when another process has it."""
    owner, mine = secrets.token_hex(8), True
    try:
        with redis.reachable():
            mine = bool(redis.client().set(lock, f"{owner} 1", nx=True, px=LOCK_MS))
        yield owner if mine else None
    finally:
        if mine:  # also when only the answer was lost
            _unlock(lock, owner)


def _unlock(lock: str, owner: str) -> None:
    try:
        redis.run("unlock", [lock], [owner])
    except redis.RedisUnreachable:
        logger.warning("lock of a rebuild left to expire: Redis unavailable")


def _seconds_left(lock: str) -> int:
    """How long the rebuild that has the lock may still take; 0 when the lock is free."""
    with redis.reachable():
        held = str(redis.client().get(lock) or "")
    return int(held.partition(" ")[2] or 0)


def _done_by_another(key: str, lock: str) -> bool:
    with redis.reachable():
        return not redis.client().exists(lock) and bool(redis.client().hexists(key, "epoch"))


def _rebuild_once(key: str, lock: str, owner: str, period_id: UUID) -> bool:
    try:
        with db.transaction() as session:
            raised = truth.raised(session, period_id, above=_highest(key))
    except truth.UnknownPeriod:
        return _remove(key, period_id)
    epoch, shares = raised.epoch, allowances_key(raised.user_id) if raised.open else "-"
    if not redis.run("rebuild_begin", [key, shares], [epoch]):
        return True
    staging, staged = (f"{key.replace('budget', kind, 1)}:{epoch}" for kind in ("staging", "staged"))
    gathered = _gather((staging, staged), lock, owner, period_id, raised)
    if gathered is None:
        return False
    failpoints.at("rebuild.after_read")
    balance, holds, server = gathered
    figures = [epoch, balance.granted, balance.charged, CACHE_SECONDS, server]
    installed = bool(redis.run("install", [key, staging, shares, staged], figures))
    logger.info("budget gate rebuilt", period_id=str(period_id), epoch=epoch, holds=holds, installed=installed)
    return installed


def _gather(
    names: tuple[str, str], lock: str, owner: str, period_id: UUID, raised: truth.RaisedEpoch
) -> tuple[Balance, int, int] | None:
    """Read the rows of one moment, and put the holds where `install` finds them. None: the lock was lost."""
    staging, staged = names
    with db.snapshot() as session:
        server = truth.server(session)
        balance, holds, total = truth.balance(session, period_id), 0, 0
        for piece in truth.open_rows(session, period_id, PIECE):
            if len(piece) == PIECE and not total:
                total = truth.open_count(session, period_id)
            left = 1 + ceil((total - holds) / ROWS_PER_SECOND)
            fields = [
                value
                for row in piece
                for value in (str(row.id), row.held, row.slot, row.moves, str(row.capped_key or ""))
            ]
            if not redis.run("stage", [staging, lock], [owner, LOCK_MS, left, STAGING_SECONDS, *fields]):
                return None
            holds += len(piece)
        for shares in allowances.fields(session, raised.user_id, PIECE) if raised.open else ():
            if not redis.run("stage_allowances", [staged, lock], [owner, LOCK_MS, STAGING_SECONDS, *shares]):
                return None
    return balance, holds, server


def _remove(key: str, period_id: UUID) -> bool:
    """A gate of a period that the database does not know: from before a restored backup, or another platform's."""
    with redis.reachable():
        redis.client().unlink(key)
    logger.warning("budget gate removed: the database does not know its period", period_id=str(period_id))
    return True


def _highest(key: str) -> int:
    """The highest epoch that the gate has heard of: above the rows' own, if these were restored from a backup."""
    with redis.reachable():
        heard = redis.client().hmget(key, ["epoch", "rebuilding"])
    return max(int(epoch or 0) for epoch in heard)

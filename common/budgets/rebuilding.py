"""Making the gate say what the rows say: always as a whole, always under a new epoch, one at a time per account.

1. Raise `periods.epoch` and commit: no hold that was taken before can commit its row any more.
2. Say in Redis that a rebuild is under way (`rebuild_begin.lua`): from here on, ends and moves leave word.
3. Read granted, charged, open holds and their places in one snapshot.
4. Install them under the epoch of step 1 (`install.lua`), with the words; not if Redis was wiped in between.
"""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import text

from common.budgets import truth
from common.budgets.model import budget_key
from common.errors import DependencyUnavailable
from common.kit import clock, db, failpoints, log, redis

logger = log.get(__name__)

REBUILD_LOCK_SECONDS = 5
REBUILD_WAIT_SECONDS = 2.0
#: An installed state lives this long without a rebuild; it is only a cache, so any number would be right.
CACHE_SECONDS = 40 * 86_400

_HOLDS = text("select id, held, coalesce(place, 0), moves from queue where period_id = :period")


def tell(user_id: UUID, period_id: UUID) -> None:
    """After a change of the rows has been committed: let the gate know. Best effort: `free_orphans` does otherwise."""
    try:
        rebuild(user_id, period_id)
    except (redis.Unreachable, db.Unreachable, DependencyUnavailable):
        logger.warning("budget gate not rebuilt", user_id=str(user_id))


def catch_up(user_id: UUID, period_id: UUID, epoch: int) -> None:
    """Rebuild unless the gate has `epoch` already (somebody else may just have done it)."""
    with redis.reachable():
        installed = redis.client().hget(budget_key(user_id, period_id), "epoch")
    if installed is None or int(installed) != epoch:
        rebuild(user_id, period_id, joining=True)


def rebuild(user_id: UUID, period_id: UUID, *, joining: bool = False) -> None:
    """Make the gate say what the rows say now. One at a time per account.

    `joining`: any rebuild will do, also one that is under way; it may have read the rows before you called.

    Raises:
        DependencyUnavailable: it could not be done in time; nothing is admitted meanwhile.
    """
    key, lock = budget_key(user_id, period_id), f"rebuild:{{{user_id}}}:{period_id}"
    give_up = clock.monotonic() + REBUILD_WAIT_SECONDS
    while clock.monotonic() < give_up:
        with redis.reachable():
            mine = redis.client().set(lock, "1", nx=True, ex=REBUILD_LOCK_SECONDS)
        if not mine:
            clock.sleep(0.01)
            if joining and _done_by_another(key, lock):
                return
            continue
        try:
            if _rebuild_once(key, period_id):
                return
        finally:
            with redis.reachable():
                redis.client().delete(lock)
    raise DependencyUnavailable("The budget is being rebuilt; nothing was done.", retry_after=1)


def _done_by_another(key: str, lock: str) -> bool:
    with redis.reachable():
        return not redis.client().exists(lock) and bool(redis.client().hexists(key, "epoch"))


def _rebuild_once(key: str, period_id: UUID) -> bool:
    with db.transaction() as session:
        epoch = truth.bump(session, period_id, above=_highest(key))
    if not redis.run("rebuild_begin", [key], [epoch]):
        return True
    with db.snapshot() as session:
        balance = truth.balance(session, period_id)
        holds = session.execute(_HOLDS, {"period": period_id}).all()
    failpoints.at("rebuild.after_read")
    args: list[str | int] = [epoch, balance.granted, balance.charged, CACHE_SECONDS]
    for invocation_id, held, taken_place, moves in holds:
        args += [str(invocation_id), held, taken_place, moves]
    installed = bool(redis.run("install", [key], args))
    logger.info("budget gate rebuilt", period_id=str(period_id), epoch=epoch, holds=len(holds), installed=installed)
    return installed


def _highest(key: str) -> int:
    """The highest epoch that the gate has heard of: above the rows' own, if these were restored from a backup."""
    with redis.reachable():
        heard = redis.client().hmget(key, ["epoch", "rebuilding"])
    return max(int(epoch or 0) for epoch in heard)

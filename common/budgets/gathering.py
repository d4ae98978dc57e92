"""One rebuild of a gate, under its lock: raise the epoch, read the rows of one moment, install them.

1. Raise `periods.epoch` and commit: no hold that was taken before can commit its row any more.
2. Announce the rebuild in Redis (`rebuild_begin.lua`): from here on, completions and moves are recorded.
3. Read granted, charged, open holds and their slots in one snapshot, and gather the holds in Redis piece by piece
   (`stage.lua`) under a key that is not read yet.
4. Install them under the epoch of step 1 (`install.lua`), with what was recorded; not if Redis was wiped in between.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import NamedTuple
from uuid import UUID

from sqlalchemy.orm import Session

from common.budgets import allowances, rebuild_lock, truth
from common.budgets.model import Balance, allowances_key, budget_key
from common.budgets.rebuild_lock import STAGING_SECONDS, RebuildLock
from common.kit import clock, db, failpoints, log, redis

logger = log.get(__name__)

#: Open rows that are read and gathered at once: some 10 ms of Redis' time.
PIECE = 2_000
#: The rate of a rebuild, for the estimate in Retry-After. (Measured, alone on two cores: 38,000.)
ROWS_PER_SECOND = 30_000
#: An installed state lives this long without a rebuild; it is only a cache, so any number would be right.
CACHE_SECONDS = 40 * 86_400


class TooSlow(Exception):
    """It would take longer than it may. Nothing was installed."""


class GateName(NamedTuple):
    """Whose gate, and of which period."""

    user_id: UUID
    period_id: UUID

    @property
    def key(self) -> str:
        """The gate in Redis."""
        return budget_key(self.user_id, self.period_id)

    @property
    def lock(self) -> str:
        """The lock of its rebuild."""
        return f"rebuild:{{{self.user_id}}}:{self.period_id}"


@dataclass(frozen=True, slots=True)
class Limit:
    """How long a rebuild may take, in seconds. `seconds`: of each statement; `until`: of the whole (None: no limit)."""

    seconds: float
    until: float | None = None

    def apply(self, session: Session) -> None:
        """Limit the statements that follow. Raises `TooSlow`."""
        self.check()
        left = self.seconds if self.until is None else self.until - clock.monotonic()
        db.with_timeout(session, max(left, 0.001))

    def narrow(self, session: Session) -> None:
        """As `apply`, of what is left by now. Raises `TooSlow`."""
        if self.until is not None:
            self.apply(session)

    def check(self, more: float = 0.0) -> None:
        """Raises `TooSlow` if nothing is left for what takes so many seconds more."""
        if self.until is not None and clock.monotonic() + more >= self.until:
            raise TooSlow


def rebuild_once(gate: GateName, lock: RebuildLock, limit: Limit) -> bool:
    """Make the gate equal to the rows. False: not installed, because Redis was wiped or the lock lost.

    Raises:
        TooSlow: by `limit`.
    """
    try:
        with db.transaction() as session:
            raised = truth.raised(session, gate.period_id, above=_highest(gate.key))
    except truth.UnknownPeriod:
        return _remove(gate)
    epoch, shares = raised.epoch, allowances_key(raised.user_id) if raised.open else "-"
    if not redis.run("rebuild_begin", [gate.key, shares], [epoch]):
        return True
    staging, staged = (f"{gate.key.replace('budget', kind, 1)}:{epoch}" for kind in ("staging", "staged"))
    lock.gathered = (staging, staged)
    gathered = _gather(gate, lock, raised, limit)
    if gathered is None:
        return False
    failpoints.at("rebuild.after_read")
    balance, holds, server = gathered
    figures = [epoch, balance.granted, balance.charged, CACHE_SECONDS, server]
    installed = bool(redis.run("install", [gate.key, staging, shares, staged], figures))
    logger.info("budget gate rebuilt", period_id=str(gate.period_id), epoch=epoch, holds=holds, installed=installed)
    return installed


def _gather(
    gate: GateName, lock: RebuildLock, raised: truth.RaisedEpoch, limit: Limit
) -> tuple[Balance, int, int] | None:
    """Read the rows of one moment, and put the holds where `install` finds them. None: the lock was lost."""
    try:
        with db.snapshot() as session:
            return _gathered(session, gate, lock, raised, limit)
    except db.Busy as error:
        if limit.until is None:
            raise
        raise TooSlow from error


def _gathered(
    session: Session, gate: GateName, lock: RebuildLock, raised: truth.RaisedEpoch, limit: Limit
) -> tuple[Balance, int, int] | None:
    limit.apply(session)
    server = truth.server(session)
    balance = truth.balance(session, gate.period_id)
    limit.check()
    holds = _stage(session, gate, lock, limit)
    if holds is None:
        return None
    if raised.open:
        limit.narrow(session)
        for shares in allowances.fields(session, raised.user_id, PIECE):
            args: list[str | int] = [lock.owner, rebuild_lock.LOCK_MS, STAGING_SECONDS, *shares]
            if not redis.run("stage_allowances", [lock.gathered[1], lock.name], args):
                return None
            limit.check()
    return balance, holds, server


def _stage(session: Session, gate: GateName, lock: RebuildLock, limit: Limit) -> int | None:
    """Put the open holds where `install` finds them. Returns how many; None: the lock was lost."""
    holds, total = 0, 0
    for piece in truth.open_rows(session, gate.period_id, PIECE):
        if len(piece) == PIECE and not total:
            total = truth.open_count(session, gate.period_id)
        left = (total - holds) / ROWS_PER_SECOND
        fields: list[str | int] = [
            value for row in piece for value in (str(row.id), row.held, row.slot, row.moves, str(row.capped_key or ""))
        ]
        args: list[str | int] = [lock.owner, rebuild_lock.LOCK_MS, 1 + ceil(left), STAGING_SECONDS]
        if not redis.run("stage", [lock.gathered[0], lock.name], [*args, *fields]):
            return None
        limit.check(left)
        holds += len(piece)
    return holds


def _remove(gate: GateName) -> bool:
    """A gate of a period that the database does not know: from before a restored backup, or another platform's."""
    with redis.reachable():
        redis.client().unlink(gate.key)
    logger.warning("budget gate removed: the database does not know its period", period_id=str(gate.period_id))
    return True


def _highest(key: str) -> int:
    """The highest epoch that the gate has heard of: above the rows' own, if these were restored from a backup."""
    with redis.reachable():
        heard = redis.client().hmget(key, ["epoch", "rebuilding"])
    return max(int(epoch or 0) for epoch in heard)

"""Who rebuilds a gate, and who waits for it: always as a whole, under a new epoch, one rebuild at a time per account.

The lock (`rebuild_lock`) only avoids duplicate work; the epoch is what makes a rebuild correct (`gathering`).

A request waits for at most two seconds, also if it is the one that rebuilds: what takes longer begins again in a
thread of its process (under gevent: a greenlet) that nobody waits for, with the same lock and a long limit for each
statement. The request is then told how long the rebuild may still take (Retry-After), and its permit is free.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import Final
from uuid import UUID

from common.budgets.gathering import GateName, Limit, TooSlow, rebuild_once
from common.budgets.model import budget_key
from common.budgets.rebuild_lock import RebuildLock, locked, seconds_left
from common.errors import DependencyUnavailable
from common.kit import apart, clock, db, log, memory, redis, seam

logger = log.get(__name__)

WAIT_SECONDS = 2.0
#: So much of it a request spends on a rebuild of its own.
OWN_SECONDS = 1.5
#: How long one statement of a rebuild may take that nobody waits for: sums over tens of millions of rows.
STATEMENT_SECONDS: Final = 600.0
#: How often such a rebuild begins anew, if Redis is wiped in it or its lock is lost.
TRIES: Final = 4
#: Rebuilds that go on in a process without a request: fewer than it has connections beside those of submits.
AT_ONCE: Final = 2
#: Requests do not wait for a rebuild that may take more than so many seconds.
NOT_WORTH_WAITING = 3
#: What is told of a rebuild that has turned out to be slow, until it knows better.
SLOW_SECONDS: Final = 5
MAX_RETRY_AFTER = 60
_places = memory.Part(lambda: threading.BoundedSemaphore(AT_ONCE))


def tell(user_id: UUID, period_id: UUID) -> None:
    """After a change of the rows has been committed: rebuild the gate, or else drop it.

    Best effort: when Redis is away, `free_orphans` finds what differs. Until a rebuild has ended that takes long, the
    gate is unknown, as if it had been dropped.
    """
    try:
        _begin(GateName(user_id, period_id))
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
    gate = GateName(user_id, period_id)

    def is_done() -> bool:
        return _installed(gate)[:2] == [str(epoch), str(server)]

    if not is_done():
        _await(gate, is_done)


def await_rebuild(user_id: UUID, period_id: UUID, *, joining: bool = False, again: bool = False) -> None:
    """`rebuild` for a request, which waits for two seconds; the rebuild then goes on without it.

    `joining`: any rebuild will do, also one that is under way; it may have read the rows before you called. `again`:
    but not one that was done when you called.

    Raises:
        DependencyUnavailable: it is not done yet; nothing is admitted meanwhile. `retry_after` says how long the
            rebuild that is under way may still take, in seconds.
    """
    gate = GateName(user_id, period_id)
    _await(gate, (lambda: not again and _is_known(gate)) if joining else None)


def _await(gate: GateName, is_done: Callable[[], bool] | None) -> None:
    give_up = clock.monotonic() + WAIT_SECONDS
    ended = _begin(gate, is_done)
    if ended is not None and not (ended.wait(max(0.0, give_up - clock.monotonic())) and _is_known(gate)):
        raise _not_yet(seconds_left(gate.lock))


def rebuild(user_id: UUID, period_id: UUID) -> None:
    """Make the gate equal to the rows, however long it takes; remove it when the period does not exist.

    Raises:
        DependencyUnavailable: another rebuild is under way, or it was cut off again and again; nothing is admitted
            meanwhile.
    """
    gate, give_up, tries = GateName(user_id, period_id), clock.monotonic() + WAIT_SECONDS, 0
    while True:
        with locked(gate.lock) as lock:
            if lock is not None and rebuild_once(gate, lock, Limit(STATEMENT_SECONDS)):
                return
        tries += lock is not None
        left = 1 if lock is not None else seconds_left(gate.lock)
        if tries == TRIES or left > NOT_WORTH_WAITING or (lock is None and clock.monotonic() >= give_up):
            raise _not_yet(left)
        if lock is None:
            clock.sleep(0.01)


def _begin(gate: GateName, is_done: Callable[[], bool] | None = None) -> threading.Event | None:
    """Rebuild. Returns None if that is done; otherwise it is on its way, until the event.

    `is_done`: whether another has done it in the meantime; and one that is under way will do. None: neither.

    Raises `DependencyUnavailable`: another takes long.
    """
    give_up = clock.monotonic() + WAIT_SECONDS
    while True:
        with ExitStack() as held:
            lock = held.enter_context(locked(gate.lock))
            if lock is not None:
                try:
                    if (is_done is not None and is_done()) or rebuild_once(gate, lock, _own_limit()):
                        return None
                except TooSlow:
                    return _hand_on(gate, lock, held)
        left = 1 if lock is not None else seconds_left(gate.lock)
        if clock.monotonic() >= give_up or left > NOT_WORTH_WAITING:
            raise _not_yet(left)
        if lock is None:
            clock.sleep(0.01)
            if is_done is not None and seconds_left(gate.lock) == 0 and _is_known(gate):
                return None


def _own_limit() -> Limit:
    """What a request may spend; without a limit where nothing runs beside it."""
    if seam.is_hooked():
        return Limit(STATEMENT_SECONDS)
    return Limit(OWN_SECONDS, clock.monotonic() + OWN_SECONDS)


def _not_yet(left: int) -> DependencyUnavailable:
    return DependencyUnavailable(
        "The budget is being rebuilt. No invocation was created; retry.",
        retry_after=min(max(left, 1), MAX_RETRY_AFTER),
    )


def _installed(gate: GateName) -> list[str]:
    """Epoch, server and run of the gate; empty: it is not there."""
    with redis.reachable():
        return [str(each or "") for each in redis.client().hmget(gate.key, ["epoch", "server", "run"])]


def _is_known(gate: GateName) -> bool:
    """Whether `hold.lua` would know it."""
    epoch, server, run = _installed(gate)
    return bool(epoch and server) and run == redis.run_id(gate.key)


# -- what goes on without a request --------------------------------------------------------------------------------


def _hand_on(gate: GateName, lock: RebuildLock, held: ExitStack) -> threading.Event:
    """Begin again, under this lock, in a thread. Returns what is set at its end.

    Raises `DependencyUnavailable`: this process has enough of them; the lock is left to the caller.
    """
    lock.renew(SLOW_SECONDS)
    places, ended = _places(), threading.Event()
    if not places.acquire(blocking=False):
        raise _not_yet(SLOW_SECONDS)

    def go_on() -> None:
        with apart.logged(logger, "rebuild of a budget gate failed"):
            _go_on(gate, lock, kept)
        places.release()
        ended.set()

    kept = held.pop_all()
    try:
        threading.Thread(target=go_on, name="rebuild", daemon=True).start()
    except RuntimeError:  # no more threads
        places.release()
        kept.close()
        raise _not_yet(SLOW_SECONDS) from None
    return ended


def _go_on(gate: GateName, lock: RebuildLock, kept: ExitStack) -> None:
    with kept:
        if rebuild_once(gate, lock, Limit(STATEMENT_SECONDS)):
            return
    rebuild(*gate)

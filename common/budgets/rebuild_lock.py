"""The lock of a rebuild: it lives as long as its owner works, and ends within seconds when its owner has died.

A thread beside the owner (under gevent: a greenlet) renews it, so also while the owner waits for one long statement. A
process that dies or is frozen renews nothing. Who has lost the lock all the same has only done something in vain: what
makes a rebuild correct is the epoch.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from common.kit import apart, log, redis, seam

logger = log.get(__name__)

#: How long a lock outlives its owner, in milliseconds; a living one renews it three times as often.
LOCK_MS = 5_000
#: Gathered holds that were not installed expire so many seconds after their rebuild's end.
STAGING_SECONDS = 60


class RebuildLock:
    """The lock `name` while it is ours. Thread-safe. `gathered`: keys that are kept together with it."""

    def __init__(self, name: str) -> None:
        self.name, self.owner = name, secrets.token_hex(8)
        self.gathered: tuple[str, ...] = ()
        self._ended = threading.Event()

    def take(self) -> bool:
        """Take it if it is free."""
        with redis.reachable():
            return bool(redis.client().set(self.name, f"{self.owner} 1", nx=True, px=LOCK_MS))

    def renew(self, left: int | None = None) -> bool:
        """Keep it. `left`: how many seconds the rebuild may still take. Returns whether it is still ours."""
        args: list[str | int] = [self.owner, LOCK_MS, STAGING_SECONDS, "" if left is None else left]
        return bool(redis.run("renew", [self.name, *self.gathered], args))

    def keep(self) -> None:
        """Renew it from now on until `release`, whatever this thread does; not where nothing runs beside another."""
        if not seam.is_hooked():
            threading.Thread(target=self._keep, name="rebuild-lock", daemon=True).start()

    def _keep(self) -> None:
        ours = True
        while ours and not self._ended.wait(LOCK_MS / 3_000):
            with apart.logged(logger, "lock of a rebuild not renewed"):
                ours = self._renewed()

    def _renewed(self) -> bool:
        try:
            return self.renew()
        except redis.RedisUnreachable:
            return True  # it may be there again before the lock has expired

    def release(self) -> None:
        """Give it back, if it is ours. Best effort."""
        self._ended.set()
        try:
            redis.run("unlock", [self.name], [self.owner])
        except redis.RedisUnreachable:
            logger.warning("lock of a rebuild left to expire: Redis unavailable")


@contextmanager
def locked(name: str) -> Iterator[RebuildLock | None]:
    """The lock for the block, or None when another process has it."""
    lock, mine = RebuildLock(name), True
    try:
        mine = lock.take()
        if mine:
            lock.keep()
        yield lock if mine else None
    finally:
        if mine:  # also when only the answer was lost
            lock.release()


def seconds_left(name: str) -> int:
    """How long the rebuild that has the lock may still take; 0 when the lock is free."""
    with redis.reachable():
        held = str(redis.client().get(name) or "")
    return int(held.partition(" ")[2] or 0)

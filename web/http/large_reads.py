"""Limits how many large reads of one account a process handles at once, so that no account can occupy it.

A large read occupies a database connection, and the memory for what was read, until its response has been sent. A few
requests of an account run at a time; the next ones wait, and are refused if they wait too long.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Final
from uuid import UUID

from flask import Response, g

from common.errors import RateLimited

#: Concurrent large reads of an account; each holds one of the process's database connections.
READS_AT_ONCE: Final = 4
#: A response that the kernel buffers whole, however slow its client is.
SMALL_BYTES: Final = 64 * 1024
#: How long (seconds) a request waits for another one of its account to finish.
WAIT_SECONDS: Final = 5.0


@dataclass(slots=True)
class _Account:
    permits: threading.BoundedSemaphore
    users: int = field(default=0)


class LargeReadLimiter:
    """A semaphore of `most` permits per account. Thread-safe; keeps nothing of accounts without reads."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._accounts: dict[UUID, _Account] = {}
        self._lock = threading.Lock()

    def acquire(self, account: UUID, wait: float | None = WAIT_SECONDS) -> None:
        """Take a permit, waiting up to `wait` seconds (None: without limit). Raises `RateLimited`."""
        with self._lock:
            mine = self._accounts.setdefault(account, _Account(threading.BoundedSemaphore(self._most)))
            mine.users += 1
        if not mine.permits.acquire(timeout=wait):
            self._forget(account, mine)
            raise RateLimited("Too many large reads of this account are in progress. Retry when one has finished.")

    def release(self, account: UUID) -> None:
        mine = self._accounts[account]
        mine.permits.release()
        self._forget(account, mine)

    @contextmanager
    def held(self, account: UUID) -> Iterator[None]:
        """Hold a permit for the block; waits for it without limit."""
        self.acquire(account, None)
        try:
            yield
        finally:
            self.release(account)

    def _forget(self, account: UUID, mine: _Account) -> None:
        with self._lock:
            mine.users -= 1
            if not mine.users:
                del self._accounts[account]


limiter = LargeReadLimiter(READS_AT_ONCE)


# -- the current request -------------------------------------------------------------------------------------------


def begin() -> None:
    """Mark the current request as a large read, until its response has been sent. Raises `RateLimited`."""
    if "caller" in g and "large_read" not in g:
        limiter.acquire(g.caller.user_id)
        g.large_read = g.caller.user_id


def end() -> None:
    """The request turned out to read little: release its permit now."""
    if (account := g.pop("large_read", None)) is not None:
        limiter.release(account)


def end_after(response: Response) -> None:
    """Release the permit once the response has been sent or the client is gone; for a small response, at once."""
    length = None if response.is_streamed else response.calculate_content_length()
    if length is not None and length <= SMALL_BYTES:
        end()
    elif (account := g.pop("large_read", None)) is not None:
        response.call_on_close(partial(limiter.release, account))

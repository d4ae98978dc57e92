"""How much one account may have under way in this process, so that no account has it to itself.

Reading much takes a database connection and the memory of what was read, until the answer has been sent: a few such
requests of an account run at a time, the next wait for their turn, and those that wait too long are refused.
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

#: Of the process's database connections an account may take so many for large reads.
READS_AT_ONCE: Final = 4
#: What the kernel takes whole, however slow the client is.
SMALL_BYTES: Final = 64 * 1024
#: Seconds that a request waits for its turn.
PATIENCE: Final = 5.0


@dataclass(slots=True)
class _Account:
    turns: threading.BoundedSemaphore
    users: int = field(default=0)


class Turns:
    """`most` at once of each account. Thread-safe; remembers nobody who has nothing under way."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._accounts: dict[UUID, _Account] = {}
        self._lock = threading.Lock()

    def enter(self, account: UUID, patience: float | None = PATIENCE) -> None:
        """Wait for a turn (`patience` None: however long it takes). Raises `RateLimited`."""
        with self._lock:
            mine = self._accounts.setdefault(account, _Account(threading.BoundedSemaphore(self._most)))
            mine.users += 1
        if not mine.turns.acquire(timeout=patience):
            self._forget(account, mine)
            raise RateLimited(
                "As much as is allowed is being read for this account already; retry when it has arrived."
            )

    def leave(self, account: UUID) -> None:
        mine = self._accounts[account]
        mine.turns.release()
        self._forget(account, mine)

    @contextmanager
    def of(self, account: UUID) -> Iterator[None]:
        """A turn for the block, however long it takes to get it."""
        self.enter(account, None)
        try:
            yield
        finally:
            self.leave(account)

    def _forget(self, account: UUID, mine: _Account) -> None:
        with self._lock:
            mine.users -= 1
            if not mine.users:
                del self._accounts[account]


reads = Turns(READS_AT_ONCE)


# -- the request at hand -------------------------------------------------------------------------------------------


def begin() -> None:
    """From here on the request at hand may read much: its account's turn, until its answer is sent. Raises
    `RateLimited`.
    """
    if "caller" in g and "turn" not in g:
        reads.enter(g.caller.user_id)
        g.turn = g.caller.user_id


def end() -> None:
    """It turned out to be little, or nothing: the next may go on."""
    if (account := g.pop("turn", None)) is not None:
        reads.leave(account)


def hand_over(response: Response) -> None:
    """The turn ends when the last byte has been sent, or the client has gone; of a small answer at once."""
    length = None if response.is_streamed else response.calculate_content_length()
    if length is not None and length <= SMALL_BYTES:
        end()
    elif (account := g.pop("turn", None)) is not None:
        response.call_on_close(partial(reads.leave, account))

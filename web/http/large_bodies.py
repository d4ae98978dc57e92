"""One large body at a time is parsed in a process, and accounts take turns.

Parsing lets other requests go on between its pieces (`common/kit/pieces.py`), a millisecond each. Many at once would
have them wait for that of each.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from uuid import UUID

from flask import g

from common.errors import RateLimited
from common.kit.fairness import FairTurns, NoTurn

#: A body of no more bytes takes a few milliseconds at most, whatever is in it.
SMALL_BYTES: Final = 32 * 1024
#: How long (seconds) a request waits for its turn.
WAIT_SECONDS: Final = 10.0

turns = FairTurns[UUID | None]()


@contextmanager
def turn(size: int) -> Iterator[None]:
    """Around parsing a body of `size` bytes. Raises `RateLimited`."""
    if size <= SMALL_BYTES:
        yield
        return
    try:
        with turns.turn(g.caller.user_id if "caller" in g else None, WAIT_SECONDS):
            yield
    except NoTurn:
        raise RateLimited("Too many large requests of this account are waiting to be read. Retry later.") from None

"""Limits how many large reads of one account a process handles at once, and how many bytes of them in a second.

A large read occupies a database connection, and the memory for what was read, until its response has been sent; it
also takes CPU time from everybody else. A few requests of an account run at a time. Beyond a free amount, what they
read is followed by a pause before the account's next ones. Requests that wait too long are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from math import ceil
from typing import Final
from uuid import UUID

from flask import Response, g

from common.errors import RateLimited
from common.kit.pacing import Crowded, Exceeded, Pacer

#: Concurrent large reads of an account; each holds one of the process's database connections.
READS_AT_ONCE: Final = 2
#: How much of large reads an account gets from a process in the long run.
BYTES_PER_SECOND: Final = 8 * 1024 * 1024
#: How much of that in one moment, before any pause.
BURST_BYTES: Final = 16 * 1024 * 1024
#: What an item of a list counts as, beside its bytes: to read and render it takes as much CPU time.
ITEM_BYTES: Final = 2 * 1024
#: What a row that is added up for an answer counts as.
ROW_BYTES: Final = 512
#: A response that the kernel buffers whole, however slow its client is.
SMALL_BYTES: Final = 64 * 1024
#: How long (seconds) a request waits for its turn.
WAIT_SECONDS: Final = 5.0

_pacer = Pacer[UUID](READS_AT_ONCE, BURST_BYTES / BYTES_PER_SECOND)


@contextmanager
def held(account: UUID) -> Iterator[Callable[[int], None]]:
    """Hold a permit for the block, after waiting for it without limit; yields what is to be told bytes read.

    After a small read the rest of the block goes on without it, however slow the client is to whom it is sent.
    """
    _pacer.acquire(account)
    with ExitStack() as permit:
        permit.callback(release, account)

        def was_read(size: int) -> None:
            permit.pop_all()
            if size <= SMALL_BYTES:
                release(account, size)
            else:
                permit.callback(release, account, size)

        yield was_read


def release(account: UUID, size: int = 0) -> None:
    """Return a permit, after `size` bytes were read."""
    _pacer.release(account, size / BYTES_PER_SECOND)


# -- the current request -------------------------------------------------------------------------------------------


def begin() -> None:
    """Mark the current request as a large read, until its response has been sent. Raises `RateLimited`."""
    if "caller" not in g or "large_read" in g:
        return
    acquire(g.caller.user_id)
    g.large_read = g.caller.user_id


def acquire(account: UUID) -> None:
    """Take a permit of this account, for `release`. Raises `RateLimited`."""
    try:
        _pacer.acquire(account, WAIT_SECONDS)
    except Crowded:
        detail = "Too many large reads of this account are in progress. Retry when one has finished."
        raise RateLimited(detail) from None
    except Exceeded as error:
        detail = "This account has read too much in a short time. Retry later."
        raise RateLimited(detail, retry_after=ceil(error.seconds)) from None


def count(items: int) -> None:
    """The current request is answered with a list of so many items."""
    g.large_items = items


def count_bytes(size: int) -> None:
    """The current request has read so many bytes that are not in its answer."""
    g.large_bytes = g.get("large_bytes", 0) + size


def count_rows(rows: int) -> None:
    """The answer to the current request is added up from so many rows."""
    count_bytes(ROW_BYTES * rows)


def end() -> None:
    """The request turned out to read little: release its permit now."""
    if (account := g.pop("large_read", None)) is not None:
        release(account)


def end_after(response: Response) -> None:
    """Release the permit once the response has been sent or the client is gone; for a small response, at once."""
    length = response.content_length if response.is_streamed else response.calculate_content_length()
    if (left := left_after(length)) is not None:
        response.call_on_close(left)


def left_after(length: int | None) -> Callable[[], None] | None:
    """What is to be called once an answer of so many bytes (None: unknown) has been sent; None: nothing."""
    more = ITEM_BYTES * g.pop("large_items", 0) + g.pop("large_bytes", 0)
    if (account := g.pop("large_read", None)) is None:
        return None
    if length is None or length > SMALL_BYTES:
        return partial(release, account, (length or 0) + more)
    release(account, length + more if more else 0)
    return None

"""Failures that end neither a loop over many items nor a thread: each is logged, and the rest goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from math import inf
from typing import Generic, TypeVar

from structlog.stdlib import BoundLogger

from common.kit import clock, db, log, memory, metrics, redis

logger = log.get(__name__)

T = TypeVar("T")
FAILURES = metrics.Counter("joyfull_sweep_item_failures", "Items that failed during periodic work", ["work"])
_OF_ALL = (db.Unreachable, redis.RedisUnreachable)
#: For so long (seconds) a walk begins items, so that others get their turn.
SECONDS = 10.0
#: How long (seconds) an item that has failed, or was busy, is left alone by statements that take the first so many.
LEFT_SECONDS = 10.0
#: How long (seconds) it is remembered when it did.
REMEMBERED_SECONDS = 600.0
#: By work and item: when it failed, or was busy, unless it has been done since.
_left = memory.Part(dict[tuple[str, str], float])


def left(work: str) -> list[str]:
    """Items that failed here a moment ago: whoever takes the first so many passes them over, and gets to the others."""
    now, kept = clock.monotonic(), _left()
    for key in [key for key, at in list(kept.items()) if at < now - REMEMBERED_SECONDS]:
        kept.pop(key, None)
    return [item for (of, item), at in list(kept.items()) if of == work and at > now - LEFT_SECONDS]


def left_last(work: str, items: Iterable[T], name: Callable[[T], object]) -> list[T]:
    """Those that failed here come last, the one that has waited longest first: each is begun in time, some day.

    (Two busy items take all the time of a walk, however long others have been passed over.)
    """
    kept = _left()
    return sorted(items, key=lambda item: kept.get((work, str(name(item))), -inf))


class InTime(Generic[T]):
    """The first of the items, and the next ones while they are begun within `SECONDS`; the rest is logged as left.

    `last`: the last that was begun, if any are left; a walk goes on behind it.
    """

    def __init__(self, work: str, items: Sequence[T]) -> None:
        self._work, self._items = work, items
        self.last: T | None = None

    def __iter__(self) -> Iterator[T]:
        give_up = clock.monotonic() + SECONDS
        for at, item in enumerate(self._items):
            if at and clock.monotonic() >= give_up:
                self.last = self._items[at - 1]
                logger.warning("items left to the next run: no time", work=self._work, several=len(self._items) - at)
                return
            yield item


def total(work: str, items: Iterable[T], do: Callable[[T], int], name: Callable[[T], object]) -> int:
    """Call `do` for each item and return the sum of the results.

    An item that fails counts as 0 and is logged as `name(item)`; those whose node of Redis is away are logged together.

    Raises:
        db.Unreachable, redis.RedisUnreachable: a server is unavailable, so the next item would fail as well.
    """
    done, away = 0, []
    with redis.sparing():
        for item in items:
            try:
                done += _one(work, item, do, name)
            except redis.NodeUnreachable as error:
                away.append((str(name(item)), str(error)))
    if away:
        first, reason = away[0]
        logger.warning(
            "items postponed: their Redis node is away", work=work, several=len(away), item=first, reason=reason
        )
        FAILURES.labels(work).inc(len(away))
    return done


def in_turn(work: str, items: Iterable[T], do: Callable[[T], int], name: Callable[[T], object]) -> int:
    """`total` of as many as are begun in time; those that have failed before come last."""
    return total(work, InTime(work, left_last(work, items, name)), do, name)


@contextmanager
def logged(to: BoundLogger, failed: str) -> Iterator[None]:
    """The edge of a thread that goes on: whatever goes wrong in the block is logged as `failed`, and ends there."""
    try:
        yield
    except Exception:  # noqa: BLE001  (the edge of a thread, where anything is logged)
        to.exception(failed)


def _one(work: str, item: T, do: Callable[[T], int], name: Callable[[T], object]) -> int:
    try:
        done = do(item)
    except db.Busy as error:
        logger.warning("item postponed to the next run", work=work, item=str(name(item)), reason=str(error))
        _leave(work, name(item))
    except Exception as error:
        # The process edge of one item: whatever is wrong with it, the others must still be processed.
        if isinstance(error, _OF_ALL) and not isinstance(error, redis.UnreadableKey):
            raise
        logger.exception("item failed", work=work, item=str(name(item)))
        FAILURES.labels(work).inc()
        _leave(work, name(item))
    else:
        if kept := _left():
            kept.pop((work, str(name(item))), None)
        return done
    return 0


def _leave(work: str, item: object) -> None:
    _left()[work, str(item)] = clock.monotonic()

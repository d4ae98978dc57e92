"""Failures that end neither a loop over many items nor a thread: each is logged, and the rest goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from structlog.stdlib import BoundLogger

from common.kit import db, log, metrics, redis

logger = log.get(__name__)

T = TypeVar("T")
FAILURES = metrics.Counter("joyfull_sweep_item_failures", "Items that failed during periodic work", ["work"])


def total(work: str, items: Iterable[T], do: Callable[[T], int], name: Callable[[T], object]) -> int:
    """Call `do` for each item and return the sum of the results.

    An item that fails counts as 0 and is logged as `name(item)`.

    Raises:
        db.Unreachable, redis.RedisUnreachable: a server is unavailable, so the next item would fail as well.
    """
    return sum(_one(work, item, do, name) for item in items)


@contextmanager
def logged(to: BoundLogger, failed: str) -> Iterator[None]:
    """The edge of a thread that goes on: whatever goes wrong in the block is logged as `failed`, and ends there."""
    try:
        yield
    except Exception:  # noqa: BLE001  (the edge of a thread, where anything is logged)
        to.exception(failed)


def _one(work: str, item: T, do: Callable[[T], int], name: Callable[[T], object]) -> int:
    try:
        return do(item)
    except db.Busy as error:
        logger.warning("item postponed to the next run", work=work, item=str(name(item)), reason=str(error))
    except (db.Unreachable, redis.RedisUnreachable):
        raise
    except Exception:
        # The process edge of one item: whatever is wrong with it, the others must still be processed.
        logger.exception("item failed", work=work, item=str(name(item)))
        FAILURES.labels(work).inc()
    return 0

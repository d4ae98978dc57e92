"""Loops of periodic work over many items: a failure of one is logged and does not stop the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from common.kit import db, log, metrics, redis

logger = log.get(__name__)

T = TypeVar("T")
FAILURES = metrics.Counter("joyfull_sweep_item_failures", "Items that failed during periodic work", ["work"])


def total(work: str, items: Iterable[T], do: Callable[[T], int], name: Callable[[T], object]) -> int:
    """Call `do` for each item and return the sum of the results.

    An item that fails counts as 0 and is logged as `name(item)`.

    Raises:
        db.Unreachable, redis.Unreachable: a server is unavailable, so the next item would fail as well.
    """
    return sum(_one(work, item, do, name) for item in items)


def _one(work: str, item: T, do: Callable[[T], int], name: Callable[[T], object]) -> int:
    try:
        return do(item)
    except db.Busy as error:
        logger.warning("item postponed to the next run", work=work, item=str(name(item)), reason=str(error))
    except (db.Unreachable, redis.Unreachable):
        raise
    except Exception:
        # The process edge of one item: whatever is wrong with it, the others must still be processed.
        logger.exception("item failed", work=work, item=str(name(item)))
        FAILURES.labels(work).inc()
    return 0

"""Loops of periodic work over many accounts: the trouble of one is logged, and does not keep the others waiting."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from common.kit import db, log, metrics, redis

logger = log.get(__name__)

T = TypeVar("T")
FAILURES = metrics.Counter("joyfull_sweep_item_failures", "Single items that periodic work failed on", ["work"])


def total(work: str, items: Iterable[T], do: Callable[[T], int], name: Callable[[T], object]) -> int:
    """The sum of what `do` returns for each item; one that fails counts 0, and is logged under `name(item)`.

    Raises:
        db.Unreachable, redis.Unreachable: a server is away, so the next item would fail as well.
    """
    return sum(_one(work, item, do, name) for item in items)


def _one(work: str, item: T, do: Callable[[T], int], name: Callable[[T], object]) -> int:
    try:
        return do(item)
    except db.Busy as error:
        logger.warning("item left for the next round", work=work, item=str(name(item)), reason=str(error))
    except (db.Unreachable, redis.Unreachable):
        raise
    except Exception:
        # The process edge of one item: whatever is wrong with it, the others have a right to their turn.
        logger.exception("item failed", work=work, item=str(name(item)))
        FAILURES.labels(work).inc()
    return 0

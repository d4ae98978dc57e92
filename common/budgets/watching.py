"""Scanning all gates: what differs from the rows, what is nearly spent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from uuid import UUID

from common.budgets import comparing
from common.budgets.model import Settled, owner_of
from common.budgets.rebuilding import drop, rebuild
from common.errors import DependencyUnavailable
from common.kit import apart, clock, log, redis

logger = log.get(__name__)

#: Between two looks at a gate that seems wrong.
LOOK_AGAIN_SECONDS = 1.0
#: Gates that are read and compared at once.
PAGE = 200


def spent(percents: Sequence[int], limit: int = 10_000) -> Iterator[tuple[UUID, UUID, int]]:
    """Accounts whose gate says that so many percent are used up: user, period, percent. The rows may know better."""
    for keys in _next_gates("walk:spent", limit):
        with redis.reachable():
            pipeline = redis.client().pipeline(transaction=False)
            for key in keys:
                pipeline.hmget(key, ["granted", "charged"])
            figures = pipeline.execute()
        for key, (granted, charged) in zip(keys, figures, strict=True):
            owner = owner_of(key)
            if owner and granted and charged:
                reached = Settled(int(granted), int(charged), int(charged))
                yield from ((*owner, percent) for percent in percents if reached.reached(percent))


def free_orphans(older_than: float = 30.0, limit: int = 10_000) -> int:
    """Rebuild every gate that is not as the rows say, in any figure or hold; remove those of unknown periods.

    Returns how many. A hold has no row when a web process died between hold and commit, or a settlement was lost; it
    counts as wrong only when it is older than `older_than` seconds. A hold is never simply expired: a frozen process
    might still commit its row, and the rebuild's new epoch makes that impossible first. Looks at about `limit` gates,
    and goes on from there next time.
    """
    seen: dict[str, frozenset[str]] = {}

    def compare(keys: Sequence[str]) -> int:
        for gate in comparing.suspects(comparing.read(keys), older_than):
            look(gate.key)
        return 1

    def look(key: str) -> int:
        seen[key] = comparing.differences(key, older_than)
        return 1

    for keys in _next_gates("walk:orphans", limit):
        if not apart.total("compare-gates", [keys], compare, len):  # one by one: the trouble of one is not that of all
            apart.total("compare-gates", keys, look, str)
    wrong = {key: differences for key, differences in seen.items() if differences}
    if wrong:
        clock.sleep(LOOK_AGAIN_SECONDS)  # what was only on its way has arrived then
    return apart.total("repair-gates", wrong.items(), partial(_repair, older_than), lambda item: item[0])


def _repair(older_than: float, suspect: tuple[str, frozenset[str]]) -> int:
    """Rebuild if something is still wrong in the same way."""
    key, before = suspect
    still = before & comparing.differences(key, older_than)
    owner = owner_of(key)
    if not still or owner is None:
        return 0
    try:
        if comparing.UNREADABLE in still:
            drop(*owner)
        rebuild(*owner)
    except DependencyUnavailable:
        logger.warning("budget gate not repaired", period_id=str(owner[1]))
        return 0
    logger.warning("budget gate repaired", period_id=str(owner[1]), differences=sorted(still)[:20])
    return 1


def _next_gates(walk: str, limit: int) -> Iterator[list[str]]:
    """The keys of about `limit` gates from where the last walk ended; Redis remembers where that was."""
    with redis.reachable():
        place, seen = str(redis.client().get(walk) or "0"), 0
    while seen < limit:
        place, keys = redis.scan(place, "budget:*", min(limit, PAGE))
        found = [key for key in keys if owner_of(key)]
        if found:
            yield found
        seen += len(keys)
        if place == "0":
            break
    with redis.reachable():
        redis.client().set(walk, place)

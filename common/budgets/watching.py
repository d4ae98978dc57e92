"""Scanning all gates: what differs from the rows, what is nearly spent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from uuid import UUID

from common.budgets import comparing
from common.budgets.damaged import forget
from common.budgets.model import Settled, owner_of
from common.budgets.rebuilding import rebuild
from common.errors import DependencyUnavailable
from common.kit import apart, clock, log, memory, redis

logger = log.get(__name__)

#: Between two looks at a gate that seems wrong.
LOOK_AGAIN_SECONDS = 1.0
#: Gates that are read and compared at once.
PAGE = 200
_places = memory.Part(dict[str, str])


def spent(percents: Sequence[int], limit: int = 10_000) -> Iterator[tuple[UUID, UUID, int]]:
    """Accounts whose gate says that so many percent are used up: user, period, percent. The rows may know better.

    Gates that cannot be read are left out; `free_orphans` repairs them.
    """
    for keys in _next_gates("walk:spent", limit):
        try:
            figures = redis.readable(keys, lambda pipeline, key: pipeline.hmget(key, ["granted", "charged"]))
        except redis.NodeUnreachable as error:
            logger.warning("gates left out: their Redis node is away", several=len(keys), reason=str(error))
            continue
        for key, (said,) in figures.items():
            owner, reached = owner_of(key), _reached(*said)
            if owner and reached:
                yield from ((*owner, percent) for percent in percents if reached.reached(percent))


def _reached(granted: str | None, charged: str | None) -> Settled | None:
    """None: the gate does not say."""
    try:
        return Settled(int(granted or ""), int(charged or ""), int(charged or ""))
    except ValueError:
        return None


def free_orphans(older_than: float = 30.0, limit: int = 10_000) -> int:
    """Rebuild every gate that is not as the rows say, in any figure or hold; remove those of unknown periods.

    Returns how many. A hold has no row when a web process died between hold and commit, or a settlement was lost; it
    counts as wrong only when it is older than `older_than` seconds. A hold is never simply expired: a frozen process
    might still commit its row, and the rebuild's new epoch makes that impossible first. Looks at about `limit` gates,
    and goes on from there next time.
    """
    seen: dict[str, frozenset[str]] = {}

    def compare(keys: Sequence[str]) -> int:
        gates = comparing.read(keys)
        suspects = {gate.key for gate in comparing.suspects(gates, older_than)}
        apart.total("compare-gates", suspects | set(keys) - {gate.key for gate in gates}, look, str)
        return 1

    def look(key: str) -> int:
        seen[key] = comparing.differences(key, older_than)
        return 1

    with redis.sparing():
        for keys in _next_gates("walk:orphans", limit):
            if not apart.total("compare-gates", [keys], compare, len):  # one by one: the trouble of one is its own
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
            forget(*owner)
        rebuild(*owner)
    except DependencyUnavailable:
        logger.warning("budget gate not repaired", period_id=str(owner[1]))
        return 0
    logger.warning("budget gate repaired", period_id=str(owner[1]), differences=sorted(still)[:20])
    return 1


def _next_gates(walk: str, limit: int) -> Iterator[list[str]]:
    """The keys of about `limit` gates from where the last walk ended, in a `redis.sparing` block.

    The place is kept before a page is given out: whatever becomes of that, the next walk goes on behind it.
    """
    place, seen = _place(walk), 0
    while seen < limit:
        try:
            place, keys = redis.scan(place, "budget:*", min(limit, PAGE))
        except redis.NodeUnreachable as error:
            logger.warning("gates of a Redis node that is away left out", walk=walk, reason=str(error))
            place, keys = redis.past(place), []
        _keep_place(walk, place)
        if found := [key for key in keys if owner_of(key)]:
            yield found
        seen += len(keys)
        if place == "0":
            break


def _place(walk: str) -> str:
    """Where a walk goes on: Redis remembers it for all processes, this process if the key cannot be read."""
    try:
        with redis.reachable():
            return str(redis.client().get(walk) or "0")
    except (redis.NodeUnreachable, redis.UnreadableKey):
        return _places().get(walk, "0")


def _keep_place(walk: str, place: str) -> None:
    _places()[walk] = place
    with suppress(redis.NodeUnreachable), redis.reachable():
        redis.client().set(walk, place)

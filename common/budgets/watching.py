"""Walking over all gates: what was held for nothing, what was counted wrong, what is nearly spent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from uuid import UUID

from sqlalchemy import text

from common.budgets.gate import gate
from common.budgets.model import Settled, owner_of
from common.budgets.rebuilding import rebuild
from common.errors import DependencyUnavailable
from common.kit import clock, db, log, redis

logger = log.get(__name__)

#: Between two looks at a hold that seems wrong.
LOOK_AGAIN_SECONDS = 1.0

_ROWS = text("select id, coalesce(place, 0) as place from queue where period_id = :period and id = any(:ids)")


def spent(percents: Sequence[int], limit: int = 10_000) -> Iterator[tuple[UUID, UUID, int]]:
    """Accounts whose gate says that so many percent are used up: user, period, percent. The rows may know better."""
    for key, fields in _next_gates("walk:spent", limit):
        if "epoch" in fields:
            granted, charged = int(fields["granted"]), int(fields["charged"])
            reached = Settled(granted, charged, charged)
            yield from ((*owner_of(key), percent) for percent in percents if reached.reached(percent))


def free_orphans(older_than: float = 30.0, limit: int = 10_000) -> int:
    """Rebuild every gate with an old hold that is not as its row says, or that has miscounted. Returns how many.

    Such a hold has no row (a web process died between hold and commit, or a settlement was lost), or it is in a place
    that its row is not in. A hold is never simply expired: a frozen process might still commit its row. The rebuild's
    new epoch makes that impossible first. Looks at about `limit` gates, and goes on from there next time.
    """
    suspects: dict[str, dict[str, str]] = {}
    for key, fields in _next_gates("walk:orphans", limit):
        wrong = _unlike_rows(key, _old_holds(fields, older_than)) | _miscounted(fields)
        if wrong:
            suspects[key] = wrong
    if suspects:
        clock.sleep(LOOK_AGAIN_SECONDS)  # what was only on its way has arrived then
    return sum(_put_right(key, wrong, older_than) for key, wrong in suspects.items())


def _next_gates(walk: str, limit: int) -> Iterator[tuple[str, Mapping[str, str]]]:
    """About `limit` gates from where the last walk ended; Redis remembers where that was."""
    with redis.reachable():
        cursor, seen = int(redis.client().get(walk) or 0), 0
    while seen < limit:
        with redis.reachable():
            cursor, keys = redis.client().scan(cursor, match="budget:*", count=min(limit, 500))
            pipeline = redis.client().pipeline(transaction=False)
            for key in keys:
                pipeline.hgetall(key)
            found = pipeline.execute()
        yield from zip(keys, found, strict=True)
        seen += len(keys)
        if cursor == 0:
            break
    with redis.reachable():
        redis.client().set(walk, cursor)


def _old_holds(fields: Mapping[str, str], older_than: float) -> dict[str, str]:
    """Holds by invocation id, as the gate has them."""
    horizon = clock.wall() - older_than
    return {
        name[2:]: value
        for name, value in fields.items()
        if name.startswith("h:") and float(value.split(",")[2]) < horizon
    }


def _unlike_rows(key: str, holds: Mapping[str, str]) -> dict[str, str]:
    """Those of these holds that have no row, or a row in a place when they are in none, or the other way round."""
    if not holds:
        return {}
    with db.snapshot() as session:
        rows = session.execute(_ROWS, {"period": owner_of(key)[1], "ids": [UUID(id) for id in holds]})
        placed = {str(row.id): row.place != 0 for row in rows}
    return {id: value for id, value in holds.items() if placed.get(id) != (value.split(",")[1] != "0")}


def _miscounted(fields: Mapping[str, str]) -> dict[str, str]:
    """The count of places, when it is not what the holds say."""
    placed = sum(name.startswith("h:") and value.split(",")[1] != "0" for name, value in fields.items())
    return {"active": fields["active"]} if "active" in fields and int(fields["active"]) != placed else {}


def _put_right(key: str, wrong: Mapping[str, str], older_than: float) -> bool:
    """Rebuild if the same holds are still wrong in the same way, or the count of places is."""
    user_id, period_id = owner_of(key)
    fields = gate(user_id, period_id)
    still = dict(_old_holds(fields, older_than).items() & wrong.items())
    if not _unlike_rows(key, still) and _miscounted(fields).items().isdisjoint(wrong.items()):
        return False
    try:
        rebuild(user_id, period_id)
    except DependencyUnavailable:
        logger.warning("budget gate not put right", period_id=str(period_id))
        return False
    return True

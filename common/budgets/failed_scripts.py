"""A script that was to tell a gate of what has been committed, and failed."""

from __future__ import annotations

from uuid import UUID

from common.budgets.rebuilding import tell
from common.kit import log, redis

logger = log.get(__name__)


def note(script: str, error: redis.RedisUnreachable, user_id: UUID, period_id: UUID) -> None:
    """Log it. If the script stopped on its way, the gate may have got a part of it: rebuild it from the rows.

    If Redis was not reached, `free_orphans` finds what differs.
    """
    if isinstance(error, redis.UnreadableKey):
        logger.error("Redis script failed", script=script, period_id=str(period_id), error=str(error))
        tell(user_id, period_id)
    else:
        logger.warning("budget gate not told", script=script, period_id=str(period_id), error=str(error))

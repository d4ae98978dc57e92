"""Keys of an account that no script can read, of another type or garbled: forgotten, as a wiped Redis forgets them."""

from __future__ import annotations

from uuid import UUID

from common.budgets.model import allowances_key, budget_key
from common.kit import log, redis

logger = log.get(__name__)


def forget(user_id: UUID, period_id: UUID, *others: str) -> None:
    """Remove the gate of a period, what is kept beside it, the lock of its rebuild, and `others` of the account.

    The next submit rebuilds the gate; holds that were taken before can commit their rows only until then. Raises
    `redis.RedisUnreachable`.
    """
    lock = f"rebuild:{{{user_id}}}:{period_id}"
    with redis.reachable():
        redis.client().unlink(budget_key(user_id, period_id), allowances_key(user_id), lock, *others)
    logger.warning("budget gate forgotten: it cannot be read", user_id=str(user_id), period_id=str(period_id))

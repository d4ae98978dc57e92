"""`budget.threshold`: one event for each period and percentage that was used up."""

from __future__ import annotations

from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from common import budgets, webhooks
from common.kit import apart, db, log, memory
from common.kit.cache import Cache
from common.kit.query import Query
from common.models.budgets import THRESHOLDS, BudgetThreshold
from common.queueing import messages

logger = log.get(__name__)

#: How many (period, percentage) a process remembers to be recorded.
REMEMBERED_MOST: Final = 10_000


class _Recorded(NamedTuple):
    recorded: bool


RECORDED: Final = Query(
    """
select exists (select 1 from budget_thresholds where period_id = :period_id and percent = :percent) as recorded
""",
    _Recorded,
)

_recorded = memory.Part(lambda: Cache[tuple[UUID, int], bool](REMEMBERED_MOST))


def record(user_id: UUID, period_id: UUID, percent: int) -> None:
    """Record the event, once the rows say that so much is used up; safe to repeat.

    Best effort: `record_missed` finds what was missed.
    """
    if _recorded().get((period_id, percent)):
        return
    try:
        with db.transaction() as session:
            balance = budgets.balance(session, period_id)
            if balance.unlimited or balance.charged * 100 < balance.granted * percent:
                return
            first = _is_first(session, period_id, percent)
            if first:
                figures = {"granted": balance.granted, "charged": balance.charged}
                data = {"percent": percent, **figures, "period_id": str(period_id)}
                webhooks.record(session, user_id, "budget.threshold", data)
    except budgets.UnknownPeriod:
        return  # the gate of another platform, or from before a restored backup: `free_orphans` removes it
    except db.Unreachable:
        logger.warning("budget threshold left to the sweep", period_id=str(period_id), percent=percent)
        return
    _recorded().put((period_id, percent), True)
    if first:
        messages.notify(messages.DELIVER)


def _is_first(session: Session, period_id: UUID, percent: int) -> bool:
    row = insert(BudgetThreshold).values(period_id=period_id, percent=percent).on_conflict_do_nothing()
    return bool(session.execute(row.returning(BudgetThreshold.percent)).scalar())


def record_missed() -> int:
    """For the sweep: record thresholds that could not be recorded when they were reached. Returns how many."""
    return apart.total("tell-of-thresholds", budgets.spent(THRESHOLDS), _record_missed, lambda reached: reached[1])


def _record_missed(reached: tuple[UUID, UUID, int]) -> int:
    user_id, period_id, percent = reached
    if db.execute(RECORDED, {"period_id": period_id, "percent": percent})[0].recorded:
        return 0
    record(user_id, period_id, percent)
    return 1

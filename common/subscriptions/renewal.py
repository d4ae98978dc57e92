"""The next period after one has run out: opened by whoever needs it first, a request or the beat."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from common.kit import db, log
from common.models.subscriptions import Period, Subscription
from common.subscriptions import periods

logger = log.get(__name__)

_DUE = text("""
select user_id from periods where closed_at is null and ends_at <= now() order by ends_at limit :limit
""")


def renew_due(limit: int = 500) -> int:
    """For the beat: open what follows the periods that have run out, oldest first. Returns for how many accounts.

    An account that is locked or whose rows are refused is left for the next beat; it must not hold up the others.
    """
    renewed = 0
    for row in db.execute(_DUE, {"limit": limit}):
        try:
            renew(row.user_id)
            renewed += 1
        except (db.Busy, IntegrityError):
            logger.exception("period not renewed", user_id=str(row.user_id))
    return renewed


def renew(user_id: UUID) -> None:
    """Bring one account's periods up to this moment. Harmless when they are, and beside others doing the same."""
    with db.transaction() as session:
        now = periods.lock(session, user_id)
        up_to_date(session, user_id, now)


def up_to_date(session: Session, user_id: UUID, now: datetime) -> tuple[Subscription | None, Period | None]:
    """The account's subscription and its running period, once every period that has run out is followed up."""
    period = periods.current(session, user_id)
    if period is None:
        return periods.latest(session, user_id), None
    subscription = session.get_one(Subscription, period.subscription_id)
    return subscription, periods.follow(session, subscription, period, now)

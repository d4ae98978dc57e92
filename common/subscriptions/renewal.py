"""Renewal: open the next period once one has ended, from a request or the periodic task."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from common.kit import db, log
from common.kit.query import Query
from common.models.subscriptions import Period, Subscription
from common.subscriptions import periods

logger = log.get(__name__)


class DueAccount(NamedTuple):
    """An account whose period has ended."""

    user_id: UUID


class Overdue(NamedTuple):
    """A period that has ended and was not renewed yet."""

    id: UUID


_OVERDUE = Query("select id from periods where user_id = :user and closed_at is null and ends_at <= now()", Overdue)
_DUE = Query(
    "select user_id from periods where closed_at is null and ends_at <= now() order by ends_at limit :limit", DueAccount
)


def renew_due(limit: int = 500) -> int:
    """Periodic task: renew ended periods, oldest first. Returns the number of accounts renewed.

    An account that is locked, or whose rows are rejected, is skipped until the next run and does not block the others.
    """
    renewed = 0
    for row in db.execute(_DUE, {"limit": limit}):
        try:
            renew(row.user_id)
            renewed += 1
        except (db.Busy, IntegrityError):
            logger.exception("period not renewed", user_id=str(row.user_id))
    return renewed


def renew_if_due(user_id: UUID) -> None:
    """Bring an account's periods up to date, if its current one has ended."""
    if db.execute(_OVERDUE, {"user": user_id}):
        renew(user_id)


def renew(user_id: UUID) -> None:
    """Bring an account's periods up to date. Idempotent, and safe to run concurrently."""
    with db.transaction() as session:
        now = periods.lock(session, user_id)
        up_to_date(session, user_id, now)


def up_to_date(session: Session, user_id: UUID, now: datetime) -> tuple[Subscription | None, Period | None]:
    """Renew ended periods. Returns the account's subscription and current period."""
    period = periods.current(session, user_id)
    if period is None:
        return periods.latest(session, user_id), None
    subscription = session.get_one(Subscription, period.subscription_id)
    return subscription, periods.follow(session, subscription, period, now)

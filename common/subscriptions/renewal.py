"""Renewal: open the next period once one has ended, and book what has expired, from a request or a periodic task."""

from __future__ import annotations

from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy.orm import Session

from common import budgets
from common.kit import apart, db
from common.kit.query import Query
from common.models.subscriptions import Period, Subscription
from common.subscriptions import periods, remainders

#: How long a statement of a periodic task may take: what is left of a grant is summed up over all invocations of its
#: period, tens of millions perhaps. A request gives up earlier, and the task has done it when the next one comes.
STATEMENT_SECONDS: Final = 30.0


class DueAccount(NamedTuple):
    """An account whose period has ended."""

    user_id: UUID


class Overdue(NamedTuple):
    """A period that has ended and was not renewed yet, or in which an expiry is not booked yet."""

    id: UUID


class Changed(NamedTuple):
    """A period in which an expiry is due, or in which invocations have ended since expiries or its end were booked."""

    user_id: UUID
    period_id: UUID
    expiring: bool


_OVERDUE = Query(
    """
select p.id from periods p left join remainders r on r.period_id = p.id
 where p.user_id = :user and p.closed_at is null and (p.ends_at <= now() or r.next_at <= now())
""",
    Overdue,
)
_DUE = Query(
    """
select user_id from periods where closed_at is null and ends_at <= now() and user_id <> all(cast(:left as uuid[]))
 order by ends_at limit :limit
""",
    DueAccount,
)
#: A closed period waits until nothing of it is open: then the rest is handed on in one piece.
_CHANGED = Query(
    """
select p.user_id, r.period_id, true as expiring from remainders r join periods p on p.id = r.period_id
 where r.next_at <= now() and r.period_id <> all(cast(:left as uuid[]))
union all
select p.user_id, r.period_id, false as expiring
  from remainders r join periods p on p.id = r.period_id cross join lateral (
       select count(*) as open_rows from queue q join invocations i on i.id = q.id
        where q.period_id = r.period_id and i.created_at < r.open_before) q
 where r.open_rows > 0 and q.open_rows < r.open_rows and (p.closed_at is null or q.open_rows = 0)
   and r.period_id <> all(cast(:left as uuid[]))
 limit :limit
""",
    Changed,
)


def renew_due(limit: int = 500) -> int:
    """Periodic task: renew ended periods, oldest first. Returns the number of accounts renewed.

    An account that cannot be renewed (its rows are locked or rejected, …) is left to the next run.
    """
    due = db.execute(_DUE, {"limit": limit, "left": apart.left("renew-periods")})
    return apart.total("renew-periods", due, _renew_one, lambda row: row.user_id)


def _renew_one(row: DueAccount) -> int:
    renew(row.user_id, patient=True)
    return 1


def renew_if_due(user_id: UUID) -> None:
    """Bring an account's periods up to date, if its current one has ended or some of its tokens have expired."""
    if db.execute(_OVERDUE, {"user": user_id}):
        renew(user_id)


def renew(user_id: UUID, *, patient: bool = False) -> None:
    """Bring an account's periods up to date. Idempotent, and safe to run concurrently.

    `patient`: nobody waits for it, so a statement may take `STATEMENT_SECONDS`.
    """
    with db.transaction() as session:
        if patient:
            db.with_timeout(session, STATEMENT_SECONDS)
        now = periods.lock(session, user_id)
        _, period = _renewed(session, user_id, now)
        expired = period is not None and remainders.expire(session, period, now)
    if period is not None and expired:
        budgets.tell(user_id, period.id)


def up_to_date(session: Session, user_id: UUID, now: datetime) -> tuple[Subscription | None, Period | None]:
    """Renew ended periods and book expiries. Returns the account's subscription and current period.

    Without `budgets.tell` after the commit, the gate is rebuilt by the next submit.
    """
    subscription, period = _renewed(session, user_id, now)
    if period is not None:
        remainders.expire(session, period, now)
    return subscription, period


def _renewed(session: Session, user_id: UUID, now: datetime) -> tuple[Subscription | None, Period | None]:
    period = periods.current(session, user_id)
    if period is None:
        return periods.latest(session, user_id), None
    subscription = session.get_one(Subscription, period.subscription_id)
    return subscription, periods.follow(session, subscription, period, now)


def settle_remainders(limit: int = 500) -> int:
    """Periodic task: book expiries that nobody has come upon, and what ended invocations have given back since.

    Returns the number of periods.
    """
    due = db.execute(_CHANGED, {"limit": limit, "left": apart.left("settle-remainders")})
    return apart.total("settle-remainders", due, _settle, lambda it: it.period_id)


def _settle(it: Changed) -> int:
    if it.expiring:
        renew(it.user_id, patient=True)
        return 1
    with db.transaction() as session:
        db.with_timeout(session, STATEMENT_SECONDS)
        now = periods.lock(session, it.user_id)
        _, current = up_to_date(session, it.user_id, now)
        changed = remainders.again(session, session.get_one(Period, it.period_id), current, now)
        ids = [period.id for period in changed]
    for period_id in ids:
        budgets.tell(it.user_id, period_id)
    return 1

"""Periods: opened when a subscription begins, succeeded when they end. All functions join your transaction.

Writers hold the account's lock (`lock`). Times come from the database's clock, read *after* the lock was acquired, so
that a writer that waited for the lock does not use an outdated time.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from common.errors import TokenRevoked
from common.models.subscriptions import Grant, Period, Plan, Subscription
from common.subscriptions import announcing, booking, months, plans, remainders

_LOCK = text("select 1 from users where id = :user for no key update")
_DELETED = text("select deleted_at is not null from users where id = :user")
_CLOCK = text("select clock_timestamp()")


def lock(session: Session, user_id: UUID) -> datetime:
    """Lock the account's subscription until the transaction ends. Returns the time."""
    session.execute(_LOCK, {"user": user_id})
    now: datetime = session.execute(_CLOCK).scalar_one()
    return now


def refuse_deleted(session: Session, user_id: UUID) -> None:
    """Raises `TokenRevoked` for an account that was deleted while the caller waited for its lock."""
    if session.scalar(_DELETED, {"user": user_id}):
        raise TokenRevoked("The account was deleted. Nothing was changed.")


def latest(session: Session, user_id: UUID) -> Subscription | None:
    """The active subscription, or else the last one."""
    newest = (Subscription.status != "active", Subscription.created_at.desc(), Subscription.id.desc())
    return session.scalar(select(Subscription).where(Subscription.user_id == user_id).order_by(*newest).limit(1))


def current(session: Session, user_id: UUID) -> Period | None:
    """The account's open period."""
    return session.scalar(select(Period).where(Period.user_id == user_id, Period.closed_at.is_(None)))


def first(session: Session, subscription: Subscription, plan: Plan) -> Period:
    """Open the first period of a new subscription."""
    return _open(session, subscription, plan, 0)


def follow(session: Session, subscription: Subscription, period: Period, now: datetime) -> Period | None:
    """Open the periods after `period` up to now. Returns the current one, or None if the subscription has ended.

    Skipped months are opened with their grants and closed at once, and what is left goes through each of them:
    the ledger must not depend on when the account was last used.
    """
    following: Period | None = period
    while following is not None and following.ends_at <= now:
        following = _successor(session, subscription, following, now)
    return following


def _successor(session: Session, subscription: Subscription, period: Period, now: datetime) -> Period | None:
    period.closed_at = now
    changes = subscription.cancel_at_period_end or subscription.pending_plan_id is not None
    if subscription.status == "active" and subscription.cancel_at_period_end:
        subscription.status = "expired"
    if subscription.status == "active" and subscription.pending_plan_id is not None:
        subscription.plan_id, subscription.pending_plan_id = subscription.pending_plan_id, None
    session.flush()  # before the next one opens: there is never more than one open; and nothing more is accepted in it
    shares, following = remainders.close(session, period, now), None
    if subscription.status == "active":
        plan = session.get_one(Plan, subscription.plan_id)
        following = _open(session, subscription, plan, months.containing(subscription.anchor, period.ends_at))
        remainders.hand_on(session, following, shares, now)
    if changes:
        announcing.tell(session, subscription, announcing.facts(session, subscription, following or period))
    return following


def _open(session: Session, subscription: Subscription, plan: Plan, n: int) -> Period:
    period = Period(
        subscription_id=subscription.id,
        user_id=subscription.user_id,
        plan_id=plan.id,
        starts_at=months.beginning(subscription.anchor, n),
        ends_at=months.beginning(subscription.anchor, n + 1),
    )
    session.add(period)
    session.flush()
    booking.add_grant(session, period, "plan", plans.tokens(plan), reason=f"{plan.slug} plan")
    return period


def raise_to(session: Session, period: Period, plan: Plan) -> bool:
    """Move the current period to a higher plan and grant the difference to what plans have granted so far.

    Returns whether anything was granted.
    """
    difference = missing(session, period, plan)
    period.plan_id = plan.id
    if difference > 0:
        booking.add_grant(session, period, "upgrade", difference, reason=f"{plan.slug} plan")
    return difference > 0


def missing(session: Session, period: Period, plan: Plan) -> int:
    """What plans have granted in the period less than this plan grants a month; not above 0: nothing is missing."""
    granted = session.scalar(
        select(func.coalesce(func.sum(Grant.tokens), 0)).where(
            Grant.period_id == period.id, Grant.kind.in_(remainders.BY_PLANS)
        )
    )
    return plans.tokens(plan) - int(granted or 0)

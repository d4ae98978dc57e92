"""Grants by admins: tokens added to a period, or taken back."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from common import budgets
from common.errors import Conflict, FieldError, Invalid, NotFound
from common.identity import audit, idempotency
from common.identity.audit import Actor
from common.kit import clock, db
from common.kit.clock import uuid7
from common.models.base import MAX_TOKENS
from common.models.subscriptions import Grant, Period
from common.subscriptions import booking, periods, renewal
from common.subscriptions.terms import forget_terms


def grant(
    user_id: UUID,
    tokens: int,
    *,
    reason: str,
    actor: Actor,
    expires_at: datetime | None = None,
    once: idempotency.Once = None,
) -> Grant:
    """Add tokens to the account's current period, or revoke tokens that are neither charged nor held (negative).

    What is left of a grant at `expires_at` is taken off then, in whichever period that is; without, it lasts as long as
    the current period.

    Raises:
        IdempotencyKeyReused: the key was used for another request.
        Invalid: `expires_at` is past, or given for tokens that are taken back.
        Conflict: no current period, too few tokens available, or over the maximum.
    """
    grant_id = uuid7()
    with db.transaction() as session:
        if made := idempotency.claim(session, once, grant_id):
            return session.get_one(Grant, made.id)
        now = periods.lock(session, user_id)
        _require_future(expires_at, tokens, now)
        _, period = renewal.up_to_date(session, user_id, now)
        if period is None:
            raise Conflict("The account has no current period. Nothing was granted.")
        before = _require_room(session, period, tokens)
        granted = (None, None) if before.unlimited else (before.granted, before.granted + tokens)
        added = booking.add_grant(
            session, period, "admin", tokens, reason=reason, actor_id=actor.id, id_=grant_id, expires_at=expires_at
        )
        after = {"granted": granted[1], "tokens": tokens, "reason": reason}
        if expires_at is not None:
            after["expires_at"] = clock.rfc3339(expires_at)
        audit.record(session, actor, "user.grant", "user", user_id, before={"granted": granted[0]}, after=after)
    forget_terms(user_id)
    budgets.tell(user_id, period.id)
    return added


def granted(user_id: UUID, grant_id: UUID) -> Grant:
    """One of the account's grants. Raises `NotFound`."""
    with db.snapshot() as session:
        found = session.scalar(select(Grant).where(Grant.id == grant_id, Grant.user_id == user_id))
    if found is None:
        raise NotFound("Grant not found.")
    return found


def _require_future(expires_at: datetime | None, tokens: int, now: datetime) -> None:
    if expires_at is None:
        return
    if tokens < 0:
        raise Invalid(errors=[FieldError("/expires_at", "is only for tokens that are added, not for those taken back")])
    if expires_at <= now:
        raise Invalid(errors=[FieldError("/expires_at", "must be in the future")])


def _require_room(session: Session, period: Period, tokens: int) -> budgets.Balance:
    """Check that the grant is possible. Returns the balance before it."""
    if tokens < 0:  # fences off holds being made now: their rows can no longer commit
        budgets.bump(session, period.id)
    balance = budgets.balance(session, period.id)
    if tokens < 0 and balance.available < -tokens:
        raise Conflict("Tokens that are charged or held cannot be revoked. Nothing was changed.")
    if balance.granted + tokens > MAX_TOKENS:
        raise Conflict(f"A period can have at most {MAX_TOKENS:,} tokens. Nothing was granted.")
    return balance

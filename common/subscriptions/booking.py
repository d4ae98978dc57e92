"""Adding a grant to a period. Joins your transaction, under the account's lock."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from common.kit.clock import uuid7
from common.models.subscriptions import Grant, Period, Remainder


def add_grant(
    session: Session,
    period: Period,
    kind: str,
    tokens: int,
    *,
    reason: str,
    actor_id: UUID | None = None,
    id_: UUID | None = None,
    expires_at: datetime | None = None,
    source_id: UUID | None = None,
) -> Grant:
    """Append a grant. After the commit, call `budgets.tell` to update the budget gate."""
    grant = Grant(
        id=id_ or uuid7(),
        period_id=period.id,
        user_id=period.user_id,
        kind=kind,
        tokens=tokens,
        reason=reason,
        actor_id=actor_id,
        expires_at=expires_at,
        source_id=source_id,
    )
    session.add(grant)
    if expires_at is not None:
        _expires(session, period, expires_at)
    session.flush()
    session.refresh(grant)
    return grant


def _expires(session: Session, period: Period, at: datetime) -> None:
    remainder = remainder_of(session, period)
    remainder.next_at = min(remainder.next_at or at, at)


def remainder_of(session: Session, period: Period) -> Remainder:
    """How far it is booked what is left of the period's grants; made if it is not there yet."""
    found = session.get(Remainder, period.id)
    if found is None:
        found = Remainder(period_id=period.id, open_rows=0, rollover_percent=0)
        session.add(found)
    return found

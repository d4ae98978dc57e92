"""Giving the password again within a session, before what somebody at an unattended screen must not do."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from sqlalchemy import func, select, update

from common.identity import rate_limits
from common.identity.accounts.profile import confirmed
from common.kit import db
from common.models.sessions import RefreshFamily

#: How long a password that was given counts.
RECENT = timedelta(minutes=30)
_last_given = func.coalesce(RefreshFamily.confirmed_at, RefreshFamily.created_at)


def confirmed_recently(family_id: UUID) -> bool:
    """Whether the password was given in this session within `RECENT`, with its login or since."""
    with db.read_only() as session:
        recent = select(RefreshFamily.id).where(RefreshFamily.id == family_id, _last_given > func.now() - RECENT)
        return session.scalar(recent) is not None


def confirm(user_id: UUID, family_id: UUID, password: str) -> None:
    """Note that the password was given again. Raises `Forbidden` (it is wrong), `TooManyAttempts`."""
    _, counter = confirmed(user_id, password)
    with db.transaction() as session:
        rate_limits.give_back(session, counter)
        own = (RefreshFamily.id == family_id, RefreshFamily.user_id == user_id)
        session.execute(update(RefreshFamily).where(*own).values(confirmed_at=func.now()))

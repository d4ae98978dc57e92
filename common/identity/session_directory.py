"""An account's sessions, for their owner: which there are, and ending one or all others."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from common.errors import NotFound, TokenRevoked
from common.identity import audit, authorization, authorization_cache
from common.identity.sessions import IDLE
from common.kit import db
from common.kit.paging import Page, Window
from common.models.accounts import User
from common.models.sessions import RefreshFamily, RefreshToken


@dataclass(frozen=True, slots=True)
class ListedSession:
    """A session as its owner sees it. `network`, `user_agent`: where and with what it began (None: not known)."""

    id: UUID
    kind: str
    created_at: datetime
    last_seen_at: datetime
    network: str | None
    user_agent: str | None
    current: bool


def listing(caller: authorization.Caller, window: Window) -> Page[ListedSession]:
    """The sessions of the caller's account that have not ended, newest first."""
    query = select(RefreshFamily).where(RefreshFamily.user_id == caller.user_id, *_ALIVE)
    if window.after:
        query = query.where(RefreshFamily.id < window.after[0])
    with db.snapshot() as session:
        rows = session.scalars(query.order_by(RefreshFamily.id.desc()).limit(window.limit + 1)).all()
    return Page.cut(rows, window, lambda row: (row.id,)).map(lambda row: _shown(row, caller))


def end(user_id: UUID, session_id: UUID, *, actor: audit.Actor) -> None:
    """End one of the account's sessions, effective with its next request. Raises `NotFound`."""
    with authorization_cache.changing(user_id) as session:
        _lock(session, user_id)
        if session_id not in _alive(session, user_id):
            raise NotFound("Session not found.")
        authorization.end_sessions(session, user_id, "owner", family_id=session_id)
        audit.record(session, actor, "session.revoke", "session", session_id)


def end_others(caller: authorization.Caller, *, actor: audit.Actor) -> int:
    """End every session of the account but the calling one. Returns how many have ended.

    Raises `TokenRevoked` when the calling session itself has ended meanwhile: then nothing is changed.
    """
    user_id, family_id = caller.user_id, caller.family_id
    if family_id is None:
        raise TokenRevoked("This request does not belong to a session.")
    with authorization_cache.changing(user_id) as session:
        _lock(session, user_id)
        authorization.confirm(session, family_id)
        ending = len(_alive(session, user_id) - {family_id})
        authorization.end_sessions(session, user_id, "owner", besides=family_id)
        if ending:
            audit.record(session, actor, "session.revoke_others", "user", user_id, after={"revoked": ending})
    return ending


_REFRESHABLE = select(RefreshToken.id).where(
    RefreshToken.family_id == RefreshFamily.id,
    RefreshToken.used_at.is_(None),
    RefreshToken.created_at > func.now() - IDLE,
)
#: Neither revoked nor past their end. Those of the console have no refresh token: they are carried by a cookie.
_ALIVE = (
    RefreshFamily.revoked_at.is_(None),
    RefreshFamily.expires_at > func.now(),
    (RefreshFamily.kind != "api") | _REFRESHABLE.exists(),
)


def _alive(session: Session, user_id: UUID) -> set[UUID]:
    return set(session.scalars(select(RefreshFamily.id).where(RefreshFamily.user_id == user_id, *_ALIVE)))


def _lock(session: Session, user_id: UUID) -> None:
    """Lock the account: logins and changes of its keys wait, as with every end of its sessions."""
    session.get_one(User, user_id, with_for_update={"key_share": True})


def _shown(row: RefreshFamily, caller: authorization.Caller) -> ListedSession:
    return ListedSession(
        row.id,
        row.kind,
        row.created_at,
        row.last_seen_at or row.created_at,
        row.network,
        row.user_agent,
        current=row.id == caller.family_id,
    )

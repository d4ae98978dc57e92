"""What admins and operators do to accounts, and what time does to what they leave behind."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Select, delete, func, select
from sqlalchemy.orm import Session

from common.errors import Conflict, NotFound
from common.identity import audit, authorization, passwords, rate_limits
from common.identity.accounts.profile import get, replace_password, updated
from common.kit import db
from common.models.accounts import EmailVerification, KnownPlace, PasswordReset, RefreshFamily, Throttle, User
from common.notifications import mails

KEEP = timedelta(days=7)
KEEP_PLACES = timedelta(days=90)


def administer(user_id: UUID, *, actor: audit.Actor, role: str | None = None, is_active: bool | None = None) -> User:
    """Change what an account may do, from the next request on. Disabling ends its sessions; keys sleep with it.

    Raises:
        NotFound: no such account.
        Conflict: it is the last active admin.
        DependencyUnavailable: Redis cannot be told; nothing was changed.
    """
    changes = {k: v for k, v in {"role": role, "is_active": is_active}.items() if v is not None}
    with authorization.changing(user_id), db.transaction() as session:
        user = _locked(session, user_id, changes)
        before = {field: getattr(user, field) for field in changes}
        if is_active is False:
            authorization.end_sessions(session, user_id, "disabled")
        if before != changes:
            audit.record(session, actor, "user.update", "user", user_id, before=before, after=changes)
        return updated(session, user_id, **changes)


def set_password(user_id: UUID, password: str, *, actor: audit.Actor) -> None:
    """An operator's reset: no link, no old password. Every session ends. Raises `WeakPassword`, `Conflict`."""
    user = get(user_id)
    passwords.check(password, user.email_key)
    password_hash = passwords.make(password)
    with authorization.changing(user_id), db.transaction() as session:
        if not replace_password(session, user, password_hash, actor=actor, how="by an operator"):
            raise Conflict("The password was changed meanwhile.")
        rate_limits.forget_logins(session, user.id, user.email_key)
    mails.notify()


def purge() -> int:
    """Forget attempts whose window is over, and what else ended a while ago. Returns how many rows went."""
    long_ago = func.now() - KEEP
    over = (
        delete(Throttle).where(Throttle.ends_at < func.now()),
        delete(KnownPlace).where(KnownPlace.seen_at < func.now() - KEEP_PLACES),
        delete(PasswordReset).where(PasswordReset.expires_at < long_ago),
        delete(EmailVerification).where(EmailVerification.expires_at < long_ago),
        delete(RefreshFamily).where(RefreshFamily.expires_at < long_ago),
    )
    gone = 0
    for statement in over:
        with db.transaction() as session:
            gone += len(session.execute(statement.returning(func.now())).all())
    return gone


def _locked(session: Session, user_id: UUID, changes: dict[str, Any]) -> User:
    """The account, locked after all active admins, so that the last two cannot demote each other at once."""
    admins = set(session.scalars(_active_admins().with_for_update(key_share=True)))
    user = session.get(User, user_id, with_for_update={"key_share": True})
    if user is None:
        raise NotFound
    stays = changes.get("role", user.role) == "admin" and changes.get("is_active", user.is_active)
    if admins == {user_id} and not stays:
        raise Conflict("This is the last active admin.")
    return user


def _active_admins() -> Select[UUID]:
    return select(User.id).where(User.role == "admin", User.is_active).order_by(User.id)

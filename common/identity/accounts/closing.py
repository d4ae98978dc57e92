"""Deleting an account: access ends, and the person is forgotten. What was billed stays, under the account's id."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.orm import Session

from common.errors import Conflict
from common.identity import audit, authorization
from common.identity.accounts.administration import locked
from common.kit import db
from common.models.accounts import ApiKey, EmailVerification, KnownPlace, Mail, PasswordReset, User
from common.models.sessions import RefreshFamily
from common.notifications import mails

#: In place of a hash: matches no password.
UNUSABLE = "-"
#: Never a mailbox (RFC 6761 §6.4), and unique, so that the old address is free.
NOBODY = "@deleted.invalid"


def lock_for_closing(session: Session, seen: User) -> User:
    """The account as it is, locked until your transaction ends. Call it inside `authorization_cache.changing`.

    Raises:
        Conflict: it is the last active admin, was deleted already, or its password was changed since it was `seen`.
    """
    user = locked(session, seen.id, {"is_active": False})
    if user.password_version != seen.password_version:
        raise Conflict("The password was changed concurrently. Nothing was deleted; retry.")
    return user


def forget(session: Session, seen: User, *, actor: audit.Actor) -> None:
    """End the account's sessions and keys, and forget its name, address, networks and mails.

    Call it last in your transaction, after `lock_for_closing`: a new address takes a lock for which submits that are
    being stored are waited for.
    """
    user_id = seen.id
    authorization.end_sessions(session, user_id, "deleted")
    session.execute(update(RefreshFamily).where(RefreshFamily.user_id == user_id).values(network=None, user_agent=None))
    mine = ApiKey.user_id == user_id
    session.execute(update(ApiKey).where(mine, ApiKey.revoked_at.is_(None)).values(revoked_at=func.now()))
    session.execute(update(ApiKey).where(mine).values(name=""))
    for model in (PasswordReset, EmailVerification, KnownPlace):
        session.execute(delete(model).where(model.user_id == user_id))
    session.execute(delete(Mail).where(or_(Mail.recipient == seen.email, func.lower(Mail.recipient) == seen.email_key)))
    mails.record(session, "account_deleted", seen.email, ip=actor.ip)
    audit.record(session, actor, "user.delete", "user", user_id, before={"role": seen.role})
    nobody = f"{user_id}{NOBODY}"
    values = {"email": nobody, "email_key": nobody, "name": "", "password_hash": UNUSABLE}
    session.execute(
        update(User)
        .where(User.id == user_id)
        .values(**values, email_verified_at=None, default_webhook_secret=None, is_active=False, deleted_at=func.now())
    )


def being_forgotten() -> list[UUID]:
    """Deleted accounts of which something is left, the oldest first."""
    query = select(User.id).where(User.deleted_at.is_not(None), User.forgotten_at.is_(None)).order_by(User.id)
    with db.snapshot() as session:
        return list(session.scalars(query))


def forgotten(user_id: UUID) -> None:
    """Record that nothing is left of a deleted account but what was billed."""
    with db.transaction() as session:
        session.execute(
            update(User).where(User.id == user_id, User.deleted_at.is_not(None)).values(forgotten_at=func.now())
        )

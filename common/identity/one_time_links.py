"""Single-use links: a mailed token of 256 random bits, stored only as a hash and bound to what it may change."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.orm import Session

from common.errors import InvalidLink
from common.kit import clock, crypto
from common.models.accounts import EmailVerification, PasswordReset, User

RESET_LIFETIME = timedelta(minutes=30)
VERIFICATION_LIFETIME = timedelta(hours=24)


def issue_reset(session: Session, user: User) -> str:
    """A new token for `user`, whose row must be locked; invalidates older unused ones."""
    session.execute(delete(PasswordReset).where(PasswordReset.user_id == user.id, PasswordReset.used_at.is_(None)))
    token = crypto.token()
    values = {"id": clock.uuid7(), "user_id": user.id, "token_hash": crypto.digest(token)}
    values |= {"password_version": user.password_version, "expires_at": func.now() + RESET_LIFETIME}
    session.execute(insert(PasswordReset).values(values))
    return token


def read_reset(session: Session, token: str) -> User:
    """The account whose password the link may replace; does not use the link. Raises `InvalidLink`."""
    user = session.scalar(
        select(User)
        .join(PasswordReset, PasswordReset.user_id == User.id)
        .where(
            PasswordReset.token_hash == crypto.digest(token),
            PasswordReset.used_at.is_(None),
            PasswordReset.expires_at > func.now(),
            PasswordReset.password_version == User.password_version,
            User.is_active,
        )
    )
    if user is None:
        raise InvalidLink
    return user


def use_reset(session: Session, token: str) -> None:
    """Mark the link used; of two concurrent requests, one succeeds. Raises `InvalidLink`."""
    used = session.execute(
        update(PasswordReset)
        .where(
            PasswordReset.token_hash == crypto.digest(token),
            PasswordReset.used_at.is_(None),
            PasswordReset.expires_at > func.now(),
        )
        .values(used_at=func.now())
        .returning(PasswordReset.id)
    )
    if used.one_or_none() is None:
        raise InvalidLink


def issue_verification(session: Session, user: User) -> str:
    """A new token that proves `user`'s current address. Older ones stay valid: they prove the same."""
    token = crypto.token()
    values = {"id": clock.uuid7(), "user_id": user.id, "token_hash": crypto.digest(token)}
    values |= {"email_key": user.email_key, "expires_at": func.now() + VERIFICATION_LIFETIME}
    session.execute(insert(EmailVerification).values(values))
    return token


def verification_owner(session: Session, token: str) -> UUID:
    """The account whose address the link would prove; does not use the link. Raises `InvalidLink`."""
    owner = session.scalar(
        select(EmailVerification.user_id).where(
            EmailVerification.token_hash == crypto.digest(token),
            EmailVerification.used_at.is_(None),
            EmailVerification.expires_at > func.now(),
        )
    )
    if owner is None:
        raise InvalidLink
    return owner


def use_verification(session: Session, token: str) -> str:
    """Mark the link used and return the address (`email_key`) that it proves. Raises `InvalidLink`."""
    email_key: str | None = session.scalar(
        update(EmailVerification)
        .where(
            EmailVerification.token_hash == crypto.digest(token),
            EmailVerification.used_at.is_(None),
            EmailVerification.expires_at > func.now(),
        )
        .values(used_at=func.now())
        .returning(EmailVerification.email_key)
    )
    if email_key is None:
        raise InvalidLink
    return email_key

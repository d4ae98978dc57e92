"""Changes to accounts by admins and operators, and the deletion of expired account data."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from uuid import UUID

from sqlalchemy import Select, delete, func, select
from sqlalchemy.orm import Session

from common.errors import Conflict, NotFound
from common.identity import audit, authorization, authorization_cache, passwords, rate_limits
from common.identity.accounts import directory
from common.identity.accounts.profile import get, replace_password, updated
from common.kit import db, failpoints
from common.kit.expecting import Expect, anything
from common.models.accounts import EmailVerification, KnownPlace, PasswordReset, Throttle, User
from common.models.sessions import RefreshFamily
from common.notifications import mails

KEEP = timedelta(days=7)
KEEP_NETWORKS = timedelta(days=90)


def administer(
    user_id: UUID,
    *,
    actor: audit.Actor,
    role: str | None = None,
    is_active: bool | None = None,
    expect: Expect[directory.ListedAccount] = anything,
) -> User:
    """Change the role or status of an account, effective with its next request.

    Disabling ends its sessions; its API keys are refused until it is enabled again.

    Raises:
        NotFound: no such account.
        Conflict: it is the last active admin, or was deleted by its owner.
        DependencyUnavailable: Redis is unreachable; nothing was changed.
        What `expect` does; it is given the account as admins see it.
    """
    changes = {k: v for k, v in {"role": role, "is_active": is_active}.items() if v is not None}
    with authorization_cache.changing(user_id) as session:
        user = locked(session, user_id, changes)
        expect(directory.one(session, user_id))
        failpoints.at("change.checked")
        before = {field: getattr(user, field) for field in changes}
        if is_active is False:
            authorization.end_sessions(session, user_id, "disabled")
        if before != changes:
            audit.record(session, actor, "user.update", "user", user_id, before=before, after=changes)
        return updated(session, user_id, **changes)


def set_password(user_id: UUID, password: str, *, actor: audit.Actor) -> None:
    """Set a password as an operator, without a link or the old password. Ends every session.

    Raises:
        WeakPassword: the password does not meet the policy.
        Conflict: the password was changed concurrently.
    """
    user = get(user_id)
    passwords.check(password, user.email_key)
    password_hash = passwords.make(password)
    with authorization_cache.changing(user_id) as session:
        if not replace_password(session, user, password_hash, actor=actor, how="by an operator"):
            raise Conflict("The password was changed concurrently. Nothing was done; retry.")
        rate_limits.forget_logins(session, user.id, user.email_key)
    mails.notify()


def purge() -> int:
    """Delete ended rate limit windows and other expired rows. Returns the number of rows deleted."""
    long_ago = func.now() - KEEP
    expired = (
        delete(Throttle).where(Throttle.ends_at < func.now()),
        delete(KnownPlace).where(KnownPlace.seen_at < func.now() - KEEP_NETWORKS),
        delete(PasswordReset).where(PasswordReset.expires_at < long_ago),
        delete(EmailVerification).where(EmailVerification.expires_at < long_ago),
        delete(RefreshFamily).where(RefreshFamily.expires_at < long_ago),
    )
    deleted = 0
    for statement in expired:
        with db.transaction() as session:
            deleted += len(session.execute(statement.returning(func.now())).all())
    return deleted


def locked(session: Session, user_id: UUID, changes: Mapping[str, object]) -> User:
    """The account, locked after all active admins, so that the last two cannot demote each other concurrently.

    Raises `NotFound`, and `Conflict` for the last active admin and for an account that was deleted.
    """
    admins = set(session.scalars(_active_admins().with_for_update(key_share=True)))
    user = session.get(User, user_id, with_for_update={"key_share": True})
    if user is None:
        raise NotFound
    if user.deleted_at is not None:
        raise Conflict("The account was deleted by its owner. Nothing was changed.")
    stays = changes.get("role", user.role) == "admin" and changes.get("is_active", user.is_active)
    if admins == {user_id} and not stays:
        raise Conflict("This is the last active admin. It cannot be demoted, disabled or deleted.")
    return user


def _active_admins() -> Select[UUID]:
    return select(User.id).where(User.role == "admin", User.is_active).order_by(User.id)

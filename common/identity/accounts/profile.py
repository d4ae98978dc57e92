"""Reading an account, and changes that its owner makes: display name and password."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import ColumnElement, select, update
from sqlalchemy.orm import Session

from common.errors import Conflict, EmailNotVerified, Forbidden, NotFound
from common.identity import audit, authorization, authorization_cache, email_addresses, passwords, rate_limits
from common.kit import db, failpoints, log
from common.kit.expecting import Expect, anything
from common.models.accounts import User
from common.notifications import mails

PASSWORD_CHANGES = rate_limits.AttemptLimit("password-change", 10, rate_limits.LOGINS_PER_ACCOUNT.window)

_log = log.get(__name__)


def get(user_id: UUID) -> User:
    """The account. Raises `NotFound`."""
    return _only(User.id == user_id)


def by_email(email: str) -> User:
    """The account with that address, in any spelling. Raises `NotFound`."""
    return _only(User.email_key == email_addresses.key(email))


def rename(user_id: UUID, name: str | None, *, expect: Expect[User] = anything) -> User:
    """Change the display name; None: leave it. Raises `NotFound`, and what `expect` does."""
    with db.transaction() as session:
        _expected(session, user_id, expect)
        return updated(session, user_id, **_named(name))


def _expected(session: Session, user_id: UUID, expect: Expect[User]) -> None:
    expect(session.get_one(User, user_id, with_for_update={"key_share": True}))
    failpoints.at("change.checked")


def _named(name: str | None) -> dict[str, str]:
    return {} if name is None else {"name": name}


def change_password(
    user_id: UUID,
    current: str,
    new: str,
    *,
    actor: audit.Actor,
    name: str | None = None,
    expect: Expect[User] = anything,
) -> User:
    """Replace the password, and the name if given. Ends every session, including the calling one.

    Raises:
        Forbidden: `current` is wrong.
        TooManyAttempts: it was wrong too often.
        WeakPassword: `new` does not meet the policy.
        Conflict: the password was changed concurrently.
        What `expect` does.
    """
    user, counter = confirmed(user_id, current)
    passwords.check(new, user.email_key)
    password_hash = passwords.make(new)
    with authorization_cache.changing(user_id) as session:
        rate_limits.give_back(session, counter)
        _expected(session, user_id, expect)
        if not replace_password(session, user, password_hash, actor=actor, how="by its owner"):
            raise Conflict("The password was changed concurrently. Nothing was done; retry.")
        user = updated(session, user_id, **_named(name))
    mails.notify()
    return user


def confirmed(user_id: UUID, password: str) -> tuple[User, rate_limits.Counter]:
    """The account, if that is its password, and the counter to give back with the change that needed it.

    Raises:
        Forbidden: the password is wrong.
        TooManyAttempts: it was wrong too often.
    """
    counter = rate_limits.per_account(PASSWORD_CHANGES, str(user_id))
    rate_limits.attempt(counter)
    user = get(user_id)
    if not passwords.verify(user.password_hash, password):
        _log.warning("wrong password for a change of the account", user_id=str(user_id))
        raise Forbidden("The current password is wrong. Nothing was changed.")
    return user, counter


def require_verified(caller: authorization.Caller) -> None:
    """Raises `EmailNotVerified` for an account whose address is not verified."""
    if not caller.email_verified:
        raise EmailNotVerified


# -- for the other modules of this package ---------------------------------------------------------------------


def updated(session: Session, user_id: UUID, **values: object) -> User:
    """Set columns of the account and return it. Raises `NotFound`, also for an account that was deleted."""
    if values:
        session.execute(update(User).where(User.id == user_id, User.deleted_at.is_(None)).values(**values))
    user = session.get(User, user_id, populate_existing=True)
    if user is None or user.deleted_at is not None:
        raise NotFound
    return user


def replace_password(
    session: Session, seen: User, password_hash: str, *, actor: audit.Actor, how: str, claimed: bool = False
) -> bool:
    """Replace the password that `seen` had, end every session and queue a mail to the owner.

    `how`: by whom, for the mail. `claimed`: the mail also says that API keys and webhook endpoints were disabled.
    Returns False, and changes nothing, if the password was changed concurrently.
    """
    written = session.execute(
        update(User)
        .where(User.id == seen.id, User.password_version == seen.password_version)
        .values(password_hash=password_hash, password_version=User.password_version + 1)
        .returning(User.id)
    )
    if written.one_or_none() is None:
        return False
    authorization.end_sessions(session, seen.id, "password")
    mails.record(session, "password_changed", seen.email, how=how, ip=actor.ip, claimed=claimed)
    audit.record(session, actor, "user.password", "user", seen.id)
    return True


def _only(condition: ColumnElement[bool]) -> User:
    with db.snapshot() as session:
        user = session.scalars(select(User).where(condition)).one_or_none()
    if user is None:
        raise NotFound
    return user

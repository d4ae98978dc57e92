"""Creating accounts: by registration, by an operator, or as the first admin."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import exc, func, select, text
from sqlalchemy.orm import Session

from common.errors import EmailTaken
from common.identity import audit, email_addresses, passwords, rate_limits
from common.kit import db, log
from common.models.accounts import User
from common.notifications import mails

FIRST_ADMIN_LOCK = 0x41444D49  # "ADMI"

_log = log.get(__name__)


def register(email: str, password: str, name: str, *, ip: str) -> User:
    """Register an account and queue the mail that verifies its address.

    Raises:
        Invalid: the address is not valid.
        WeakPassword: the password does not meet the policy.
        EmailTaken: an account has that address, in any spelling.
        TooManyAttempts: from this client network.
    """
    address = email_addresses.parse(email)
    passwords.check(password, address.key)
    rate_limits.attempt(rate_limits.per_ip(rate_limits.REGISTRATIONS_PER_IP, ip))
    user = _new(address, password, name)
    with _unique(), db.transaction() as session:
        _insert(session, user)
        mails.record(session, "verify_email", user.email)
    mails.notify()
    _log.info("account created", user_id=str(user.id))
    return user


def create(
    address: email_addresses.Address, password: str, name: str, *, role: str = "user", verified: bool = True
) -> User:
    """Create an account as an operator, who vouches for the address. Raises `EmailTaken`, `WeakPassword`."""
    passwords.check(password, address.key)
    user = _new(address, password, name, role=role, verified=verified)
    with _unique(), db.transaction() as session:
        _insert(session, user)
        audit.record(session, audit.OPERATOR, "user.create", "user", user.id, after={"role": role})
    return user


def ensure_admin(email: str, password: str) -> User | None:
    """Create the first admin from the settings, unless there is an active admin; safe to call concurrently.

    Returns the account if it was created now. Raises `EmailTaken` if an ordinary account has that address: its owner
    must not become an admin without the operator's knowledge.
    """
    user = _new(email_addresses.parse(email, "ADMIN_EMAIL"), password, "Administrator", role="admin", verified=True)
    admins = select(User.id).where(User.role == "admin", User.is_active)
    with _unique(), db.transaction() as session:
        session.execute(text("select pg_advisory_xact_lock(:key)"), {"key": FIRST_ADMIN_LOCK})
        if session.execute(admins.limit(1)).first() is not None:
            return None
        _insert(session, user)
        audit.record(session, audit.PLATFORM, "user.create", "user", user.id, after={"role": "admin"})
    return user


def _new(
    address: email_addresses.Address, password: str, name: str, *, role: str = "user", verified: bool = False
) -> User:
    return User(
        email=address.text,
        email_key=address.key,
        name=name,
        role=role,
        password_hash=passwords.make(password),
        email_verified_at=func.now() if verified else None,
    )


def _insert(session: Session, user: User) -> None:
    session.add(user)
    session.flush()
    session.refresh(user)


@contextmanager
def _unique() -> Iterator[None]:
    """Translate a violation of the unique address constraint, which decides races. Raises `EmailTaken`."""
    try:
        yield
    except exc.IntegrityError as error:
        if db.violated(error) != "uq_users_email_key":
            raise
        raise EmailTaken from error

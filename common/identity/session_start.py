"""Starting a session: the password is checked and the attempts are counted in one way, whatever carries the session."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple, TypeVar
from uuid import UUID

from sqlalchemy import func, insert, select, update
from sqlalchemy.orm import Session

from common.errors import AccountDisabled, DependencyUnavailable, InvalidCredentials
from common.identity import email_addresses, passwords, rate_limits
from common.kit import clock, db, log
from common.models.accounts import KnownPlace, User
from common.models.sessions import RefreshFamily

#: Maximum lifetime of a session, counted from its login.
ABSOLUTE = timedelta(days=30)
MAX_USER_AGENT_CHARS = 256

_log = log.get(__name__)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Opened:
    """A session that has just begun."""

    user_id: UUID
    family_id: UUID
    at: datetime


@dataclass(frozen=True, slots=True)
class Origin:
    """What carries a session, where it began, and with what."""

    kind: str
    ip: str
    user_agent: str | None

    def columns(self) -> dict[str, str | None]:
        """As its owner is shown it."""
        printable = "".join(filter(str.isprintable, self.user_agent or ""))[:MAX_USER_AGENT_CHARS]
        network = rate_limits.network_of(self.ip) or None
        return {"kind": self.kind, "network": network, "user_agent": printable or None}


def checked(email: str, password: str, ip: str, origin: Origin, also: Callable[[Session, Opened], T]) -> T:
    """Start a session if that is the password; `also` joins the transaction that starts it."""
    key = email_addresses.key(email)
    with db.transaction() as session:
        user = _account(session, key, rate_limits.client_network(ip))
        counters = rate_limits.login(key, ip, known=bool(user and user.known))
        rate_limits.count(session, *counters)
    if not _password_matches(user, password, counters) or user is None:
        _log.warning("login failed", account=rate_limits.bucket("log", key), ip=ip)
        raise InvalidCredentials
    rehashed = passwords.rehash(user.password_hash, password)
    with db.transaction() as session:  # locks the account before the counters, as a reset does: no deadlock
        opened = _start(session, user, rehashed, rate_limits.client_network(ip), origin)
        begun = also(session, opened)
        rate_limits.give_back(session, *counters)
    _log.info("login", user_id=str(user.id), family_id=str(opened.family_id), ip=ip, kind=origin.kind)
    return begun


class LoginRow(NamedTuple):
    """The account of a login; `known`: it has logged in from that network before."""

    id: UUID
    password_hash: str
    password_version: int
    known: bool


def _password_matches(user: LoginRow | None, password: str, counters: tuple[rate_limits.Counter, ...]) -> bool:
    try:
        return passwords.verify(user.password_hash if user else None, password)
    except DependencyUnavailable:  # too many hashes at once: no password was tried
        with db.transaction() as session:
            rate_limits.give_back(session, *counters)
        raise


def _account(session: Session, key: str, network: str) -> LoginRow | None:
    """The account with that address."""
    known = select(KnownPlace.user_id).where(KnownPlace.user_id == User.id, KnownPlace.place == network).exists()
    query = select(User.id, User.password_hash, User.password_version, known).where(User.email_key == key)
    row = session.execute(query).one_or_none()
    return None if row is None else LoginRow(*row)


def _start(session: Session, user: LoginRow, rehashed: str | None, network: str, origin: Origin) -> Opened:
    """A new family, provided the password has not changed since it was checked. Locks the account's row."""
    password_version, is_active = session.execute(
        select(User.password_version, User.is_active).where(User.id == user.id).with_for_update(key_share=True)
    ).one()
    if password_version != user.password_version:
        raise InvalidCredentials
    if not is_active:
        raise AccountDisabled
    if rehashed:
        session.execute(update(User).where(User.id == user.id).values(password_hash=rehashed))
    rate_limits.remember_network(session, user.id, network)
    family_id = clock.uuid7()
    values = {"id": family_id, "user_id": user.id, "expires_at": func.now() + ABSOLUTE, **origin.columns()}
    begun = session.execute(insert(RefreshFamily).values(values).returning(RefreshFamily.created_at)).scalar_one()
    return Opened(user.id, family_id, begun)

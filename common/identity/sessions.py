"""Sessions: a login starts a family of refresh tokens; each can be used once and has exactly one successor.

The successor is not stored. It is derived (HMAC) from the used token and the successor's random id, so concurrent
refreshes with one token within `GRACE_SECONDS` all get the same pair, while the table holds hashes only. A used token
that is presented later counts as stolen: its family, and no other, is revoked.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import func, insert, select, update
from sqlalchemy.orm import Session

from common.errors import (
    AccountDisabled,
    DependencyUnavailable,
    InvalidCredentials,
    TokenExpired,
    TokenRevoked,
    Unauthenticated,
)
from common.identity import authorization, authorization_cache, email_addresses, passwords, rate_limits
from common.kit import clock, crypto, db, failpoints, log
from common.models.accounts import KnownPlace, User
from common.models.sessions import RefreshFamily, RefreshToken

ACCESS_SECONDS = 15 * 60
GRACE_SECONDS = 10
#: Maximum lifetime of a session, counted from its login.
ABSOLUTE = timedelta(days=30)
#: Maximum time between two refreshes.
IDLE = timedelta(days=14)
PREFIX = "jhr_"
MAX_USER_AGENT_CHARS = 256

_log = log.get(__name__)

authenticate = authorization.of_session


@dataclass(frozen=True, slots=True)
class TokenPair:
    """A refresh token and the claims of its access token. Signing the same pair twice gives the same access token."""

    user_id: UUID
    family_id: UUID
    token_id: UUID
    refresh_token: str
    issued_at: datetime

    @property
    def access_expires_at(self) -> datetime:
        """When the access token of this pair expires."""
        return self.issued_at + timedelta(seconds=ACCESS_SECONDS)


# -- login ---------------------------------------------------------------------------------------------------


def login(email: str, password: str, *, ip: str, user_agent: str | None = None) -> TokenPair:
    """Start a session. An unknown address takes the same code path, and the same time, as a wrong password.

    Raises:
        TooManyAttempts: for this account or this client network, until the window ends.
        InvalidCredentials: the address or the password is wrong.
        AccountDisabled: both are right, but the account is disabled.
    """
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
        pair = _start(session, user, rehashed, rate_limits.client_network(ip), _origin(ip, user_agent))
        rate_limits.give_back(session, *counters)
    _log.info("login", user_id=str(user.id), family_id=str(pair.family_id), ip=ip)
    return pair


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


def _start(
    session: Session, user: LoginRow, rehashed: str | None, network: str, origin: dict[str, str | None] | None = None
) -> TokenPair:
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
    family_id, refresh_token = clock.uuid7(), PREFIX + crypto.token()
    issued_at = session.execute(
        insert(RefreshFamily)
        .values(id=family_id, user_id=user.id, expires_at=func.now() + ABSOLUTE, **(origin or {}))
        .returning(RefreshFamily.created_at)
    ).scalar_one()
    token_id = _add(session, family_id, refresh_token)
    return TokenPair(user.id, family_id, token_id, refresh_token, issued_at)


def _origin(ip: str, user_agent: str | None) -> dict[str, str | None]:
    """What the owner of a session is shown of where it began."""
    printable = "".join(filter(str.isprintable, user_agent or ""))[:MAX_USER_AGENT_CHARS]
    return {"network": rate_limits.network_of(ip) or None, "user_agent": printable or None}


def _add(session: Session, family_id: UUID, refresh_token: str, token_id: UUID | None = None) -> UUID:
    token_id = token_id or clock.uuid7()
    values = {"id": token_id, "family_id": family_id, "token_hash": crypto.digest(refresh_token)}
    session.execute(insert(RefreshToken).values(values))
    return token_id


# -- refresh -------------------------------------------------------------------------------------------------


def refresh(refresh_token: str) -> TokenPair:
    """Exchange a refresh token for a new pair.

    Raises:
        Unauthenticated: not a refresh token of ours.
        TokenExpired: the session has expired (30 days, or 14 days without a refresh).
        TokenRevoked: logged out, or reused; reuse revokes the whole family.
    """
    with db.transaction() as session:
        pair = _use(session, refresh_token) or _repeated(session, refresh_token)
    failpoints.at("refresh.after_consume")
    if pair is not None:
        return pair
    _revoke_reused(refresh_token)
    raise TokenRevoked


def _use(session: Session, refresh_token: str) -> TokenPair | None:
    """Mark the token used, in an UPDATE that only one request can win; None if it did not."""
    successor_id = clock.uuid7()
    used = session.execute(
        update(RefreshToken)
        .where(
            RefreshToken.token_hash == crypto.digest(refresh_token),
            RefreshToken.used_at.is_(None),
            RefreshToken.created_at > func.now() - IDLE,
            RefreshFamily.id == RefreshToken.family_id,
            RefreshFamily.revoked_at.is_(None),
            RefreshFamily.expires_at > func.now(),
            User.id == RefreshFamily.user_id,
            User.is_active,
        )
        .values(used_at=func.now(), successor_id=successor_id)
        .returning(RefreshToken.family_id, RefreshToken.used_at, RefreshFamily.user_id)
    ).one_or_none()
    if used is None:
        return None
    family_id, used_at, user_id = used
    if used_at is None:
        raise AssertionError("the statement has just set it")
    successor = _successors(refresh_token, successor_id)[0]
    _add(session, family_id, successor, successor_id)
    return TokenPair(user_id, family_id, successor_id, successor, used_at)


def _repeated(session: Session, refresh_token: str) -> TokenPair | None:
    """The pair that a concurrent request got; None if the token was used longer ago. Raises like `refresh`."""
    found = _token(session, refresh_token)
    if found is None:
        raise Unauthenticated
    if found.revoked_at is not None or not found.is_active:
        raise TokenRevoked
    if found.expired:
        raise TokenExpired
    if not found.racing or found.used_at is None or found.successor_id is None:
        return None
    for successor in _successors(refresh_token, found.successor_id):
        if crypto.digest(successor) == found.successor_hash:
            return TokenPair(found.user_id, found.family_id, found.successor_id, successor, found.used_at)
    raise TokenRevoked


class TokenRow(NamedTuple):
    """A refresh token, its family, its account and its successor, in the order of `_token`'s columns."""

    family_id: UUID
    used_at: datetime | None
    successor_id: UUID | None
    user_id: UUID
    revoked_at: datetime | None
    is_active: bool
    successor_hash: str | None
    racing: bool | None
    expired: bool


def _token(session: Session, refresh_token: str) -> TokenRow | None:
    successor = select(RefreshToken.id, RefreshToken.token_hash).subquery()
    racing = RefreshToken.used_at > func.now() - timedelta(seconds=GRACE_SECONDS)
    unused_too_long = RefreshToken.used_at.is_(None) & (RefreshToken.created_at <= func.now() - IDLE)
    query = (
        select(
            RefreshToken.family_id,
            RefreshToken.used_at,
            RefreshToken.successor_id,
            RefreshFamily.user_id,
            RefreshFamily.revoked_at,
            User.is_active,
            successor.c.token_hash,
            racing,
            unused_too_long | (RefreshFamily.expires_at <= func.now()),
        )
        .join(RefreshFamily, RefreshFamily.id == RefreshToken.family_id)
        .join(User, User.id == RefreshFamily.user_id)
        .outerjoin(successor, successor.c.id == RefreshToken.successor_id)
        .where(RefreshToken.token_hash == crypto.digest(refresh_token))
    )
    row = session.execute(query).one_or_none()
    return None if row is None else TokenRow(*row)


def _successors(used: str, successor_id: UUID) -> list[str]:
    """The successor of the token `used`, under each of our keys, newest first: the first is the one to issue."""
    return [PREFIX + mac for mac in crypto.macs("refresh-successor", f"{used}.{successor_id}")]


# -- logout --------------------------------------------------------------------------------------------------


def logout(refresh_token: str) -> None:
    """End the session of this refresh token, used or not. Unknown or expired tokens are no error (RFC 7009 §2.2)."""
    _end(refresh_token, "logout")


def _revoke_reused(refresh_token: str) -> None:
    family_id = _end(refresh_token, "reuse", regardless=True)
    _log.warning("refresh token reused: session revoked", family_id=str(family_id))


def _end(refresh_token: str, reason: str, *, regardless: bool = False) -> UUID | None:
    with db.transaction() as session:
        found = _token(session, refresh_token)
    if found is None or found.revoked_at is not None:
        return None
    with authorization_cache.changing(found.user_id, regardless=regardless), db.transaction() as session:
        authorization.end_sessions(session, found.user_id, reason, family_id=found.family_id)
    return found.family_id

"""Sessions: a login starts a family of refresh tokens; each can be used once and has exactly one successor.

The family is the session, whoever carries it: the API has refresh tokens for it, the console a cookie (and no refresh
token). Both are checked, throttled, listed and ended in the same way.

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

from common.errors import TokenExpired, TokenRevoked, Unauthenticated
from common.identity import authorization, authorization_cache, session_start
from common.identity.session_start import Opened, Origin
from common.kit import clock, crypto, db, failpoints, log
from common.models.accounts import User
from common.models.sessions import RefreshFamily, RefreshToken

ACCESS_SECONDS = 15 * 60
GRACE_SECONDS = 10
#: Maximum time between two refreshes.
IDLE = timedelta(days=14)
PREFIX = "jhr_"

_log = log.get(__name__)

authenticate = authorization.of_session
remembered = authorization.of_remembered_session


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
    """Start a session of the API. An unknown address takes the same code path, and the same time, as a wrong password.

    Raises:
        TooManyAttempts: for this account or this client network, until the window ends.
        InvalidCredentials: the address or the password is wrong.
        AccountDisabled: both are right, but the account is disabled.
    """
    return session_start.checked(email, password, ip, Origin("api", ip, user_agent), _with_token)


def begin(email: str, password: str, *, ip: str, user_agent: str | None = None) -> Opened:
    """Start a session of the console, which has no refresh token. Raises what `login` does."""
    return session_start.checked(email, password, ip, Origin("console", ip, user_agent), lambda _, opened: opened)


def _with_token(session: Session, opened: Opened) -> TokenPair:
    """The first refresh token of a family."""
    refresh_token = PREFIX + crypto.token()
    token_id = _add(session, opened.family_id, refresh_token)
    return TokenPair(opened.user_id, opened.family_id, token_id, refresh_token, opened.at)


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


def end(user_id: UUID, family_id: UUID) -> None:
    """End a session, as `logout` does; one that has ended is no error."""
    with authorization_cache.changing(user_id) as session:
        authorization.end_sessions(session, user_id, "logout", family_id=family_id)


def _revoke_reused(refresh_token: str) -> None:
    family_id = _end(refresh_token, "reuse", regardless=True)
    _log.warning("refresh token reused: session revoked", family_id=str(family_id))


def _end(refresh_token: str, reason: str, *, regardless: bool = False) -> UUID | None:
    with db.transaction() as session:
        found = _token(session, refresh_token)
    if found is None or found.revoked_at is not None:
        return None
    with authorization_cache.changing(found.user_id, regardless=regardless) as session:
        authorization.end_sessions(session, found.user_id, reason, family_id=found.family_id)
    return found.family_id

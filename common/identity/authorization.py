"""Who is calling, and whether that still holds: one Redis round trip per request, and a change is seen by the next one.

PostgreSQL is the truth. What it said about a credential is remembered in Redis for at most a minute, per account and
under a generation (a nonce). Whoever changes an account, a session or a key wraps the transaction in `changing`:

    before the commit   forget everything about the account, and put up a sign that a change is on its way
    while it stands     everybody reads PostgreSQL, and nobody may remember what they read
    after the commit    forget once more, take the sign down

A reader that looked before the change holds an old generation and cannot install. A wiped Redis means *unknown*, so
PostgreSQL is read; the second forgetting covers a wipe that took the sign away. A process that dies in between leaves
the sign standing until it expires: slower, never wrong. Redis out of reach: readers go to PostgreSQL, changes are
refused (503), because a Redis that comes back could remember what they undid.

What is remembered is signed, for one credential and until a moment; what is not signed by us is as good as missing. So
whoever can write to Redis makes nobody an admin, and brings back what was true for what is left of its minute at most.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from hmac import compare_digest
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from common.errors import DependencyUnavailable, PlatformError, TokenRevoked, Unauthenticated
from common.kit import clock, crypto, db, log, redis
from common.models.accounts import SCOPES, ApiKey, ApiKeySecret, RefreshFamily, User

REMEMBER_SECONDS = 60
#: Longer than any transaction can last: PostgreSQL ends statements after 15 s and idle transactions after 30 s.
CHANGING_SECONDS = 120
#: How long a process goes straight to PostgreSQL after Redis failed to answer.
REST_SECONDS = 1.0
#: `last_used_at` of a key is true to about this.
TOUCH = timedelta(seconds=60)

Facts = dict[str, Any]
_log = log.get(__name__)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes this request: an account, through a session (`family_id`) or an API key (`api_key_id`)."""

    user_id: UUID
    role: str
    scopes: frozenset[str]
    api_key_id: UUID | None
    family_id: UUID | None
    email_verified: bool

    @property
    def is_admin(self) -> bool:
        return self.role == "admin"


def of_session(user_id: UUID, family_id: UUID) -> Caller:
    """The caller behind an access token. Raises `TokenRevoked` when the session, or the account, has ended."""
    facts, _ = _facts(user_id, f"session:{family_id}", lambda: _read_session(user_id, family_id))
    if not facts.get("active") or _past(facts["expires_at"]):
        raise TokenRevoked
    return _caller(user_id, facts, scopes=SCOPES, family_id=family_id)


def of_key(lookup: str, secret_hash: str) -> Caller:
    """The caller behind an API key. Raises `Unauthenticated`, or `TokenRevoked` for a right secret that has ended."""
    user_id, key_id = _owner(lookup)
    facts, fresh = _facts(user_id, f"key:{key_id}", lambda: _read_key(key_id))
    until = _matching(facts.get("secrets", []), secret_hash)
    if not facts.get("active") or _past(facts["expires_at"]) or _past(until):
        _log.warning("ended api key used", user_id=str(user_id), api_key_id=str(key_id))
        raise TokenRevoked
    if fresh:
        _touch(key_id)
    return _caller(user_id, facts, scopes=facts["scopes"], api_key_id=key_id)


@contextmanager
def changing(user_id: UUID, *, regardless: bool = False) -> Iterator[None]:
    """Wrap the transaction that changes what callers of this account may do: `with changing(id), transaction() as …`.

    `regardless`: what takes something away from a thief is done even if Redis cannot be told; a Redis that comes back
    may then remember the old state for `REMEMBER_SECONDS`.

    Raises:
        DependencyUnavailable: Redis cannot be told, so nothing was changed.
    """
    nonce = crypto.token(12)
    try:
        _announce(user_id, nonce)
    except redis.Unreachable as error:
        if not regardless:
            raise DependencyUnavailable from error
        _log.warning("account changed though redis could not be told", user_id=str(user_id))
    try:
        yield
    except PlatformError:
        _settle(user_id, nonce)
        raise
    # Any other exception may hide a commit that happened: the sign stays up until it expires.
    _settle(user_id, nonce)


def end_sessions(session: Session, user_id: UUID, reason: str, *, family_id: UUID | None = None) -> None:
    """Join the transaction inside `changing`: end one session of the account, or all of them."""
    living = update(RefreshFamily).where(RefreshFamily.user_id == user_id, RefreshFamily.revoked_at.is_(None))
    if family_id is not None:
        living = living.where(RefreshFamily.id == family_id)
    session.execute(living.values(revoked_at=func.now(), revoke_reason=reason))


def confirm(session: Session, family_id: UUID) -> None:
    """Join a transaction that holds the account's row: the session that it is done for lives until it commits.

    For what outlives a session: one that was looked at when its request began may have ended while that was read.
    Raises `TokenRevoked`.
    """
    living = select(RefreshFamily.id).where(RefreshFamily.id == family_id, RefreshFamily.revoked_at.is_(None))
    if session.scalar(living.with_for_update(read=True)) is None:
        raise TokenRevoked


# -- remembering ---------------------------------------------------------------------------------------------


class _Rest:
    until = 0.0


def _keys(user_id: UUID) -> tuple[str, str]:
    return f"auth:{{{user_id}}}", f"auth:{{{user_id}}}:changing"


def _facts(user_id: UUID, field: str, read: Callable[[], Facts]) -> tuple[Facts, bool]:
    """What is known of a credential, and whether PostgreSQL was just asked. No facts: there is no such thing."""
    remembered, generation = _remembered(user_id, field)
    if remembered is not None and (known := _believed(user_id, field, remembered)):
        return known, False
    facts = read()
    if generation:
        _install(user_id, field, generation, facts)
    return facts, True


def _remembered(user_id: UUID, field: str) -> tuple[str | None, str]:
    if clock.monotonic() < _Rest.until:
        return None, ""
    try:
        value, generation = redis.run("auth_read", _keys(user_id), [field, crypto.token(12), REMEMBER_SECONDS])
    except redis.Unreachable:
        _Rest.until = clock.monotonic() + REST_SECONDS
        return None, ""
    return value, generation


def _install(user_id: UUID, field: str, generation: str, facts: Facts) -> None:
    text = json.dumps({**facts, "until": clock.now().timestamp() + REMEMBER_SECONDS})
    signed = crypto.sign("standing", f"{user_id} {field}", text)
    try:
        redis.run("auth_install", _keys(user_id)[:1], [generation, field, signed])
    except redis.Unreachable:
        _Rest.until = clock.monotonic() + REST_SECONDS


def _believed(user_id: UUID, field: str, value: str) -> Facts | None:
    """The facts that one of us has signed, for this credential and for now; else None."""
    text = crypto.verified("standing", f"{user_id} {field}", value)
    facts: Facts | None = None if text is None else json.loads(text)
    if facts is not None and not _past(facts["until"]):
        return facts
    _log.warning("what redis says of a caller is not signed by us, or not for now", user_id=str(user_id))
    with suppress(redis.Unreachable), redis.reachable():
        redis.client().hdel(_keys(user_id)[0], field)
    return None


def _announce(user_id: UUID, nonce: str) -> None:
    facts, sign = _keys(user_id)
    with redis.reachable(), redis.client().pipeline(transaction=True) as pipe:
        pipe.delete(facts)
        pipe.sadd(sign, nonce)
        pipe.expire(sign, CHANGING_SECONDS)
        pipe.execute()


def _settle(user_id: UUID, nonce: str) -> None:
    facts, sign = _keys(user_id)
    try:
        with redis.reachable(), redis.client().pipeline(transaction=True) as pipe:
            pipe.delete(facts)
            pipe.srem(sign, nonce)
            pipe.execute()
    except redis.Unreachable:
        _log.warning("sign of an account change left to expire", user_id=str(user_id))


# -- reading PostgreSQL --------------------------------------------------------------------------------------


def _read_session(user_id: UUID, family_id: UUID) -> Facts:
    query = (
        select(User.role, User.is_active, User.email_verified_at, RefreshFamily.expires_at, RefreshFamily.revoked_at)
        .join(RefreshFamily, RefreshFamily.user_id == User.id)
        .where(User.id == user_id, RefreshFamily.id == family_id)
    )
    with db.transaction() as session:
        row = session.execute(query).one_or_none()
    return {} if row is None else {**_common(row), "expires_at": row.expires_at.timestamp()}


def _read_key(key_id: UUID) -> Facts:
    query = (
        select(
            User.role,
            User.is_active,
            User.email_verified_at,
            ApiKey.scopes,
            ApiKey.expires_at,
            ApiKey.revoked_at,
            func.array_agg(ApiKeySecret.secret_hash).label("hashes"),
            func.array_agg(func.extract("epoch", ApiKeySecret.expires_at)).label("ends"),
        )
        .join(ApiKey, ApiKey.user_id == User.id)
        .join(ApiKeySecret, ApiKeySecret.api_key_id == ApiKey.id)
        .where(ApiKey.id == key_id)
        .group_by(User.id, ApiKey.id)
    )
    with db.transaction() as session:
        row = session.execute(query).one()
    ends = [None if end is None else float(end) for end in row.ends]
    return {
        **_common(row),
        "scopes": row.scopes,
        "expires_at": row.expires_at and row.expires_at.timestamp(),
        "secrets": list(zip(row.hashes, ends, strict=True)),
    }


def _common(row: Any) -> Facts:
    return {
        "role": row.role,
        "active": row.is_active and row.revoked_at is None,
        "verified": row.email_verified_at is not None,
    }


@lru_cache(maxsize=10_000)
def _owner(lookup: str) -> tuple[UUID, UUID]:
    """Whose key that is. May be kept in the process: a key never changes hands, and this alone opens nothing."""
    with db.transaction() as session:
        row = session.execute(select(ApiKey.user_id, ApiKey.id).where(ApiKey.lookup == lookup)).one_or_none()
    if row is None:
        raise Unauthenticated
    return row.user_id, row.id


def _touch(key_id: UUID) -> None:
    """Asked whenever PostgreSQL was read, so at most once a minute and key while Redis works; written no oftener."""
    stale = ApiKey.last_used_at.is_(None) | (ApiKey.last_used_at <= func.now() - TOUCH)
    with db.transaction() as session:
        session.execute(update(ApiKey).where(ApiKey.id == key_id, stale).values(last_used_at=func.now()))


# -- deciding ------------------------------------------------------------------------------------------------


def _past(moment: float | None) -> bool:
    return moment is not None and clock.now().timestamp() >= moment


def _matching(secrets: list[tuple[str, float | None]], secret_hash: str) -> float | None:
    """When the secret with this hash ends (None: never). Raises `Unauthenticated` when it is no secret of this key."""
    for known, until in secrets:
        if compare_digest(known, secret_hash):
            return until
    raise Unauthenticated


def _caller(
    user_id: UUID,
    facts: Facts,
    *,
    scopes: tuple[str, ...] | list[str],
    api_key_id: UUID | None = None,
    family_id: UUID | None = None,
) -> Caller:
    allowed = frozenset(scopes) if facts["role"] == "admin" else frozenset(scopes) - {"admin"}
    return Caller(user_id, facts["role"], allowed, api_key_id, family_id, facts["verified"])

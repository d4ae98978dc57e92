"""Who is calling, and what they may do now: one Redis round trip per request; a change applies to the next request.

PostgreSQL is authoritative; `authorization_cache` keeps what it says about a credential for up to a minute.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hmac import compare_digest
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from common.errors import AccountDisabled, TokenRevoked, Unauthenticated
from common.identity import authorization_cache, key_limits
from common.identity.authorization_cache import Facts, Remembered, facts_of
from common.identity.key_limits import KeyLimits
from common.kit import clock, db, log
from common.models.accounts import SCOPES, ApiKey, ApiKeySecret, User
from common.models.sessions import RefreshFamily

#: What a session may do without being asked; the rest it may do because it is one.
SESSION_SCOPES = tuple(scope for scope in SCOPES if scope != "keys:delegate")
#: Resolution of `last_used_at` of a key, and of `last_seen_at` of a session.
TOUCH = timedelta(seconds=60)

_log = log.get(__name__)


@dataclass(frozen=True, slots=True)
class Credential:
    """What a caller presents. `kind`: session or api_key. `expires_at`: when it ends by itself (None: never)."""

    kind: str
    key_id: UUID | None
    scopes: tuple[str, ...]
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a request: an account, through a session (`family_id`) or an API key (`api_key_id`).

    `expires_at`: when that credential ends by itself (None: never). `limits`: of the key, if it has any. `remembered`:
    what all this was taken from without asking, and what the hold has to find unchanged (None: Redis or PostgreSQL
    has been asked).
    """

    user_id: UUID
    role: str
    scopes: frozenset[str]
    api_key_id: UUID | None
    family_id: UUID | None
    email_verified: bool
    expires_at: datetime | None = None
    limits: KeyLimits | None = None
    remembered: Remembered | None = field(default=None, compare=False)

    @property
    def tools(self) -> frozenset[str] | None:
        """Slugs of the tools that the caller sees and calls; None: all."""
        return self.limits.tools if self.limits else None

    def may_use(self, slug: str) -> bool:
        """Whether that tool exists for the caller."""
        return self.tools is None or slug in self.tools

    @property
    def is_admin(self) -> bool:
        """Whether the account is an admin's, whatever its scopes."""
        return self.role == "admin"

    @property
    def credential(self) -> Credential:
        """How the caller has proved who they are, and what that allows."""
        kind = "session" if self.api_key_id is None else "api_key"
        scopes = tuple(scope for scope in SCOPES if scope in self.scopes)
        return Credential(kind, self.api_key_id, scopes, self.expires_at)


def of_session(user_id: UUID, family_id: UUID) -> Caller:
    """The caller behind an access token. Raises `TokenRevoked` for an ended session or a disabled account."""
    facts, fresh = facts_of(user_id, _session_field(family_id), lambda: _read_session(user_id, family_id))
    caller = _by_session(user_id, family_id, facts)
    if fresh:
        _touch_session(family_id)
    return caller


def of_remembered_session(user_id: UUID, family_id: UUID) -> Caller | None:
    """The same as this process remembers it, to be confirmed with a hold; None: it does not. Raises `TokenRevoked`."""
    found = authorization_cache.remembered(user_id, _session_field(family_id))
    return None if found is None else replace(_by_session(user_id, family_id, found[0]), remembered=found[1])


def of_key(lookup: str, secret_hash: str) -> Caller:
    """The caller behind an API key. Raises `Unauthenticated`, or `TokenRevoked` for a correct secret that has ended."""
    user_id, key_id = _owner(lookup)
    facts, fresh = facts_of(user_id, _key_field(key_id), lambda: _read_key(key_id))
    try:
        caller = _by_key(user_id, key_id, facts, secret_hash)
    except TokenRevoked:
        _log.warning("revoked or expired api key used", user_id=str(user_id), api_key_id=str(key_id))
        raise
    if fresh:
        _touch(key_id)
    return caller


def of_remembered_key(lookup: str, secret_hash: str) -> Caller | None:
    """As `of_remembered_session`. Raises what `of_key` does."""
    user_id, key_id = _owner(lookup)
    found = authorization_cache.remembered(user_id, _key_field(key_id))
    return None if found is None else replace(_by_key(user_id, key_id, found[0], secret_hash), remembered=found[1])


def of_account(user_id: UUID) -> Caller:
    """The account itself, for what it has ordered to be done in its absence. Raises `AccountDisabled`."""
    with db.transaction() as session:
        user = session.get(User, user_id)
        if user is None or not user.is_active:
            raise AccountDisabled
        facts: Facts = {"role": user.role, "verified": user.email_verified_at is not None}
    return _caller(user_id, facts, scopes=SESSION_SCOPES)


def end_sessions(
    session: Session, user_id: UUID, reason: str, *, family_id: UUID | None = None, besides: UUID | None = None
) -> None:
    """End one session of the account, or all of them, or all `besides` one.

    Call it inside `authorization_cache.changing`.
    """
    active = update(RefreshFamily).where(RefreshFamily.user_id == user_id, RefreshFamily.revoked_at.is_(None))
    if family_id is not None:
        active = active.where(RefreshFamily.id == family_id)
    if besides is not None:
        active = active.where(RefreshFamily.id != besides)
    session.execute(active.values(revoked_at=func.now(), revoke_reason=reason))


def confirm_key(key_id: UUID) -> None:
    """Check that an API key works still. Raises `TokenRevoked`."""
    works = (ApiKey.revoked_at.is_(None), ApiKey.expires_at.is_(None) | (ApiKey.expires_at > func.now()))
    with db.transaction() as session:
        if session.scalar(select(ApiKey.id).where(ApiKey.id == key_id, *works)) is None:
            raise TokenRevoked


def confirm(session: Session, family_id: UUID) -> None:
    """Check that the session is still active, and keep it so until the commit. The account's row must be locked.

    Needed for what outlives a session (API keys): a session that was valid when its request began may have ended while
    the body was read. Raises `TokenRevoked`.
    """
    active = select(RefreshFamily.id).where(RefreshFamily.id == family_id, RefreshFamily.revoked_at.is_(None))
    if session.scalar(active.with_for_update(read=True)) is None:
        raise TokenRevoked


# -- reading PostgreSQL --------------------------------------------------------------------------------------


def _read_session(user_id: UUID, family_id: UUID) -> Facts:
    query = (
        select(User.role, User.is_active, User.email_verified_at, RefreshFamily.expires_at, RefreshFamily.revoked_at)
        .join(RefreshFamily, RefreshFamily.user_id == User.id)
        .where(User.id == user_id, RefreshFamily.id == family_id)
    )
    with db.transaction() as session:
        row = session.execute(query).one_or_none()
    if row is None:
        return {}
    role, is_active, verified_at, expires_at, revoked_at = row
    return {
        "role": role,
        "active": is_active and revoked_at is None,
        "verified": verified_at is not None,
        "expires_at": expires_at.timestamp(),
    }


def _read_key(key_id: UUID) -> Facts:
    query = (
        select(
            User.role,
            User.is_active,
            User.email_verified_at,
            ApiKey,
            func.array_agg(ApiKeySecret.secret_hash),
            func.array_agg(func.extract("epoch", ApiKeySecret.expires_at)),
        )
        .join(ApiKey, ApiKey.user_id == User.id)
        .join(ApiKeySecret, ApiKeySecret.api_key_id == ApiKey.id)
        .where(ApiKey.id == key_id)
        .group_by(User.id, ApiKey.id)
    )
    with db.transaction() as session:
        row = session.execute(query).one_or_none()
        if row is None:  # a delegated key that ended long ago
            return {}
        role, is_active, verified_at, key, hashes, ends = row
        limits = key_limits.read(session, key)
    return {
        "role": role,
        "active": is_active and key.revoked_at is None,
        "verified": verified_at is not None,
        "scopes": key.scopes,
        "expires_at": None if key.expires_at is None else key.expires_at.timestamp(),
        "secrets": [(hash_, None if end is None else float(end)) for hash_, end in zip(hashes, ends, strict=True)],
        "limits": limits,
    }


@lru_cache(maxsize=10_000)
def _owner(lookup: str) -> tuple[UUID, UUID]:
    """The account and id of a key. Cached in the process: a key never changes its owner, and this grants nothing."""
    with db.transaction() as session:
        row = session.execute(select(ApiKey.user_id, ApiKey.id).where(ApiKey.lookup == lookup)).one_or_none()
    if row is None:
        raise Unauthenticated
    user_id, key_id = row
    return user_id, key_id


def _touch(key_id: UUID) -> None:
    """Update `last_used_at`, at most once per `TOUCH`. Called on cache misses only: once a minute while Redis works."""
    stale = ApiKey.last_used_at.is_(None) | (ApiKey.last_used_at <= func.now() - TOUCH)
    with db.transaction() as session:
        session.execute(update(ApiKey).where(ApiKey.id == key_id, stale).values(last_used_at=func.now()))


def _touch_session(family_id: UUID) -> None:
    """Update `last_seen_at` of a session, as `_touch` does for keys."""
    stale = RefreshFamily.last_seen_at.is_(None) | (RefreshFamily.last_seen_at <= func.now() - TOUCH)
    with db.transaction() as session:
        session.execute(
            update(RefreshFamily).where(RefreshFamily.id == family_id, stale).values(last_seen_at=func.now())
        )


# -- deciding ------------------------------------------------------------------------------------------------


def _session_field(family_id: UUID) -> str:
    return f"session:{family_id}"


def _key_field(key_id: UUID) -> str:
    return f"key:{key_id}"


def _by_session(user_id: UUID, family_id: UUID, facts: Facts) -> Caller:
    if not facts.get("active") or _past(facts["expires_at"]):
        raise TokenRevoked
    return _caller(user_id, facts, scopes=SESSION_SCOPES, family_id=family_id, until=facts["expires_at"])


def _by_key(user_id: UUID, key_id: UUID, facts: Facts, secret_hash: str) -> Caller:
    until = _matching(facts.get("secrets", []), secret_hash)
    if not facts.get("active") or _past(facts["expires_at"]) or _past(until):
        raise TokenRevoked
    until = min((end for end in (until, facts["expires_at"]) if end is not None), default=None)
    return _caller(user_id, facts, scopes=facts["scopes"], api_key_id=key_id, until=until)


def _past(moment: float | None) -> bool:
    return moment is not None and clock.now().timestamp() >= moment


def _matching(secrets: list[tuple[str, float | None]], secret_hash: str) -> float | None:
    """When the secret with this hash ends (None: never). Raises `Unauthenticated` if the key has no such secret."""
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
    until: float | None = None,
) -> Caller:
    expires_at = None if until is None else datetime.fromtimestamp(until, UTC)
    allowed = frozenset(scopes) if facts["role"] == "admin" else frozenset(scopes) - {"admin"}
    limits = key_limits.of(facts.get("limits"))
    return Caller(user_id, facts["role"], allowed, api_key_id, family_id, facts["verified"], expires_at, limits)

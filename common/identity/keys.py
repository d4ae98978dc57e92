"""API keys: `jh_<lookup>_<secret><checksum>`. Shown once, stored hashed, rotated with an overlap."""

from __future__ import annotations

import re
import secrets
import string
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, and_, delete, func, or_, select, update
from sqlalchemy.orm import Session

from common.errors import Conflict, Forbidden, NotFound, Unauthenticated
from common.identity import audit, authorization, authorization_cache, idempotency
from common.identity.idempotency import Once
from common.identity.key_limits import Allowance
from common.kit import clock, crypto, db
from common.kit.paging import Page, Window
from common.models.accounts import ASKED_FOR, SCOPES, ApiKey, ApiKeySecret, User
from common.notifications import mails


@dataclass(frozen=True, slots=True)
class NewLimits:
    """What a new key may do at most (None: as much as the account). `tools`: slugs."""

    allowance: Allowance | None = None
    rate_limit_per_minute: int | None = None
    max_concurrency: int | None = None
    tools: list[str] | None = None


NO_LIMITS = NewLimits()
DEFAULT_SCOPES = tuple(scope for scope in SCOPES if scope not in ASKED_FOR)
MAX_KEYS = 100
#: Rotated secrets of one key that still work.
MAX_OVERLAPPING = 10
#: How long an expired secret is still answered with `token_revoked`.
REMEMBER_SECRETS = timedelta(days=1)
PREFIX = "jh_"
LOOKUP_CHARS = 12
#: 43 characters of base 62 carry 256 bits.
SECRET_CHARS = 43
CHECKSUM_CHARS = 6

_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_SHAPE = re.compile(
    rf"jh_([0-9A-Za-z]{{{LOOKUP_CHARS}}})_([0-9A-Za-z]{{{SECRET_CHARS}}})([0-9A-Za-z]{{{CHECKSUM_CHARS}}})"
)


def authenticate(key: str) -> authorization.Caller:
    """The caller of an API key. Raises `Unauthenticated` for none that is known, and `TokenRevoked` for one that is
    revoked, expired or rotated, or whose account is disabled. The checksum rejects typos without a query.
    """
    return authorization.of_key(*_parts(key))


def remembered(key: str) -> authorization.Caller | None:
    """The same as this process remembers it, to be confirmed with a hold; None: it does not. Raises the same."""
    return authorization.of_remembered_key(*_parts(key))


def _parts(key: str) -> tuple[str, str]:
    """What a key is looked up by, and the hash of its secret. Raises `Unauthenticated`."""
    shape = _SHAPE.fullmatch(key)
    if shape is None or _checksum(key[:-CHECKSUM_CHARS]) != shape[3]:
        raise Unauthenticated
    return shape[1], crypto.digest(shape[2])


def create(
    user_id: UUID,
    name: str,
    *,
    actor: audit.Actor,
    scopes: Sequence[str] | None = None,
    expires_at: datetime | None = None,
    family_id: UUID | None = None,
    limits: NewLimits = NO_LIMITS,
    once: Once = None,
) -> tuple[ApiKey, str]:
    """Create a key and return it with its text, which cannot be read again. Default `scopes`: all but `ASKED_FOR`.

    `family_id`: the calling session. A key outlives it, so it must still be active when the key is committed.

    Raises:
        TokenRevoked: that session has ended.
        Forbidden: the scope `admin`, and the account is not an admin.
        Conflict: the account has `MAX_KEYS` keys.
    """
    granted = [scope for scope in SCOPES if scope in (scopes or DEFAULT_SCOPES)]
    key, text, secret_hash = new(user_id, name, granted)
    key.expires_at, key.tools, key.rate_limit_per_minute = expires_at, limits.tools, limits.rate_limit_per_minute
    key.max_concurrency = limits.max_concurrency
    if limits.allowance is not None:
        key.allowance_tokens, key.allowance_window = limits.allowance.tokens, limits.allowance.window
    with db.transaction() as session:
        made = idempotency.claim(session, once, key.id)
        owner = _owner(session, user_id, family_id)
        if made:
            return _owned(session, user_id, made.id), made.secret()
        if "admin" in granted and owner.role != "admin":
            raise Forbidden("Only admins can have keys with the scope admin. No key was created.")
        if (session.scalar(select(func.count()).where(*_listed(user_id))) or 0) >= MAX_KEYS:
            raise Conflict(f"An account can have {MAX_KEYS} keys. Revoke one and retry.")
        add(session, key, secret_hash)
        idempotency.remember(session, once, secret=text)
        _record(session, owner, actor, key, "create")
    mails.notify()
    return key, text


def new(user_id: UUID, name: str, scopes: list[str]) -> tuple[ApiKey, str, str]:
    """A key that is in no table yet, its text, and the hash of its secret."""
    lookup = _random(LOOKUP_CHARS)
    text, secret_hash = _make(lookup)
    key = ApiKey(id=clock.uuid7(), user_id=user_id, name=name, lookup=lookup, last4=text[-4:], scopes=scopes)
    return key, text, secret_hash


def add(session: Session, key: ApiKey, secret_hash: str) -> None:
    """Write a new key and its secret."""
    session.add(key)
    session.flush()
    session.add(ApiKeySecret(api_key_id=key.id, secret_hash=secret_hash))


def _listed(user_id: UUID) -> tuple[ColumnElement[bool], ...]:
    """The keys that an account made by hand and has not revoked."""
    return ApiKey.user_id == user_id, ApiKey.revoked_at.is_(None), ApiKey.is_delegated.is_(False)


def owned(user_id: UUID, window: Window) -> Page[ApiKey]:
    """The account's keys, without revoked and delegated ones, newest first."""
    query = select(ApiKey).where(*_listed(user_id))
    if window.after:
        query = query.where(ApiKey.id < window.after[0])
    with db.snapshot() as session:
        rows = session.scalars(query.order_by(ApiKey.id.desc()).limit(window.limit + 1)).all()
    return Page.cut(rows, window, lambda key: (key.id,))


def rotate(
    user_id: UUID,
    key_id: UUID,
    overlap_seconds: int,
    *,
    actor: audit.Actor,
    family_id: UUID | None = None,
    once: Once = None,
) -> tuple[ApiKey, str]:
    """Give the key a new secret. Older ones work until the end of the overlap, or until their own end if earlier.

    Raises:
        TokenRevoked: the calling session, `family_id`, has ended.
        NotFound: the account has no such key.
        Conflict: the key has expired, or too many of its secrets overlap.
    """
    with authorization_cache.changing(user_id) as session:
        made = idempotency.claim(session, once, key_id)
        owner = _owner(session, user_id, family_id)
        key = _owned(session, user_id, key_id)
        if made:
            return key, made.secret()
        if key.expires_at is not None and key.expires_at <= clock.now():
            raise Conflict("This key has expired. Create a new one.")
        text, secret_hash = _make(key.lookup)
        _retire_secrets(session, key_id, timedelta(seconds=overlap_seconds))
        session.add(ApiKeySecret(api_key_id=key_id, secret_hash=secret_hash))
        key.last4 = text[-4:]
        idempotency.remember(session, once, secret=text)
        _record(session, owner, actor, key, "rotate")
    mails.notify()
    return key, text


def revoke(user_id: UUID, key_id: UUID, *, actor: audit.Actor) -> None:
    """Revoke a key, and those that come from it, effective with the next request. Raises `NotFound`."""
    with authorization_cache.changing(user_id) as session:
        _owner(session, user_id, None)
        key = _owned(session, user_id, key_id)
        children = and_(ApiKey.user_id == user_id, ApiKey.is_delegated, ApiKey.ancestors.contains([key_id]))
        which = or_(ApiKey.id == key_id, children) & ApiKey.revoked_at.is_(None)
        session.execute(update(ApiKey).where(which).values(revoked_at=func.now()))
        audit.record(session, actor, "api_key.revoke", "api_key", key_id, before={"name": key.name})


# -- parts ---------------------------------------------------------------------------------------------------


def _owner(session: Session, user_id: UUID, family_id: UUID | None) -> User:
    """The account, locked: serialises changes to its keys with each other and with ending its sessions."""
    owner = session.get_one(User, user_id, with_for_update={"key_share": True})
    if family_id is not None:
        authorization.confirm(session, family_id)
    return owner


def _owned(session: Session, user_id: UUID, key_id: UUID) -> ApiKey:
    query = select(ApiKey).where(ApiKey.id == key_id, ApiKey.user_id == user_id, ApiKey.revoked_at.is_(None))
    key = session.scalars(query.with_for_update(key_share=True)).one_or_none()
    if key is None:
        raise NotFound
    return key


def _retire_secrets(session: Session, key_id: UUID, overlap: timedelta) -> None:
    """Let every secret end after `overlap`, unless it ends earlier, and delete those that ended long ago."""
    mine = ApiKeySecret.api_key_id == key_id
    session.execute(delete(ApiKeySecret).where(mine, ApiKeySecret.expires_at < func.now() - REMEMBER_SECRETS))
    deadline = func.now() + overlap
    later = ApiKeySecret.expires_at.is_(None) | (ApiKeySecret.expires_at > deadline)
    session.execute(update(ApiKeySecret).where(mine, later).values(expires_at=deadline))
    active = select(func.count()).where(mine, ApiKeySecret.expires_at > func.now())
    if (session.scalar(active) or 0) > MAX_OVERLAPPING:
        raise Conflict(
            "Too many rotated secrets of this key still work. Use overlap_seconds 0, or wait until they expire."
        )


def _record(session: Session, owner: User, actor: audit.Actor, key: ApiKey, what: str) -> None:
    """Record a new secret in the audit log, and mail the owner."""
    mails.record(session, f"key_{what}d", owner.email, key=key.name, ip=actor.ip)
    audit.record(session, actor, f"api_key.{what}", "api_key", key.id, after={"name": key.name, "scopes": key.scopes})


def _make(lookup: str) -> tuple[str, str]:
    """A new key text with that lookup part, and the hash of its secret."""
    secret = _random(SECRET_CHARS)
    body = f"{PREFIX}{lookup}_{secret}"
    return body + _checksum(body), crypto.digest(secret)


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def _checksum(text: str) -> str:
    """CRC-32 in base 62, as in GitHub's tokens: detects typos and lets scanners recognise leaked keys."""
    number, digits = zlib.crc32(text.encode()), ""
    for _ in range(CHECKSUM_CHARS):
        number, digit = divmod(number, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return digits

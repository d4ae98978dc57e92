"""Delegated keys: short-lived, for an agent's run, a browser or a job, with a part of what their maker may do.

What they use counts against every key that they come from. They end with it, and by themselves within a day.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from common.errors import Conflict, FieldError, Invalid, ScopeMissing, TokenRevoked
from common.identity import authorization, idempotency, keys
from common.identity.authorization import Caller
from common.identity.idempotency import Once
from common.kit import batches, db, log
from common.kit.query import Query
from common.models.accounts import SCOPES, ApiKey, User

logger = log.get(__name__)

#: What a delegated key may be given, and what it gets if nothing is said.
DELEGABLE = tuple(scope for scope in SCOPES if scope != "admin")
DEFAULT_SCOPES = ("tools:read", "invocations:read", "invocations:write")
MAX_ALIVE = 10_000
#: Delegated keys between a key and the one that was made by hand.
MAX_DEPTH = 5
MAX_SECONDS = 86_400
#: Rows of delegated keys are removed so long after their end.
KEEP_DAYS = 29
BATCH = 500
SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Delegation:
    """What is asked for. `tools`, `scopes`: None: see `delegate`. `end_user`: whom its invocations are for."""

    tokens: int
    expires_in: int
    tools: list[str] | None = None
    scopes: list[str] | None = None
    end_user: str | None = None
    metadata: Mapping[str, str] | None = None


def delegate(caller: Caller, asked: Delegation, *, once: Once = None) -> tuple[ApiKey, str]:
    """Make a key with a part of what the caller may do; returns it with its text, which cannot be read again.

    It ends when the caller's key does, at the latest. Without `tools`, it has those of the caller; without `scopes`,
    those of `DEFAULT_SCOPES` that the caller has. An `end_user` of the caller's key is that of its children.

    Raises:
        ScopeMissing: a scope that the caller does not have.
        Invalid: a tool or an end user that the caller's key is not for.
        TokenRevoked: the caller's key or session has ended meanwhile.
        Conflict: too many delegated keys are alive, or too many lie between this one and the first.
    """
    key, text, secret_hash = keys.new(caller.user_id, "delegated", _scopes(caller, asked.scopes))
    key.is_delegated = True
    key.allowance_tokens, key.allowance_window = asked.tokens, "total"
    key.tools, key.end_user = _tools(caller, asked.tools), _end_user(caller, asked.end_user)
    key.metadata_ = dict(asked.metadata or {})
    with db.transaction() as session:
        made = idempotency.claim(session, once, key.id)
        session.get_one(User, caller.user_id, with_for_update={"key_share": True})
        if made:
            return _repeated(session, caller, made.id), made.secret()
        now: datetime = session.execute(select(func.now())).scalar_one()
        key.expires_at = now + timedelta(seconds=asked.expires_in)
        _descend(session, caller, key, now)
        _require_room(session, caller.user_id)
        keys.add(session, key, secret_hash)
        idempotency.remember(session, once, secret=text)
    logger.info("key delegated", api_key_id=str(key.id), root_id=str(key.root_id or key.id))
    return key, text


def _repeated(session: Session, caller: Caller, key_id: UUID) -> ApiKey:
    """What an earlier request with the same `Idempotency-Key` has made. Raises `Conflict` if another key made that."""
    key = session.get(ApiKey, key_id)
    parent = key.ancestors[0] if key is not None and key.ancestors else None
    if key is None or key.revoked_at is not None or parent != caller.api_key_id:
        raise Conflict("The key that was created with this Idempotency-Key was revoked, or was created by another key.")
    return key


def _scopes(caller: Caller, asked: list[str] | None) -> list[str]:
    has = caller.scopes if caller.family_id is None else frozenset(DELEGABLE)
    for scope in asked or ():
        if scope not in has:
            raise ScopeMissing(f"The API key does not have the scope {scope}, so it cannot grant it.", scope=scope)
    return [scope for scope in DELEGABLE if scope in has and scope in (asked or DEFAULT_SCOPES)]


def _tools(caller: Caller, asked: list[str] | None) -> list[str] | None:
    if caller.tools is None:
        return asked
    hidden = [
        FieldError(f"/tools/{number}", "There is no such tool.")
        for number, slug in enumerate(asked or ())
        if slug not in caller.tools
    ]
    if hidden:
        raise Invalid(errors=hidden)
    return asked or sorted(caller.tools)


def _end_user(caller: Caller, asked: str | None) -> str | None:
    fixed = caller.limits.end_user if caller.limits else None
    if fixed is not None and asked not in (None, fixed):
        raise Invalid(errors=[FieldError("/end_user", "This key is for another end user.")])
    return fixed or asked


def _descend(session: Session, caller: Caller, key: ApiKey, now: datetime) -> None:
    """Put the key below the caller's, which is alive and stays so until the commit: the account's row is locked."""
    if caller.family_id is not None:
        authorization.confirm(session, caller.family_id)
    if caller.api_key_id is None:
        return
    parent = session.get(ApiKey, caller.api_key_id)
    if parent is None or parent.revoked_at is not None:
        raise TokenRevoked
    if parent.expires_at is not None and key.expires_at is not None:
        key.expires_at = min(key.expires_at, parent.expires_at)
        if key.expires_at <= now:
            raise TokenRevoked
    key.root_id = parent.root_id or parent.id
    key.ancestors = [parent.id, *(parent.ancestors or ())]
    if len(key.ancestors) > MAX_DEPTH:
        raise Conflict(f"Keys can be delegated at most {MAX_DEPTH} levels deep. No key was created.")


def _require_room(session: Session, user_id: UUID) -> None:
    alive = (ApiKey.is_delegated, ApiKey.revoked_at.is_(None), ApiKey.expires_at > func.now())
    if (session.scalar(select(func.count()).where(ApiKey.user_id == user_id, *alive)) or 0) >= MAX_ALIVE:
        raise Conflict(f"This account has {MAX_ALIVE} active delegated keys. Revoke some, or wait until they expire.")


# -- removing ------------------------------------------------------------------------------------------------------


class RemovedRows(NamedTuple):
    """How many keys one step has removed."""

    several: int


_REMOVE: Final = Query(
    """
with old as materialized (
  select id from api_keys where is_delegated and expires_at < now() - make_interval(days => :days)
   order by expires_at limit :limit for update skip locked),
secrets as (delete from api_key_secrets s using old where s.api_key_id = old.id),
removed as (delete from api_keys k using old where k.id = old.id returning 1)
select count(*) as several from removed
""",
    RemovedRows,
)


def remove_old(*, seconds: float = SECONDS) -> int:
    """For the beat: remove delegated keys that ended `KEEP_DAYS` ago. Returns how many. Usage keeps their ids."""
    once = {"days": KEEP_DAYS, "limit": BATCH}
    return batches.repeat(lambda: db.execute(_REMOVE, once)[0].several, BATCH, seconds)

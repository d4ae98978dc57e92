"""`Idempotency-Key` for POSTs that create, grant or spend in one transaction: a repeat gets what the first one made.

    made = idempotency.claim(session, once, key.id)     the first statement of the transaction that makes it
    if made:
        return own(session, made.id), made.secret()     a repeat
    …
    idempotency.remember(session, once, secret=text)    what rows will not tell a repeat

A refusal rolls back, so its key stays free; a crash after the commit leaves a key that replays. Submitting invocations
has rows of its own, which are written with the invocation; a key of another request has a row there too, so that of a
submit and another request with one key at once, one is refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeAlias
from uuid import UUID

from sqlalchemy import TextClause, text
from sqlalchemy.orm import Session

from common.errors import Conflict, IdempotencyKeyReused
from common.kit import clock, crypto, db, jsonb
from common.kit.query import Query

BATCH = 500
SECONDS = 5.0
#: How long a repeat is shown a secret that is shown only once, in seconds.
SECRET_SECONDS: Final = 600
_PURPOSE: Final = "idempotency"


@dataclass(slots=True)
class Request:
    """A request with its key. `fingerprint`: a hash of its method, path and JSON value.

    `claimed`: its verb has asked for its key; `replayed`: an earlier request was the first.
    """

    user_id: UUID
    key: str
    fingerprint: str
    claimed: bool = False
    replayed: bool = False

    @classmethod
    def of(cls, user_id: UUID, key: str, method: str, path: str, body: object) -> Request:
        """The request with this key; equal requests have equal fingerprints (canonical JSON, RFC 8785)."""
        return cls(user_id, key, hashlib.sha256(jsonb.canonical([method, path, body])).hexdigest())


#: What a verb takes: the request whose key it claims, or None for one without a key.
Once: TypeAlias = Request | None


@dataclass(frozen=True, slots=True)
class Made:
    """What an earlier request with the same key made. `facts`: what it had `remember`ed beside the secret."""

    id: UUID
    facts: Mapping[str, object] = field(default_factory=dict)
    encrypted: str | None = None
    owner: UUID | None = None

    def secret(self) -> str:
        """The secret that the first answer showed. Raises `Conflict` after ten minutes."""
        try:
            return crypto.decrypt(_PURPOSE, str(self.owner), self.encrypted or "")
        except crypto.Undecryptable:
            raise Conflict(
                "This request was already carried out. Its response had a secret, which is shown again for ten minutes "
                "only. Nothing was changed; rotate the secret to get a new one."
            ) from None


#: Waits for a concurrent request with the same key. A key older than 24 hours counts as new.
_CLAIM = text("""
insert into idempotent_requests as r (user_id, key, request_hash, made)
values (:user_id, :key, :request_hash, :made)
on conflict (user_id, key) do update
   set request_hash = excluded.request_hash, made = excluded.made, created_at = now(),
       facts = null, secret = null, secret_until = null
 where r.created_at <= now() - interval '24 hours'
returning made
""")


#: Waits for a submit with this key that is being stored, and makes one wait that comes now.
_OCCUPY = text("""
insert into idempotency_keys as k (user_id, key, request_hash) values (:user_id, :key, :request_hash)
on conflict (user_id, key) do update
   set request_hash = excluded.request_hash, invocation_id = null, created_at = now()
 where k.created_at <= now() - interval '24 hours'
""")


class EarlierRequest(NamedTuple):
    """What an earlier request with the same key was, and made. `secret`: encrypted, while it may be shown again."""

    request_hash: str
    made: UUID
    facts: Mapping[str, object] | None
    secret: str | None


_MADE = Query(
    """
select request_hash, made, facts, case when secret_until > now() then secret end as secret
  from idempotent_requests where user_id = :user_id and key = :key
""",
    EarlierRequest,
)
_SUBMITTED = text("""
select 1 from idempotency_keys
 where user_id = :user_id and key = :key and invocation_id is not null and created_at > now() - interval '24 hours'
""")
_REMEMBER = text("""
update idempotent_requests
   set facts = cast(:facts as jsonb), secret = cast(:secret as text),
       secret_until = case when cast(:secret as text) is not null then now() + make_interval(secs => :seconds) end
 where user_id = :user_id and key = :key
""")
_FORGET = text("""
with old as (
  select user_id, key from idempotent_requests where created_at <= now() - interval '25 hours' limit :limit)
delete from idempotent_requests r using old where r.user_id = old.user_id and r.key = old.key
""")
_FORGET_SECRETS = text("""
with old as (
  select user_id, key from idempotent_requests where secret_until <= now() limit :limit for update skip locked)
update idempotent_requests r set secret = null, secret_until = null from old
 where r.user_id = old.user_id and r.key = old.key
""")


def claim(session: Session, once: Once, made: UUID) -> Made | None:
    """Record that the request makes `made`, or return what an earlier request with its key made.

    The first statement of its transaction: a repeat is answered before anything can refuse it.
    Raises `IdempotencyKeyReused`: the key was used for a different request.
    """
    if once is None:
        return None
    once.claimed = True
    named = {"user_id": once.user_id, "key": once.key}
    session.execute(_OCCUPY, {**named, "request_hash": once.fingerprint})
    if session.execute(_SUBMITTED, named).first() is not None:
        raise IdempotencyKeyReused
    if session.execute(_CLAIM, {**named, "request_hash": once.fingerprint, "made": made}).first() is not None:
        return None
    (earlier,) = db.fetch(session, _MADE, named)
    if earlier.request_hash != once.fingerprint:
        raise IdempotencyKeyReused
    once.replayed = True
    return Made(earlier.made, earlier.facts or {}, earlier.secret, once.user_id)


def remember(session: Session, once: Once, *, secret: str | None = None, **facts: object) -> None:
    """Keep what a repeat cannot read from rows, in the transaction that claimed: the secret encrypted, ten minutes."""
    if once is None:
        return
    encrypted = None if secret is None else crypto.encrypt(_PURPOSE, str(once.user_id), secret)
    named = {"user_id": once.user_id, "key": once.key}
    kept = {"secret": encrypted, "seconds": SECRET_SECONDS, "facts": jsonb.dumps(facts) if facts else None}
    session.execute(_REMEMBER, {**named, **kept})


def forget_old(*, seconds: float = SECONDS) -> int:
    """Delete expired keys and secrets in batches, for about `seconds` each. Returns the number of rows."""
    return _in_batches(_FORGET_SECRETS, seconds) + _in_batches(_FORGET, seconds)


def _in_batches(statement: TextClause, seconds: float) -> int:
    give_up, total = clock.monotonic() + seconds, 0
    while True:
        count = db.rowcount(statement, {"limit": BATCH})
        total += count
        if count < BATCH or clock.monotonic() > give_up:
            return total

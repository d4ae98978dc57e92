"""`Idempotency-Key` for POSTs that create a resource in one transaction: a repeat returns the first resource.

    claim(session, request, id)     in the creating transaction: None, or the id that an earlier request created

Submitting invocations has its own keys, which are bound to the hold.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from common.errors import IdempotencyKeyReused
from common.kit import clock, db, jsonb
from common.kit.query import Query

BATCH = 500
SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Request:
    """A request with its key. `fingerprint`: a hash of its method, path and JSON value."""

    user_id: UUID
    key: str
    fingerprint: str

    @classmethod
    def of(cls, user_id: UUID, key: str, method: str, path: str, body: object) -> Request:
        """The request with this key; equal requests have equal fingerprints, whatever the order of their keys."""
        return cls(user_id, key, hashlib.sha256(jsonb.canonical([method, path, body])).hexdigest())


#: Waits for a concurrent request with the same key. A key older than 24 hours counts as new.
_CLAIM = text("""
insert into idempotent_requests as r (user_id, key, request_hash, made)
values (:user_id, :key, :request_hash, :made)
on conflict (user_id, key) do update
   set request_hash = excluded.request_hash, made = excluded.made, created_at = now()
 where r.created_at <= now() - interval '24 hours'
returning made
""")


class EarlierRequest(NamedTuple):
    """What an earlier request with the same key was, and made."""

    request_hash: str
    made: UUID


_MADE = Query(
    "select request_hash, made from idempotent_requests where user_id = :user_id and key = :key", EarlierRequest
)
_SUBMITTED = text("""
select 1 from idempotency_keys
 where user_id = :user_id and key = :key and created_at > now() - interval '24 hours'
""")
_FORGET = text("""
with old as (
  select user_id, key from idempotent_requests where created_at <= now() - interval '25 hours' limit :limit)
delete from idempotent_requests r using old where r.user_id = old.user_id and r.key = old.key
""")


def claim(session: Session, request: Request | None, made: UUID) -> UUID | None:
    """Record that the request creates `made`, or return the id that an earlier request with its key created.

    Raises `IdempotencyKeyReused`: the key was used for a different request.
    """
    if request is None:
        return None
    named = {"user_id": request.user_id, "key": request.key}
    if session.execute(_SUBMITTED, named).first() is not None:
        raise IdempotencyKeyReused
    if session.execute(_CLAIM, {**named, "request_hash": request.fingerprint, "made": made}).first() is not None:
        return None
    (earlier,) = db.fetch(session, _MADE, named)
    if earlier.request_hash != request.fingerprint:
        raise IdempotencyKeyReused
    return earlier.made


def forget_old(*, seconds: float = SECONDS) -> int:
    """Delete expired keys in batches, for about `seconds`. Returns the number of keys deleted."""
    give_up, total = clock.monotonic() + seconds, 0
    while True:
        forgotten = db.rowcount(_FORGET, {"limit": BATCH})
        total += forgotten
        if forgotten < BATCH or clock.monotonic() > give_up:
            return total

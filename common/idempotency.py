"""Requests that are made again under one Idempotency-Key: the second gets what the first has made, and makes nothing.

For POSTs that create something with an id, in one transaction. (Submitting has keys of its own, bound to the hold.)

    claim(session, request, id)     in the transaction that makes it: None, or the id that was made before
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from common.errors import IdempotencyKeyReused
from common.kit import clock, db, jsonb

BATCH = 500
SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Request:
    """Who asks for what under which key. `fingerprint` is the same for the same method, path and JSON value."""

    user_id: UUID
    key: str
    fingerprint: str

    @classmethod
    def of(cls, user_id: UUID, key: str, method: str, path: str, body: Any) -> Request:
        return cls(user_id, key, hashlib.sha256(jsonb.canonical([method, path, body])).hexdigest())


#: Waits for whoever is just making it under the same key; a key that is out of its 24 hours is new.
_CLAIM = text("""
insert into idempotent_requests as r (user_id, key, request_hash, made)
values (:user_id, :key, :request_hash, :made)
on conflict (user_id, key) do update
   set request_hash = excluded.request_hash, made = excluded.made, created_at = now()
 where r.created_at <= now() - interval '24 hours'
returning made
""")
_MADE = text("select request_hash, made from idempotent_requests where user_id = :user_id and key = :key")
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
    """Note in this transaction that the request makes `made`. Returns what it has made before instead, if it has.

    Raises `IdempotencyKeyReused`: the key stands for another request.
    """
    if request is None:
        return None
    named = {"user_id": request.user_id, "key": request.key}
    if session.execute(_SUBMITTED, named).first() is not None:
        raise IdempotencyKeyReused
    if session.execute(_CLAIM, {**named, "request_hash": request.fingerprint, "made": made}).first() is not None:
        return None
    earlier = session.execute(_MADE, named).one()
    if earlier.request_hash != request.fingerprint:
        raise IdempotencyKeyReused
    found: UUID = earlier.made
    return found


def forget_old(*, seconds: float = SECONDS) -> int:
    """Drop keys that are out of their 24 hours: all of them, or for about so long. Returns how many."""
    give_up, total = clock.monotonic() + seconds, 0
    while True:
        forgotten = db.rowcount(_FORGET, {"limit": BATCH})
        total += forgotten
        if forgotten < BATCH or clock.monotonic() > give_up:
            return total

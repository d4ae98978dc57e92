"""What an earlier request with the same Idempotency-Key has made, or that none is to make anything."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from common.errors import IdempotencyKeyReused
from common.identity.authorization import Caller
from common.invocations.model import Order, Submitted
from common.kit import db, jsonb
from common.kit.query import Query


class KeyRow(NamedTuple):
    """What an Idempotency-Key stands for: an invocation, or another request (None) with another `request_hash`.

    The tool is the one that was asked for, also where its fallback ran. `old`: its 24 hours are over.
    """

    request_hash: str
    invocation_id: UUID | None
    old: bool
    tool_id: UUID | None
    slug: str | None


KEY: Final = Query(
    """
select k.request_hash, k.invocation_id, k.created_at <= now() - interval '24 hours' as old, t.id as tool_id, t.slug
  from idempotency_keys k left join invocations i on i.id = k.invocation_id
  left join tools t on t.id = coalesce(i.requested_tool_id, i.tool_id)
 where k.user_id = :user_id and k.key = :key
 union all
select request_hash, null, false, null, null
  from idempotent_requests where user_id = :user_id and key = :key and created_at > now() - interval '24 hours'
 order by old
 limit 1
""",
    KeyRow,
)
#: A key that nobody has, or that another request had 24 hours ago. Waits for a submit with it that is being stored.
OCCUPY: Final = text("""
insert into idempotency_keys as k (user_id, key, request_hash) values (:user_id, :key, :request_hash)
on conflict (user_id, key) do update
   set request_hash = excluded.request_hash, invocation_id = null, created_at = now()
 where k.request_hash <> excluded.request_hash and k.created_at <= now() - interval '24 hours'
returning key
""")


class KeyHolder(NamedTuple):
    """Who has a key: the `same` request or another one, and what it made (None: nothing, and nothing will be)."""

    same: bool
    invocation_id: UUID | None


HOLDER: Final = Query(
    """
select request_hash = :request_hash as same, invocation_id from idempotency_keys where user_id = :user_id and key = :key
""",
    KeyHolder,
)
FORGET_KEY: Final = text("""
delete from idempotency_keys
 where user_id = :user_id and key = :key and created_at <= now() - interval '24 hours'
""")


def fingerprint(body: object) -> str:
    """What makes two requests the same: their canonical JSON."""
    return hashlib.sha256(jsonb.canonical(body)).hexdigest()


def find(caller: Caller, tool_ref: str, order: Order, fingerprint: str) -> Submitted | None:
    """The invocation that this Idempotency-Key stands for already, if any."""
    if order.idempotency_key is None:
        return None
    key = {"user_id": caller.user_id, "key": order.idempotency_key}
    rows = db.execute(KEY, key)
    if not rows:
        return None
    if rows[0].old:
        db.rowcount(FORGET_KEY, key)
        return None
    made, same = rows[0].invocation_id, rows[0].request_hash == fingerprint
    if made is None or not same or tool_ref.lower() not in (str(rows[0].tool_id), rows[0].slug):
        raise IdempotencyKeyReused
    return Submitted(made, replayed=True)


def made_under(user_id: UUID, key: str, body: Mapping[str, object]) -> UUID | None:
    """The invocation that a submit with this key and body has made within the last 24 hours, of whatever tool."""
    rows = db.execute(KEY, {"user_id": user_id, "key": key})
    return rows[0].invocation_id if rows and not rows[0].old and rows[0].request_hash == fingerprint(body) else None


def occupy(session: Session, user_id: UUID, key: str, body: Mapping[str, object]) -> KeyHolder | None:
    """Have this request make nothing, in your transaction: a submit with this key and body is refused from then on.

    Returns who has the key already, and keeps it (None: nobody had it).
    """
    named = {"user_id": user_id, "key": key, "request_hash": fingerprint(body)}
    if session.execute(OCCUPY, named).first() is not None:
        return None
    (holder,) = db.fetch(session, HOLDER, named)  # the row was locked by the conflict
    return holder

# ruff: noqa: S608  (the statements are put together from constants)
"""Requests that a client repeats by itself, without an Idempotency-Key but counting: they join the first.

Each call has a row, which is committed before anything is submitted for it, and whose id is the key under which it is:
so whatever its requests overtake, and whatever dies between them, they make one invocation (`replaying`, `storing`).
A request that counts 0 is a new call. One that counts more joins a call that was made with the same credential and
body, and that no request with the same count has joined; of several, the one whose requests have counted furthest below
it, which is its own as far as can be told (docs/decisions/openai-route.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from common.identity.authorization import Caller
from common.invocations import replaying
from common.kit import batches, clock, db
from common.kit.query import Query

#: For how long (seconds) a call can be joined.
WINDOW: Final = 900
#: For how long (seconds) it can be after an answer was sent whole: longer than a client, which may have given up just
#: before that, waits until it repeats.
GRACE: Final = 15
BATCH: Final = 500
SECONDS: Final = 5.0

_NEW: Final = text("""
insert into client_calls (id, user_id, credential_id, request_hash, retries)
values (:id, :user_id, :credential_id, :request_hash, :count)
""")


class JoinedCall(NamedTuple):
    """A call that was there."""

    id: UUID


#: Of those that ask at once, each locks another row: one that was taken in the meantime is none any more.
_JOIN: Final = Query(
    f"""
with found as (
  select id from client_calls
   where credential_id = :credential_id and request_hash = :request_hash and retries <> :count
     and created_at > now() - interval '{WINDOW} seconds'
     and (answered_at is null or answered_at > now() - interval '{GRACE} seconds')
   order by retries < :count desc, retries desc, id desc
   limit 1 for update)
update client_calls c set retries = greatest(c.retries, :count) from found where c.id = found.id returning c.id
""",
    JoinedCall,
)
_ANSWERED: Final = text("update client_calls set answered_at = now() where id = :id and retries = :count")
_REFUSED: Final = text("delete from client_calls where id = :id and retries = :count")
_FORGET: Final = text(f"""
with old as (
  select id from client_calls where created_at <= now() - interval '{WINDOW + 60} seconds' limit :limit)
delete from client_calls c using old where c.id = old.id
""")


@dataclass(frozen=True, slots=True)
class CountedRequest:
    """A request of the call `id`. `count`: how often the client has repeated it; `joined`: the call was there."""

    id: UUID
    count: int
    joined: bool

    @property
    def key(self) -> str:
        """What its invocation is submitted under."""
        return f"client-call:{self.id}"


def begin(caller: Caller, body: object, count: int) -> CountedRequest:
    """The call that this request belongs to: a new one, or for a `count` above 0 the one that it joins."""
    credential = caller.api_key_id or caller.family_id or caller.user_id
    named = {"credential_id": credential, "request_hash": replaying.fingerprint(body), "count": count}
    if count and (found := db.execute(_JOIN, named)):
        return CountedRequest(found[0].id, count, joined=True)
    made = CountedRequest(clock.uuid7(), count, joined=False)
    db.rowcount(_NEW, {**named, "id": made.id, "user_id": caller.user_id})
    return made


def refused(request: CountedRequest) -> None:
    """Nothing was accepted for the request that has made the call: it is none, unless another has joined it."""
    if not request.joined:
        db.rowcount(_REFUSED, {"id": request.id, "count": request.count})


def answered(request: CountedRequest) -> None:
    """An answer was sent whole: nothing joins the call any more, unless it has been joined by a later request."""
    db.rowcount(_ANSWERED, {"id": request.id, "count": request.count})


def forget_old(*, seconds: float = SECONDS) -> int:
    """Delete calls that cannot be joined any more, for about so many seconds. Returns their number."""
    return batches.repeat(lambda: db.rowcount(_FORGET, {"limit": BATCH}), BATCH, seconds)

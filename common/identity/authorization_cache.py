"""The authorization cache: what PostgreSQL says about a credential, kept in Redis for at most a minute.

Entries are kept per account under a generation (a random nonce). Every transaction that changes an account, a session
or a key is a `changing`:

    lock      take the account's advisory lock in PostgreSQL, which the transaction keeps until it has ended
    delete    delete the account's entries, with their generation
    change    and commit

A reader that finds no entry asks Redis for the generation, and then PostgreSQL whether anybody has the lock, before it
reads. While somebody has, it writes nothing to the cache. So an entry is from before the lock, and is deleted, or its
generation is, so that the write is rejected; or it is from after the commit. Nothing need be done after the commit, and
nothing is left behind by a process that dies: the server ends its transaction, and with it the lock.

After a Redis wipe the state is *unknown* and PostgreSQL is read. A replica that was promoted may have missed a delete,
so entries count only on the run of the server that they were written on. While Redis is unreachable, readers use
PostgreSQL and changes are refused (503), because a Redis that comes back could still hold what they undid.

Entries are signed for one credential and expire. An entry with a wrong signature counts as missing, so someone who can
write to Redis cannot make anybody an admin; at most they can restore an entry that was true within the last minute.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from threading import Event
from typing import Final, NamedTuple, TypedDict
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from common.errors import DependencyUnavailable
from common.identity.key_limits import KnownLimits
from common.kit import clock, crypto, db, log, memory, redis
from common.kit.cache import Cache
from common.kit.pause import Pause
from common.kit.query import Query

CACHE_SECONDS = 60
#: How long a process reads PostgreSQL directly after Redis failed to answer.
BACKOFF_SECONDS = 1.0
#: How long a request waits for another that reads the same from PostgreSQL.
AWAIT_SECONDS = 1.0
#: How many credentials a process remembers.
REMEMBERED_MOST = 10_000


class Facts(TypedDict, total=False):
    """What PostgreSQL says about a credential; empty: there is no such credential. Times are Unix times.

    `scopes`, `secrets` (hash, end) and `limits` are those of an API key.
    """

    role: str
    active: bool
    verified: bool
    expires_at: float | None
    scopes: list[str]
    secrets: list[tuple[str, float | None]]
    limits: KnownLimits | None


class CachedFacts(Facts):
    """Facts as they are cached, with the end of their validity."""

    until: float


@dataclass(slots=True)
class Remembered:
    """What this process remembers of a credential: `entry`, which Redis had in `field` of the hash `key`.

    Whether it has the same now is asked with the hold, in the same step (`budgets.hold`). `asked`: that has been done.
    """

    key: str
    field: str
    entry: str
    asked: bool = False


class NotConfirmed(Exception):
    """Redis knows something else of the caller than is remembered, or nothing: look them up. Nothing was done."""


_log = log.get(__name__)
_entries = memory.Part(lambda: Cache[tuple[UUID, str], tuple[CachedFacts, str]](REMEMBERED_MOST, CACHE_SECONDS))


@contextmanager
def changing(user_id: UUID, *, regardless: bool = False) -> Iterator[Session]:
    """A transaction that changes what callers of this account may do: `with changing(id) as session:`.

    The delete is inside it because it has to come after the lock and before the commit; no row is locked by then.

    `regardless`: make the change even while Redis is unreachable (for revoking what a thief holds). A Redis that comes
    back may then serve the old state for up to `CACHE_SECONDS`.

    Raises:
        DependencyUnavailable: Redis is unreachable; nothing was changed.
        What `db.transaction` does.
    """
    with db.transaction() as session:
        session.execute(_LOCK, {"key": _lock_of(user_id)})
        try:
            _forget(user_id)
        except redis.RedisUnreachable as error:
            if not regardless:
                raise DependencyUnavailable from error
            _log.warning("account changed while redis was unreachable", user_id=str(user_id))
        yield session
    if regardless:
        with suppress(redis.RedisUnreachable):
            _forget(user_id)


def facts_of(user_id: UUID, field: str, read: Callable[[], Facts]) -> tuple[Facts, bool]:
    """What is known of a credential, and whether `read` was just called. No facts: the credential does not exist."""
    known, generation = _known(user_id, field)
    if known is None and generation and _was_read((user_id, field)):
        known, generation = _known(user_id, field)
    if known is not None:
        return known, False
    with _reading((user_id, field)):
        may_install = bool(generation) and not _is_changing(user_id)
        facts = read()
        if may_install:
            _install(user_id, field, generation, facts)
    return facts, True


def remembered(user_id: UUID, field: str) -> tuple[Facts, Remembered] | None:
    """What Redis last told this process of a credential, if that was good until now. It may have changed since."""
    found = _entries().get((user_id, field))
    if found is None or clock.now().timestamp() >= found[0]["until"]:
        return None
    return found[0], Remembered(_key(user_id), field, found[1])


# -- changes in progress -----------------------------------------------------------------------------------------


class _Free(NamedTuple):
    free: bool


_LOCK: Final = text("select pg_advisory_xact_lock(:key)")
#: Kept by nobody: the statement is its own transaction.
_IS_FREE: Final = Query("select pg_try_advisory_xact_lock_shared(:key) as free", _Free)


def _lock_of(user_id: UUID) -> int:
    """A signed number of 64 bits: the last of the id, which make it negative and apart from all other locks."""
    return int.from_bytes(user_id.bytes[8:], signed=True)


def _is_changing(user_id: UUID) -> bool:
    """Whether a change of the account is in progress.

    If not, what is read from now on may be installed under a generation that was handed out before.
    """
    (lock,) = db.execute(_IS_FREE, {"key": _lock_of(user_id)})
    return not lock.free


# -- requests that come while this process reads the same --------------------------------------------------------

#: What is being read, by account and field.
_reads = memory.Part[dict[tuple[UUID, str], Event]](dict)


def _was_read(what: tuple[UUID, str]) -> bool:
    """Whether another request was reading this, and has. Then look again: it was kept, unless it has changed since."""
    reading = _reads().get(what)
    return reading is not None and reading.wait(AWAIT_SECONDS)


@contextmanager
def _reading(what: tuple[UUID, str]) -> Iterator[None]:
    done = Event()
    is_first = _reads().setdefault(what, done) is done
    try:
        yield
    finally:
        if is_first:
            _reads().pop(what, None)
            done.set()


# -- Redis ---------------------------------------------------------------------------------------------------


_pause = memory.Part(lambda: Pause(BACKOFF_SECONDS))


def _key(user_id: UUID) -> str:
    """The hash of cached facts."""
    return f"auth:{{{user_id}}}"


def _known(user_id: UUID, field: str) -> tuple[Facts | None, str]:
    """What is cached; and the generation under which more may be, if any."""
    entry, generation = _cached(user_id, field)
    return (None if entry is None else _verified(user_id, field, entry)), generation


def _cached(user_id: UUID, field: str) -> tuple[str | None, str]:
    if _pause().active():
        return None, ""
    try:
        value, generation = redis.run("auth_read", [_key(user_id)], [field, crypto.token(12), CACHE_SECONDS])
    except redis.RedisUnreachable:
        _pause().begin()
        return None, ""
    return value, generation


def _install(user_id: UUID, field: str, generation: str, facts: Facts) -> None:
    entry = json.dumps({**facts, "until": clock.now().timestamp() + CACHE_SECONDS})
    signed = crypto.sign("standing", f"{user_id} {field}", entry)
    try:
        redis.run("auth_install", [_key(user_id)], [generation, field, signed])
    except redis.RedisUnreachable:
        _pause().begin()


def _verified(user_id: UUID, field: str, entry: str) -> Facts | None:
    """The facts of an entry that is signed by us, for this credential, and not expired; otherwise None."""
    facts, known = _entries().get((user_id, field)) or (None, None)
    if entry != known:  # the same text need not be read again
        verified = crypto.verified("standing", f"{user_id} {field}", entry)
        facts = None if verified is None else json.loads(verified)
    if facts is not None and clock.now().timestamp() < facts["until"]:
        if entry != known:
            _entries().put((user_id, field), (facts, entry))
        return facts
    _log.warning("authorization cache entry rejected: bad signature or expired", user_id=str(user_id))
    with suppress(redis.RedisUnreachable), redis.reachable():
        redis.client().hdel(_key(user_id), field)
    return None


def _forget(user_id: UUID) -> None:
    with redis.reachable():
        redis.client().delete(_key(user_id))

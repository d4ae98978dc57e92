"""The authorization cache: what PostgreSQL says about a credential, kept in Redis for at most a minute.

Entries are kept per account under a generation (a random nonce). Every transaction that changes an account, a session
or a key runs inside `changing`:

    before the commit   delete the account's entries and set a marker: "a change is in progress"
    during the change   every reader goes to PostgreSQL, and none may write to the cache
    after the commit    delete the entries again and remove the marker

A reader that read before the change holds an old generation, so its write is rejected. After a Redis wipe the state
is *unknown* and PostgreSQL is read; the second delete covers a wipe that removed the marker. A replica that was
promoted may have missed a delete, so entries count only on the run of the server that they were written on. If a
process dies during a change, the marker stays until it expires: reads are slower but never wrong. While Redis is
unreachable, readers use PostgreSQL and changes are refused (503), because a Redis that comes back could still hold
what they undid.

Entries are signed for one credential and expire. An entry with a wrong signature counts as missing, so someone who can
write to Redis cannot make anybody an admin; at most they can restore an entry that was true within the last minute.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from threading import Event
from typing import TypedDict
from uuid import UUID

from common.errors import DependencyUnavailable, PlatformError
from common.identity.key_limits import KnownLimits
from common.kit import clock, crypto, log, memory, redis
from common.kit.cache import Cache
from common.kit.pause import Pause

CACHE_SECONDS = 60
#: Longer than any transaction can last: PostgreSQL ends statements after 15 s and idle transactions after 30 s.
CHANGING_SECONDS = 120
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
def changing(user_id: UUID, *, regardless: bool = False) -> Iterator[None]:
    """Wrap a transaction that changes what callers of this account may do: `with changing(id), transaction() as …`.

    `regardless`: make the change even while Redis is unreachable (for revoking what a thief holds). A Redis that comes
    back may then serve the old state for up to `CACHE_SECONDS`.

    Raises:
        DependencyUnavailable: Redis is unreachable; nothing was changed.
    """
    nonce = crypto.token(12)
    try:
        _begin_change(user_id, nonce)
    except redis.RedisUnreachable as error:
        if not regardless:
            raise DependencyUnavailable from error
        _log.warning("account changed while redis was unreachable", user_id=str(user_id))
    try:
        yield
    except PlatformError:
        _finish_change(user_id, nonce)
        raise
    # After any other exception the commit may have happened: the marker stays until it expires.
    _finish_change(user_id, nonce)


def facts_of(user_id: UUID, field: str, read: Callable[[], Facts]) -> tuple[Facts, bool]:
    """What is known of a credential, and whether `read` was just called. No facts: the credential does not exist."""
    known, generation = _known(user_id, field)
    if known is None and generation and _was_read((user_id, field)):
        known, generation = _known(user_id, field)
    if known is not None:
        return known, False
    with _reading((user_id, field)):
        facts = read()
        if generation:
            _install(user_id, field, generation, facts)
    return facts, True


def remembered(user_id: UUID, field: str) -> tuple[Facts, Remembered] | None:
    """What Redis last told this process of a credential, if that was good until now. It may have changed since."""
    found = _entries().get((user_id, field))
    if found is None or clock.now().timestamp() >= found[0]["until"]:
        return None
    return found[0], Remembered(_keys(user_id)[0], field, found[1])


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


def _keys(user_id: UUID) -> tuple[str, str]:
    """The hash of cached facts, and the set of changes in progress."""
    return f"auth:{{{user_id}}}", f"auth:{{{user_id}}}:changing"


def _known(user_id: UUID, field: str) -> tuple[Facts | None, str]:
    """What is cached; and the generation under which more may be, if any."""
    entry, generation = _cached(user_id, field)
    return (None if entry is None else _verified(user_id, field, entry)), generation


def _cached(user_id: UUID, field: str) -> tuple[str | None, str]:
    if _pause().active():
        return None, ""
    try:
        value, generation = redis.run("auth_read", _keys(user_id), [field, crypto.token(12), CACHE_SECONDS])
    except redis.RedisUnreachable:
        _pause().begin()
        return None, ""
    return value, generation


def _install(user_id: UUID, field: str, generation: str, facts: Facts) -> None:
    text = json.dumps({**facts, "until": clock.now().timestamp() + CACHE_SECONDS})
    signed = crypto.sign("standing", f"{user_id} {field}", text)
    try:
        redis.run("auth_install", _keys(user_id)[:1], [generation, field, signed])
    except redis.RedisUnreachable:
        _pause().begin()


def _verified(user_id: UUID, field: str, entry: str) -> Facts | None:
    """The facts of an entry that is signed by us, for this credential, and not expired; otherwise None."""
    text = crypto.verified("standing", f"{user_id} {field}", entry)
    facts: CachedFacts | None = None if text is None else json.loads(text)
    if facts is not None and clock.now().timestamp() < facts["until"]:
        _entries().put((user_id, field), (facts, entry))
        return facts
    _log.warning("authorization cache entry rejected: bad signature or expired", user_id=str(user_id))
    with suppress(redis.RedisUnreachable), redis.reachable():
        redis.client().hdel(_keys(user_id)[0], field)
    return None


def _begin_change(user_id: UUID, nonce: str) -> None:
    facts, changes = _keys(user_id)
    with redis.reachable(), redis.client().pipeline(transaction=True) as pipe:
        pipe.delete(facts)
        pipe.sadd(changes, nonce)
        pipe.expire(changes, CHANGING_SECONDS)
        pipe.execute()


def _finish_change(user_id: UUID, nonce: str) -> None:
    facts, changes = _keys(user_id)
    try:
        with redis.reachable(), redis.client().pipeline(transaction=True) as pipe:
            pipe.delete(facts)
            pipe.srem(changes, nonce)
            pipe.execute()
    except redis.RedisUnreachable:
        _log.warning("account change marker left to expire", user_id=str(user_id))

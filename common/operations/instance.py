"""One platform, one database, one Redis, one broker: each says whose it is, and whoever finds another says so.

The database has an id in a row (`instance`), and with the cluster that it lives in that makes a name which a restored
dump does not share with its original. In Redis, and in a broker on Redis, the key `instance` has the name of whoever
came first. It is written where it is missing, so a wiped Redis belongs to the platform again within a second.

A process that starts and finds another's name does not work: web answers 503, a worker ends. One that has found its own
before goes on, because then it is the other that came later; it says so until somebody has looked after it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from sqlalchemy import text

from common.kit import clock, db, log, redis
from common.queueing import messages

logger = log.get(__name__)

KEY: Final = "instance"
#: After a server that was away or another's, a process asks again in so long.
ASK_SECONDS: Final = 5.0
#: What is wrong and stays so is said again after so long.
SAY_SECONDS: Final = 60.0

#: Nothing before the migrations have been run, and where they have been and nobody has granted anything yet.
_READABLE = text("select coalesce(has_table_privilege(to_regclass('instance'), 'select'), false) as yes")
_NAME = text("select i.id::text || '@' || c.system_identifier as name from instance i cross join pg_control_system() c")
_RENEW = text("update instance set id = gen_random_uuid(), created_at = now()")


class Foreign(Exception):
    """A server belongs to another platform; the message says which, and what to do."""


@dataclass(slots=True)
class _Memory:
    """What this process has found out."""

    ours: str | None = None
    confirmed: bool = False
    trouble: str | None = None
    ask_at: float = 0.0
    say_at: float = 0.0


_memory = _Memory()


def name() -> str | None:
    """What this database is called; None as long as we cannot read it there. Raises `db.Unreachable`."""
    if not db.execute(_READABLE, {})[0].yes:
        return None
    _memory.ours = str(db.execute(_NAME, {})[0].name)
    return _memory.ours


def check() -> None:
    """Whether the servers are ours; what was nobody's is ours now.

    Raises `Foreign`, `redis.Unreachable`, `db.Unreachable`.
    """
    ours = name()
    if ours is None:
        return
    for what, client in _servers():
        owner = _claim(client, ours)
        if owner != ours:
            _memory.trouble = _told(what, owner, ours)
            raise Foreign(_memory.trouble)
    _memory.trouble, _memory.confirmed = None, True


def shared() -> int:
    """How many servers have the name of another platform. Asks Redis only; 0 while we do not know our own name."""
    ours = _memory.ours
    return sum(_claim(client, ours) != ours for _, client in _servers()) if ours else 0


def _servers() -> Iterator[tuple[str, redis.Client]]:
    """A RabbitMQ has no place for a name."""
    yield "Redis", redis.client()
    if (broker := messages.broker_on_redis()) is not None:
        yield "the broker", broker


def _claim(client: redis.Client, ours: str) -> str:
    with redis.reachable():
        return str(client.set(KEY, ours, nx=True, get=True) or ours)


def _told(what: str, owner: str, ours: str) -> str:
    return (
        f"{what} belongs to another platform ({owner}; this database is {ours}). Give each platform its own, or, if "
        "this database has taken the other's place, run `flask --app wsgi instance take-over`."
    )


def refusal() -> str | None:
    """Why this process must not work; None when it may, also as long as nobody can be asked.

    For every request: once the servers have been found to be ours this is one comparison.
    """
    if _memory.confirmed:
        return None
    with suppress(db.Unreachable, redis.Unreachable):  # whoever needs them will say so
        keep()
    return None if _memory.confirmed else _memory.trouble


def keep() -> None:
    """Write our name where it is missing, and say it (once a minute) when another's is there.

    Raises `redis.Unreachable`, `db.Unreachable`; then, as after another's name, the servers are left alone for a while.
    """
    if clock.monotonic() < _memory.ask_at:
        return
    _memory.ask_at = clock.monotonic() + ASK_SECONDS
    try:
        check()
        _memory.ask_at = 0.0
    except Foreign as foreign:
        _say(foreign)


def _say(foreign: Foreign) -> None:
    if clock.monotonic() >= _memory.say_at:
        _memory.say_at = clock.monotonic() + SAY_SECONDS
        logger.error("two platforms share a server", reason=str(foreign))


def take_over() -> list[str]:
    """Make the servers ours, whoever had them. Returns which they are."""
    forget()
    ours = name()
    if ours is None:
        return []
    with redis.reachable():
        return [what for what, client in _servers() if client.set(KEY, ours)]


def renew() -> str | None:
    """Give this database a new id: it is a copy, and what it was copied from goes on. Returns its name."""
    db.rowcount(_RENEW, {})
    forget()
    return name()


def forget() -> None:
    """Ask again: the servers are others now."""
    _memory.ours, _memory.confirmed, _memory.trouble = None, False, None
    _memory.ask_at = _memory.say_at = 0.0

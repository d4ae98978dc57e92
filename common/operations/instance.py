"""Detect two platforms that share a Redis or a broker: each server records the name of the platform it belongs to.

The name is the id in the table `instance` plus the cluster's system identifier, so a dump restored elsewhere does not
share the name of its original. In Redis, and in a broker on Redis, the key `instance` holds the name of the first
platform that used it. It is written where it is missing, so a wiped Redis is claimed again within a second.

A process that finds another platform's name at start refuses to work: web answers 503, a worker exits. A process that
has found its own name before keeps working, because the other platform came later; it logs an error until it is fixed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Final, NamedTuple

from sqlalchemy import text

from common.kit import db, log, redis
from common.kit.pause import Pause
from common.kit.query import Query
from common.queueing import messages

logger = log.get(__name__)

KEY: Final = "instance"
#: Interval between checks after a server was unavailable or belonged to another platform.
CHECK_SECONDS: Final = 5.0
#: Interval between log messages about a persisting conflict.
LOG_SECONDS: Final = 60.0


class ReadableRow(NamedTuple):
    """Whether the table `instance` can be read: not before the migrations have run, and before `roles grant`."""

    yes: bool


class NameRow(NamedTuple):
    """The name of the platform that this database belongs to."""

    name: str


_READABLE = Query("select coalesce(has_table_privilege(to_regclass('instance'), 'select'), false) as yes", ReadableRow)
NAME: Final = "select i.id::text || '@' || c.system_identifier as name from instance i cross join pg_control_system() c"
_NAME = Query(NAME, NameRow)
_RENEW = text("update instance set id = gen_random_uuid(), created_at = now()")


class Foreign(Exception):
    """A server belongs to another platform; the message names it and says what to do."""


@dataclass(slots=True)
class _InstanceState:
    """The result of this process's checks so far."""

    ours: str | None = None
    confirmed: bool = False
    conflict: str | None = None
    pause: Pause = field(default_factory=partial(Pause, CHECK_SECONDS))
    logged: Pause = field(default_factory=partial(Pause, LOG_SECONDS))


_state = _InstanceState()


def name() -> str | None:
    """This platform's name; None when the table `instance` cannot be read yet. Raises `db.Unreachable`."""
    if not db.execute(_READABLE, {})[0].yes:
        return None
    _state.ours = db.execute(_NAME, {})[0].name
    return _state.ours


def check(known: str | None = None) -> None:
    """Verify that the servers are ours, and claim those without a name. `known`: our name, if it was just read.

    Raises:
        Foreign: a server belongs to another platform.
        redis.RedisUnreachable, db.Unreachable: a server could not be checked.
    """
    ours = known or name()
    if ours is None:
        return
    _state.ours = ours
    for what, client in _servers():
        owner = _claim(client, ours)
        if owner != ours:
            _state.conflict = _conflict(what, owner, ours)
            raise Foreign(_state.conflict)
    _state.conflict, _state.confirmed = None, True


def shared() -> int:
    """The number of servers that belong to another platform. Queries Redis only; 0 while our own name is unknown."""
    ours = _state.ours
    return sum(_claim(client, ours) != ours for _, client in _servers()) if ours else 0


def _servers() -> Iterator[tuple[str, redis.Client]]:
    """Redis, and the broker if it is another Redis: RabbitMQ cannot store a name."""
    yield "Redis", redis.client()
    if messages.broker_is_apart() and (broker := messages.broker_on_redis()) is not None:
        yield "the broker", broker


def _claim(client: redis.Client, ours: str) -> str:
    with redis.reachable():
        return str(client.set(KEY, ours, nx=True, get=True) or ours)


def _conflict(what: str, owner: str, ours: str) -> str:
    return (
        f"{what} belongs to another platform ({owner}; this database is {ours}). Give each platform its own, or, if "
        "this database replaces the other one, run `flask --app wsgi instance take-over`."
    )


def refusal() -> str | None:
    """Why this process must not work; None when it may, or when the servers cannot be checked.

    Called for every request: a single comparison once the servers have been confirmed as ours.
    """
    if _state.confirmed:
        return None
    with suppress(db.Unreachable, redis.RedisUnreachable):  # reported by the request that needs the server
        keep()
    return None if _state.confirmed else _state.conflict


def keep(known: str | None = None) -> None:
    """Write our name where it is missing; log an error, at most once a minute, when another platform's is there.

    `known`: our name, if it was just read.

    After a conflict or an error, further calls do nothing for `CHECK_SECONDS`.

    Raises:
        redis.RedisUnreachable, db.Unreachable: a server could not be checked.
    """
    if _state.pause.active():
        return
    _state.pause.begin()
    try:
        check(known)
        _state.pause.end()
    except Foreign as foreign:
        _log_conflict(foreign)


def _log_conflict(foreign: Foreign) -> None:
    if not _state.logged.active():
        _state.logged.begin()
        logger.error("two platforms share a server", reason=str(foreign))


def take_over() -> list[str]:
    """Claim the servers for this platform, whoever owned them. Returns the servers claimed."""
    forget()
    ours = name()
    if ours is None:
        return []
    with redis.reachable():
        return [what for what, client in _servers() if client.set(KEY, ours)]


def renew() -> str | None:
    """Give this database a new id, for a copy whose original stays in use. Returns the new name."""
    db.rowcount(_RENEW, {})
    forget()
    return name()


def forget() -> None:
    """Discard the results of earlier checks, after a change of servers."""
    _state.ours, _state.confirmed, _state.conflict = None, False, None
    _state.pause.end()
    _state.logged.end()

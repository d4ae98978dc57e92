"""The SQLAlchemy engine of this process: connection settings, timeouts and the pool."""

from __future__ import annotations

import ctypes
import errno
import re
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import URL, Engine, create_engine, event, exc, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

from common.kit import metrics
from common.kit.db import connection as connections
from common.kit.db import errors
from common.kit.db.connection import TimedConnection
from common.kit.db.planning import PLANNING, as_options
from common.kit.pause import Pause

CONNECT_TIMEOUT = 3
POOL_TIMEOUT = 3
STATEMENT_TIMEOUT_MS = 15_000
LOCK_TIMEOUT_MS = 5_000
IDLE_IN_TRANSACTION_MS = 30_000
#: How long a replica is skipped after it failed, and after it was behind.
FAILED_SECONDS, BEHIND_SECONDS = 5.0, 0.5
#: A replica can be done without. (The shortest that the driver knows.)
REPLICA_CONNECT_TIMEOUT = 2
TCP_USER_TIMEOUT_MS = 10_000
#: With such a pooler: it takes no `options`, and a prepared statement would be in another session next time.
SHARED: Final = {"options": "", "prepare_threshold": None}
_SETTINGS: Final = text("select lower(name), setting from pg_settings where lower(name) = any(:names)")
CAPACITY = metrics.live_gauge("joyfull_db_pool_connections", "Maximum number of pooled database connections")
IN_USE = metrics.live_gauge("joyfull_db_pool_connections_in_use", "Pooled database connections in use")
_COUNTED = "joyfull.in_use"
_DIALECT = re.compile(r"^(postgres(?:ql)?)\+\w+://")


@dataclass(frozen=True, slots=True)
class Replica:
    """The read replica of this process, on connections of its own; `failed` and `behind`: while it is skipped."""

    engine: Engine
    failed: Pause = field(default_factory=lambda: Pause(FAILED_SECONDS))
    behind: Pause = field(default_factory=lambda: Pause(BEHIND_SECONDS))

    def skipped(self) -> bool:
        return self.failed.active() or self.behind.active()


class _PoolState:
    engine: Engine | None = None
    replica: Replica | None = None
    url: str | None = None
    shared: bool = False
    planning: Mapping[str, str] = PLANNING


class _Private(threading.local):
    engine: Engine | None = None


_private = _Private()


def connect(
    url: str,
    *,
    pool_size: int,
    application_name: str,
    shared: bool = False,
    replica_url: str | None = None,
    planning: Mapping[str, str] = PLANNING,
) -> Engine:
    """Create this process's engine. `pool_size` is also the limit: there are no overflow connections.

    `shared`: the URL is that of a pooler which gives a server connection for one transaction at a time (of the replica
    too). `replica_url`: a read replica of this database. `planning`: `PLANNING` or `IN_ORDER`.
    """
    dispose()
    _PoolState.planning = planning
    more = SHARED if shared else {}
    engine = make_engine(url, pool_size=pool_size, application_name=application_name, **more)
    _PoolState.engine, _PoolState.url, _PoolState.shared = engine, url, shared
    if replica_url:
        waits = {"connect_timeout": REPLICA_CONNECT_TIMEOUT}
        there = make_engine(replica_url, pool_size=pool_size, application_name=application_name, **more, **waits)
        _PoolState.replica = Replica(there)
    CAPACITY.set(pool_size)
    IN_USE.set(0)
    event.listen(engine, "checkout", _count_checkout)
    event.listen(engine, "checkin", _count_checkin)
    return engine


def _count_checkout(_connection: DBAPIConnection, record: ConnectionPoolEntry, _proxy: object) -> None:
    _info(record)[_COUNTED] = True
    IN_USE.inc()


def _count_checkin(_connection: DBAPIConnection | None, record: ConnectionPoolEntry) -> None:
    """A dead connection that cannot be replaced is checked in without ever having been checked out."""
    if _info(record).pop(_COUNTED, False):
        IN_USE.dec()


def _info(record: ConnectionPoolEntry) -> dict[str, object]:
    """Data kept with a pool entry, which outlives the connection in it."""
    return record.record_info if record.record_info is not None else {}


def make_engine(url: str, *, pool_size: int, application_name: str, **connect_args: object) -> Engine:
    """An engine with every wait bounded; for `connect`, migrations and tests."""
    engine = create_engine(
        driver_url(url),
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=POOL_TIMEOUT,
        pool_use_lifo=True,
        # What `execute` needs; a transaction sets its own isolation level (below) and resets it.
        isolation_level="AUTOCOMMIT",
        skip_autocommit_rollback=True,
        hide_parameters=True,
        connect_args={
            "connect_timeout": CONNECT_TIMEOUT,
            "application_name": application_name,
            "options": as_options({**limits(), **_PoolState.planning}),
            "tcp_user_timeout": TCP_USER_TIMEOUT_MS,
            "keepalives_idle": 10,
            "keepalives_interval": 3,
            "keepalives_count": 3,
            "prepare_threshold": 2,
            **connect_args,
        },
    )
    event.listen(engine, "do_connect", lambda _dialect, _record, args, kwargs: TimedConnection.connect(*args, **kwargs))
    event.listen(engine, "checkout", _reject_closed)
    event.listen(engine, "checkin", _restore_timeout)
    return engine.execution_options(isolation_level="READ COMMITTED")


def driver_url(url: str) -> URL:
    """A URL as libpq reads it: it may name several hosts, each with a port, as SQLAlchemy's own may not."""
    parts = {name: str(value) for name, value in conninfo_to_dict(_DIALECT.sub(r"\1://", url)).items()}
    user, password, database = (parts.pop(name, None) for name in ("user", "password", "dbname"))
    return URL.create("postgresql+psycopg", user, password, database=database, query=parts)


def limits(lock_timeout_ms: int | None = None) -> dict[str, str]:
    """What each session of a serving process has set. A pooler that shares its sessions sets them itself."""
    return {
        "statement_timeout": str(STATEMENT_TIMEOUT_MS),
        "lock_timeout": str(lock_timeout_ms or LOCK_TIMEOUT_MS),
        "idle_in_transaction_session_timeout": str(IDLE_IN_TRANSACTION_MS),
        "timezone": "UTC",
        "jit": "off",
    }


def missing_limits() -> list[str]:
    """Which of the `limits` the server's session of one connection does not have, and the replica's if it answers.

    Raises `Unreachable`.
    """
    missing = _missing(engine())
    if (other := replica()) is not None:
        with suppress(errors.Unreachable):
            missing += [f"{each} (replica)" for each in _missing(other.engine)]
    return missing


def _missing(there: Engine) -> list[str]:
    with errors.translated(), there.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")  # a replica begins no transaction that may write
        found = connection.execute(_SETTINGS, {"names": [*limits()]}).all()
    wanted = {f"{name} = {limit}" for name, limit in limits().items()}
    return sorted(wanted - {f"{name} = {have}" for name, have in found})


def _reject_closed(connection: DBAPIConnection, _record: ConnectionPoolEntry, _proxy: object) -> None:
    """Reject a pooled connection that the server has closed, without a round trip: its socket is readable."""
    fd = connection.pgconn.socket
    if fd >= 0 and not _nothing_to_read(fd):
        raise exc.DisconnectionError("the server closed this connection while it was idle")


def _restore_timeout(connection: object, _record: ConnectionPoolEntry) -> None:
    if isinstance(connection, TimedConnection):
        connection.answer_timeout = connections.ANSWER_TIMEOUT


def _nothing_to_read(fd: int) -> bool:
    """Whether a socket has neither data nor EOF pending. (libc's `recv`: gevent's `poll` costs a loop iteration.)"""
    received = int(_libc.recv(fd, _buffer, 1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
    return received < 0 and ctypes.get_errno() in _WOULD_BLOCK


_libc = ctypes.CDLL(None, use_errno=True)
_buffer = ctypes.create_string_buffer(1)
_WOULD_BLOCK = (errno.EAGAIN, errno.EWOULDBLOCK)


def engine() -> Engine:
    """The engine of this thread (inside `private`) or of this process. Raises `RuntimeError` before `connect`."""
    if _private.engine is not None:
        return _private.engine
    if _PoolState.engine is None:
        raise RuntimeError("common.boot.connect(settings) has not been called in this process")
    return _PoolState.engine


def replica() -> Replica | None:
    """The read replica of this process, if it has one."""
    return _PoolState.replica


@contextmanager
def private(application_name: str, lock_timeout_ms: int | None = None) -> Iterator[None]:
    """Use two separate connections instead of the pool, in this thread and inside the block.

    For work that must not wait for a free pooled connection: heartbeats, readiness checks, gauges. `lock_timeout_ms`:
    for how long one of its statements waits for a lock, if not as long as others.
    """
    if _PoolState.url is None:
        raise RuntimeError("common.boot.connect(settings) has not been called in this process")
    before = _private.engine
    more = SHARED if _PoolState.shared else {"options": as_options({**limits(lock_timeout_ms), **_PoolState.planning})}
    _private.engine = mine = make_engine(_PoolState.url, pool_size=2, application_name=application_name, **more)
    try:
        yield
    finally:
        _private.engine = before
        mine.dispose()


def dispose() -> None:
    """Close every pooled connection. Fork before connecting: two processes must not share a connection."""
    if _PoolState.engine is not None:
        _PoolState.engine.dispose()
        _PoolState.engine = None
    if _PoolState.replica is not None:
        _PoolState.replica.engine.dispose()
        _PoolState.replica = None

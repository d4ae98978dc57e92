"""PostgreSQL: one engine per process, and the only two ways into it.

`with transaction() as session:` commits at the end of the block or rolls back; `with snapshot() as session:`
reads without writing. What the network does to either is told apart in three exceptions, because the answer
differs: nothing was done (`Unreachable`), try again (`Busy`), or *nobody knows* (`CommitUnknown`).
"""

from __future__ import annotations

import ctypes
import errno
import re
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, TypeVar, cast, overload

import psycopg
from psycopg.rows import namedtuple_row
from sqlalchemy import Engine, Row, TextClause, create_engine, event, exc, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry

from common.kit import metrics, patience
from common.kit.patience import Patient
from common.kit.query import Query

R = TypeVar("R")

CONNECT_TIMEOUT = 3
POOL_TIMEOUT = 3
STATEMENT_TIMEOUT_MS = 15_000
LOCK_TIMEOUT_MS = 5_000
IDLE_IN_TRANSACTION_MS = 30_000
TCP_USER_TIMEOUT_MS = 10_000
#: SQLSTATE classes that mean "the server or the way to it is in trouble", not "the statement is wrong".
_DOWN = ("08", "53", "57P", "58", "25006")
_BUSY = ("40001", "40P01", "55P03", "57014")
CAPACITY = metrics.level("joyfull_db_pool_connections", "Connections that the pools of all processes may open")
IN_USE = metrics.level("joyfull_db_pool_connections_in_use", "Pooled connections that somebody holds")
_COUNTED = "joyfull.in_use"
FAILURES = metrics.Counter("joyfull_db_failures", "Database work that was not done, or nobody knows whether", ["kind"])


class Unreachable(Exception):
    """PostgreSQL cannot be reached or refuses work; nothing was committed."""


class Busy(Unreachable):
    """A lock, a deadlock or a time limit stood in the way; nothing was committed, trying again may help."""


class CommitUnknown(Unreachable):
    """The connection died during COMMIT: it may have happened. Read again by id before doing anything."""


class _State:
    engine: Engine | None = None
    url: str | None = None


class _Private(threading.local):
    engine: Engine | None = None


_private = _Private()


def connect(url: str, *, pool_size: int, application_name: str) -> Engine:
    """Make this process's engine. `pool_size` is also the limit: no overflow connections."""
    dispose()
    engine = make_engine(url, pool_size=pool_size, application_name=application_name)
    _State.engine, _State.url = engine, url
    CAPACITY.set(pool_size)
    IN_USE.set(0)
    event.listen(engine, "checkout", _count_out)
    event.listen(engine, "checkin", _count_in)
    return engine


def _count_out(_connection: DBAPIConnection, record: ConnectionPoolEntry, _proxy: Any) -> None:
    _notes(record)[_COUNTED] = True
    IN_USE.inc()


def _count_in(_connection: DBAPIConnection | None, record: ConnectionPoolEntry) -> None:
    """A connection that was found dead comes back without ever having been out, when there is no other."""
    if _notes(record).pop(_COUNTED, False):
        IN_USE.dec()


def _notes(record: ConnectionPoolEntry) -> dict[Any, Any]:
    """What is kept with a place in the pool, whichever connection is in it."""
    return record.record_info if record.record_info is not None else {}


def make_engine(url: str, *, pool_size: int, application_name: str, **connect_args: Any) -> Engine:
    """An engine with every wait bounded; for `connect`, migrations and tests."""
    driver_url = url.replace("postgres://", "postgresql://", 1).replace("postgresql://", "postgresql+psycopg://", 1)
    limits = {
        "statement_timeout": STATEMENT_TIMEOUT_MS,
        "lock_timeout": LOCK_TIMEOUT_MS,
        "idle_in_transaction_session_timeout": IDLE_IN_TRANSACTION_MS,
        "timezone": "UTC",
        "jit": "off",
    }
    engine = create_engine(
        driver_url,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=POOL_TIMEOUT,
        pool_use_lifo=True,
        # As `execute` needs them; a transaction asks for its own isolation (below) and gives it back.
        isolation_level="AUTOCOMMIT",
        skip_autocommit_rollback=True,
        hide_parameters=True,
        connect_args={
            "connect_timeout": CONNECT_TIMEOUT,
            "application_name": application_name,
            "options": " ".join(f"-c {name}={value}" for name, value in limits.items()),
            "tcp_user_timeout": TCP_USER_TIMEOUT_MS,
            "keepalives_idle": 10,
            "keepalives_interval": 3,
            "keepalives_count": 3,
            "prepare_threshold": 2,
            **connect_args,
        },
    )
    event.listen(engine, "do_connect", lambda _dialect, _record, words, options: Patient.connect(*words, **options))
    event.listen(engine, "checkout", _drop_dead)
    event.listen(engine, "checkin", _hurry_again)
    return engine.execution_options(isolation_level="READ COMMITTED")


def _drop_dead(connection: DBAPIConnection, _record: ConnectionPoolEntry, _proxy: Any) -> None:
    """Refuse a pooled connection that the server has closed, without a round trip: there is something to read."""
    fd = connection.pgconn.socket
    if fd >= 0 and not _silent(fd):
        raise exc.DisconnectionError("the server closed this connection while it was idle")


def unhurried(session: Session) -> None:
    """For this transaction: no time limit for a statement, neither the server's nor ours."""
    session.execute(text("set local statement_timeout = 0"))
    driver: Any = session.connection().connection.driver_connection
    driver.patience = None


def _hurry_again(connection: Any, _record: ConnectionPoolEntry) -> None:
    if isinstance(connection, Patient):
        connection.patience = patience.SECONDS


def _silent(fd: int) -> bool:
    """Whether a socket has nothing to read, not even its end. (By libc, because gevent's `poll` costs a loop turn.)"""
    return int(_libc.recv(fd, _peeked, 1, socket.MSG_PEEK | socket.MSG_DONTWAIT)) < 0 and ctypes.get_errno() in _NOTHING


_libc = ctypes.CDLL(None, use_errno=True)
_peeked = ctypes.create_string_buffer(1)
_NOTHING = (errno.EAGAIN, errno.EWOULDBLOCK)


def engine() -> Engine:
    """This process's engine; `connect` has been called at start."""
    if _private.engine is not None:
        return _private.engine
    if _State.engine is None:
        raise RuntimeError("common.boot.connect(settings) has not been called in this process")
    return _State.engine


@contextmanager
def private(application_name: str) -> Iterator[None]:
    """In this thread, inside the block: two connections of our own instead of the pool (for who must not wait)."""
    if _State.url is None:
        raise RuntimeError("common.boot.connect(settings) has not been called in this process")
    _private.engine = make_engine(_State.url, pool_size=2, application_name=application_name)
    try:
        yield
    finally:
        _private.engine.dispose()
        _private.engine = None


@contextmanager
def only_one(key: int) -> Iterator[bool]:
    """Whether this process is the one to do it: an advisory lock for the block, gone with the connection."""
    with _translated():
        connection = engine().connect().execution_options(isolation_level="AUTOCOMMIT")
    with connection, _translated():
        chosen = bool(connection.execute(text("select pg_try_advisory_lock(:key)"), {"key": key}).scalar())
        try:
            yield chosen
        finally:
            if chosen:
                connection.execute(text("select pg_advisory_unlock(:key)"), {"key": key})


def dispose() -> None:
    """Close every pooled connection. Fork before connecting: a connection must not be shared by two processes."""
    if _State.engine is not None:
        _State.engine.dispose()
        _State.engine = None


@contextmanager
def transaction() -> Iterator[Session]:
    """One transaction: commits when the block ends, rolls back when it raises. Nothing slow belongs inside."""
    session = Session(engine(), expire_on_commit=False, autoflush=False)
    try:
        with _translated():
            yield session
            session.flush()
        _commit(session)
    finally:
        _close(session)


@overload
def execute(statement: Query[R], parameters: Mapping[str, Any]) -> list[R]: ...
@overload
def execute(statement: TextClause, parameters: Mapping[str, Any]) -> list[Row[Any]]: ...
def execute(statement: Query[R] | TextClause, parameters: Mapping[str, Any]) -> list[R] | list[Row[Any]]:
    """Run one statement that is its own transaction: one round trip, committed when this returns.

    This is the way of the hot statements, so it goes past most of SQLAlchemy: its pool, then the driver. The rows are
    named tuples: those that a `Query` declares, or for a text those of its columns.

    Raises:
        Unreachable: no connection could be had; nothing was sent.
        Busy: refused by the server; nothing was committed.
        CommitUnknown: the connection died after the statement was sent.
    """
    with _executed(statement, parameters) as cursor:
        return cursor.fetchall() if cursor.pgresult and cursor.pgresult.nfields else []


def rowcount(statement: TextClause, parameters: Mapping[str, Any]) -> int:
    """As `execute`, for a statement that returns no rows: how many it changed."""
    with _executed(statement, parameters) as cursor:
        return cursor.rowcount


@contextmanager
def _executed(statement: Query[Any] | TextClause, parameters: Mapping[str, Any]) -> Iterator[psycopg.RawCursor[Any]]:
    query, names = _positional(statement)
    rows = _row_factory(statement) if isinstance(statement, Query) else namedtuple_row
    with _translated():
        pooled = engine().raw_connection()
    driver: Any = pooled.driver_connection
    try:
        cursor = psycopg.RawCursor(driver, row_factory=rows)
        yield cursor.execute(query, [parameters[name] for name in names])
    except psycopg.Error as error:
        wrapped = _wrapped(error)
        if driver.closed:
            pooled.invalidate()
        if driver.closed or (error.sqlstate is None and isinstance(error, psycopg.OperationalError)):
            raise _counted(CommitUnknown(str(error))) from error
        raise _translate(wrapped) from error
    finally:
        pooled.close()


def _row_factory(query: Query[R]) -> Callable[[psycopg.Cursor[Any]], Callable[[Sequence[Any]], R]]:
    def factory(cursor: psycopg.Cursor[Any]) -> Callable[[Sequence[Any]], R]:
        if not query.is_checked:
            query.check([column.name for column in cursor.description or ()])
        return query.make

    return factory


def _wrapped(error: psycopg.Error) -> exc.DBAPIError:
    """An error of the driver as SQLAlchemy would have raised it."""
    return cast("exc.DBAPIError", exc.DBAPIError.instance(None, None, error, psycopg.Error, hide_parameters=True))


_PARAMETER = re.compile(r"(?<![:\w\\]):(\w+)(?![:\w])")


@lru_cache(maxsize=1_000)
def _positional(statement: Query[Any] | TextClause) -> tuple[bytes, tuple[str, ...]]:
    """A statement as the server takes it ($1, $2, …), and the names of its parameters in that order.

    The same bytes every time: the driver neither parses nor hashes them again, and knows them as prepared.
    """
    numbers: dict[str, int] = {}
    query = _PARAMETER.sub(lambda found: f"${numbers.setdefault(found[1], len(numbers) + 1)}", statement.text)
    return query.replace("\\:", ":").encode(), tuple(numbers)


@contextmanager
def read_only() -> Iterator[Session]:
    """To read with one statement: no transaction around it, so one round trip instead of three."""
    session = Session(engine().execution_options(isolation_level="AUTOCOMMIT"), expire_on_commit=False, autoflush=False)
    try:
        with _translated():
            yield session
    finally:
        _close(session)


@contextmanager
def snapshot() -> Iterator[Session]:
    """A read-only REPEATABLE READ transaction: every statement in the block sees one moment."""
    session = Session(engine(), expire_on_commit=False, autoflush=False)
    try:
        with _translated():
            session.connection(execution_options={"isolation_level": "REPEATABLE READ", "postgresql_readonly": True})
            yield session
    finally:
        _close(session)


def _commit(session: Session) -> None:
    try:
        session.commit()
    except exc.DBAPIError as error:
        if error.connection_invalidated or not _sqlstate(error):
            raise _counted(CommitUnknown(str(error.orig))) from error
        raise _translate(error) from error


def _close(session: Session) -> None:
    """Give the connection back; one that died on the way is thrown away, whatever it says."""
    try:
        session.close()
    except exc.DBAPIError:
        session.invalidate()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except exc.DBAPIError as error:
        raise _translate(error) from error
    except psycopg.Error as error:  # a new connection of `execute` could not be made
        raise _translate(_wrapped(error)) from error
    except exc.TimeoutError as error:
        raise _counted(Unreachable("no free database connection")) from error


def _translate(error: exc.DBAPIError) -> Exception:
    state = _sqlstate(error)
    if state.startswith(_BUSY):
        return _counted(Busy(state))
    if (
        error.connection_invalidated
        or state.startswith(_DOWN)
        or (not state and isinstance(error, exc.OperationalError))
    ):
        return _counted(Unreachable(state or type(error.orig).__name__))
    return error


def _counted(trouble: Unreachable) -> Unreachable:
    FAILURES.labels(type(trouble).__name__).inc()
    return trouble


def _sqlstate(error: exc.DBAPIError) -> str:
    return getattr(error.orig, "sqlstate", None) or ""


def violated(error: exc.IntegrityError) -> str | None:
    """The name of the constraint that an IntegrityError ran into: the only thing worth branching on."""
    diagnostics = getattr(error.orig, "diag", None)
    return getattr(diagnostics, "constraint_name", None)

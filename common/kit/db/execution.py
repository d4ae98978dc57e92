"""Run statements: transactions, snapshots, single statements in one round trip, and advisory locks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import Final, TypeVar, cast

import psycopg
from psycopg.rows import RowFactory, RowMaker, tuple_row
from sqlalchemy import TextClause, exc, text
from sqlalchemy.orm import Session

from common.kit.db.errors import CommitUnknown, counted, sqlstate, translate, translated, wrapped
from common.kit.db.pool import engine
from common.kit.pieces import let_others_run
from common.kit.query import Query

R = TypeVar("R")
#: Rows that are read at once: a few milliseconds where they have arrays.
PIECE: Final = 200


@contextmanager
def transaction() -> Iterator[Session]:
    """One transaction: commits at the end of the block, rolls back when it raises. Do nothing slow inside.

    Raises:
        Unreachable, Busy: nothing was committed.
        CommitUnknown: the connection was lost during COMMIT.
    """
    session = Session(engine(), expire_on_commit=False, autoflush=False)
    try:
        with translated():
            yield session
            session.flush()
        _commit(session)
    finally:
        _close(session)


@contextmanager
def read_only() -> Iterator[Session]:
    """Read with a single statement outside any transaction: one round trip instead of three."""
    session = Session(engine(), expire_on_commit=False, autoflush=False)
    try:
        with translated():
            session.connection(execution_options={"isolation_level": "AUTOCOMMIT"})
            yield session
    finally:
        _close(session)


@contextmanager
def snapshot() -> Iterator[Session]:
    """A read-only REPEATABLE READ transaction: all statements in the block see the same snapshot."""
    session = Session(engine(), expire_on_commit=False, autoflush=False)
    try:
        with translated():
            session.connection(execution_options={"isolation_level": "REPEATABLE READ", "postgresql_readonly": True})
            yield session
        end_reading(session)
    finally:
        _close(session)


def end_reading(session: Session) -> None:
    """End a transaction that has only read: after ROLLBACK the driver deallocates all that the session has prepared,
    and every other statement of this process would have to be prepared and planned again. All has been read by now.
    """
    with suppress(exc.DBAPIError):
        session.commit()


def _commit(session: Session) -> None:
    try:
        session.commit()
    except exc.DBAPIError as error:
        if error.connection_invalidated or not sqlstate(error):
            raise counted(CommitUnknown(str(error.orig))) from error
        raise translate(error) from error


def _close(session: Session) -> None:
    """Return the connection to the pool; discard it when it is broken."""
    try:
        session.close()
    except exc.DBAPIError:
        session.invalidate()


@contextmanager
def advisory_lock(key: int) -> Iterator[bool]:
    """Try to take an advisory lock for the block; yields whether it was acquired, and never waits.

    The server releases it when the connection is lost. A transaction holds it, with nothing else in it (so that nothing
    that is written meanwhile is kept from vacuum): a session may belong to a pooler, and be somebody else's the next
    moment.
    """
    with translated():
        connection = engine().connect()
    with connection, translated(), connection.begin():
        connection.execute(text("set local idle_in_transaction_session_timeout = 0"))
        yield bool(connection.execute(text("select pg_try_advisory_xact_lock(:key)"), {"key": key}).scalar())


# -- single statements -----------------------------------------------------------------------------------------


def fetch(session: Session, query: Query[R], parameters: Mapping[str, object] | None = None) -> list[R]:
    """The rows of a query inside your transaction, of the type that it declares. Others run between many."""
    result = session.execute(_clause(query.text), parameters)
    if not query.is_checked:
        query.check(list(result.keys()))
    rows = list[R]()
    for row in result:
        rows.append(query.make(row))
        if not len(rows) % PIECE:
            let_others_run()
    return rows


@lru_cache(maxsize=1_000)
def _clause(statement: str) -> TextClause:
    return text(statement)


def execute(query: Query[R], parameters: Mapping[str, object]) -> list[R]:
    """Run one statement as its own transaction: one round trip, committed when this returns.

    For hot statements: it uses SQLAlchemy's pool but otherwise calls the driver directly.

    Raises:
        Unreachable: no connection was available; nothing was sent.
        Busy: refused by the server; nothing was committed.
        CommitUnknown: the connection was lost after the statement was sent.
    """
    with _executed(query.text, parameters, _row_factory(query)) as cursor:
        return _rows(cursor)


def run(driver: psycopg.Connection[object], query: Query[R], parameters: Mapping[str, object]) -> list[R]:
    """The same on a connection of the driver. Raises psycopg's errors."""
    return _rows(_send(driver, query.text, parameters, _row_factory(query)))


def rowcount(statement: TextClause, parameters: Mapping[str, object]) -> int:
    """Like `execute`, for a statement that returns no rows: the number of rows it changed."""
    with _executed(statement.text, parameters, tuple_row) as cursor:
        return cursor.rowcount


@contextmanager
def _executed(statement: str, parameters: Mapping[str, object], rows: RowFactory[R]) -> Iterator[psycopg.RawCursor[R]]:
    with translated():
        pooled = engine().raw_connection()
    driver = cast("psycopg.Connection[object]", pooled.driver_connection)
    try:
        yield _send(driver, statement, parameters, rows)
    except psycopg.Error as error:
        wrapped_error = wrapped(error)
        if driver.closed:
            pooled.invalidate()
        if driver.closed or (error.sqlstate is None and isinstance(error, psycopg.OperationalError)):
            raise counted(CommitUnknown(str(error))) from error
        raise translate(wrapped_error) from error
    finally:
        pooled.close()


def _send(
    driver: psycopg.Connection[object], statement: str, parameters: Mapping[str, object], rows: RowFactory[R]
) -> psycopg.RawCursor[R]:
    query, names = _positional(statement)
    return psycopg.RawCursor(driver, row_factory=rows).execute(query, [parameters[name] for name in names])


def _rows(cursor: psycopg.RawCursor[R]) -> list[R]:
    return cursor.fetchall() if cursor.pgresult and cursor.pgresult.nfields else []


def _row_factory(query: Query[R]) -> RowFactory[R]:
    def factory(cursor: psycopg.Cursor[object]) -> RowMaker[R]:
        if not query.is_checked:
            query.check([column.name for column in cursor.description or ()])
        return query.make

    return factory


_PARAMETER = re.compile(r"(?<![:\w\\]):(\w+)(?![:\w])")


@lru_cache(maxsize=1_000)
def _positional(statement: str) -> tuple[bytes, tuple[str, ...]]:
    """The statement with positional parameters ($1, $2, …), and the names of its parameters in that order.

    Returns the same bytes each time, so that the driver neither parses nor hashes them again and reuses its prepared
    statement.
    """
    numbers: dict[str, int] = {}
    query = _PARAMETER.sub(lambda found: f"${numbers.setdefault(found[1], len(numbers) + 1)}", statement)
    return query.replace("\\:", ":").encode(), tuple(numbers)

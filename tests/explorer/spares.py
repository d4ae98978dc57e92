"""Connections that break without their server's process ending: to start one and fill its caches takes 10 ms.

For the client a connection is gone at once and for good. Its server's process rolls back, forgets its locks, and serves
the next connection that is opened, under the statements that it has prepared.
"""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.pq import PGconn, TransactionStatus
from sqlalchemy import event

from common.kit.db.connection import TimedConnection

_FREE = {TransactionStatus.IDLE, TransactionStatus.INTRANS, TransactionStatus.INERROR}
#: More are not kept: a long exploration breaks more connections than it opens, and the server has 300.
MOST = 50
_spares: list[tuple[Any, Any]] = []


def take_over_from(engine: Any) -> None:
    """Have this engine open its connections on server processes that are spare."""
    event.listen(engine, "do_connect", _connect, insert=True)
    event.listen(engine, "checkin", _weed_out)


def _connect(*_: Any) -> psycopg.Connection[Any] | None:
    while _spares:
        pgconn, prepared = _spares.pop()
        if pgconn.transaction_status == TransactionStatus.IDLE:
            connection = TimedConnection(pgconn)
            connection._prepared = prepared
            return connection
    return None


def _weed_out(connection: Any, entry: Any) -> None:
    """What a dead process has had does not come into the pool, which is the other's too."""
    if connection is not None and getattr(connection, "of_the_dead", False):
        entry.invalidate()


def end(connection: Any, *, dead: bool = False) -> None:
    """The connection is gone; whoever has it learns so from its next call. `dead`: the client's process is, too."""
    connection.of_the_dead = dead
    if connection.pgconn.transaction_status in _FREE:
        leave(take(connection))
    else:
        connection.pgconn.finish()


def take(connection: Any) -> tuple[Any, Any]:
    """What a connection had on the server, with its open transaction. The connection itself is gone."""
    session = connection.pgconn, connection._prepared
    connection.pgconn = PGconn.connect(b"host=/nowhere")
    return session


def leave(session: tuple[Any, Any], last: bytes = b"rollback") -> None:
    """End its transaction, and have it serve another connection."""
    session[0].exec_(last + b"; select pg_advisory_unlock_all(); reset all")
    if len(_spares) < MOST:
        _spares.append(session)
    else:
        session[0].finish()


def forget() -> None:
    """Close what is spare."""
    while _spares:
        _spares.pop()[0].finish()

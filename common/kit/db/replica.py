"""Reads that a read replica may answer: it sees all that was committed before they began, or the primary answers them.

Each asks the primary up to where its WAL is flushed, and the replica whether it has replayed that. A commit is flushed
before anybody can know of it, so nobody is shown an older state than they know of, whichever process told them. Nor a
newer one than the primary shows: with synchronous standbys, a commit that waits for one is on the replica already. If
the primary does not answer, the read fails, as it does without a replica. (docs/decisions/read-replicas.md)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, TypeVar, cast

from sqlalchemy import Connection
from sqlalchemy.orm import Session

from common.kit import clock, metrics
from common.kit.db import connection as connections
from common.kit.db import pool
from common.kit.db.connection import TimedConnection
from common.kit.db.errors import Busy, Unreachable, translated
from common.kit.db.execution import end_reading, execute, run, snapshot
from common.kit.db.positions import AHEAD, POSITION, SNAPSHOT, STATE, UNSHOWN, Position, ReplicaState
from common.kit.query import Query

T = TypeVar("T")
R = TypeVar("R")

#: How long a read waits for the replica, and how often it asks meanwhile.
WAIT_SECONDS, STEP_SECONDS = 0.02, 0.002
#: How long the replica may take to say how far it is.
ANSWER_SECONDS: Final = 1.0
READS = metrics.Counter(
    "joyfull_db_replica_reads", "Reads that a replica may answer: by it, or why by the primary", ["outcome"]
)


class UnusableReplica(Exception):
    """Why the replica does not answer. `outcome`: in one word, as in the metric."""

    def __init__(self, outcome: str, why: str) -> None:
        self.outcome = outcome
        super().__init__(why)


def read_anywhere(work: Callable[[Session], T]) -> T:
    """`work` in a read-only REPEATABLE READ transaction that sees all that was committed before.

    That of a replica, or of the primary; if a replica fails, `work` is done again there.
    """
    return _anywhere(lambda connection: _in_snapshot(connection, work), lambda: _on_primary(work))


def fetch_anywhere(query: Query[R], parameters: Mapping[str, object]) -> list[R]:
    """As `execute`, for a statement that only reads: of a replica that has all that was committed before, if it can."""
    return _anywhere(lambda connection: run(_driver(connection), query, parameters), lambda: execute(query, parameters))


def has_replica() -> bool:
    """Whether this process has one."""
    return pool.replica() is not None


def replica_state() -> ReplicaState:
    """How far the replica is, however far. Raises `UnusableReplica`, or `Unreachable` if the primary is."""
    replica, position = pool.replica(), _position()
    if replica is None:
        raise UnusableReplica("none", "There is none.")
    try:
        with _connected(replica) as connection:
            return _state(connection, position)
    except Unreachable as error:
        raise UnusableReplica("unreachable", f"It cannot be reached ({error}).") from error


def _anywhere(there: Callable[[Connection], T], here: Callable[[], T]) -> T:
    replica = pool.replica()
    if replica is None:
        return here()
    outcome = "failed"
    try:
        with _caught_up(replica) as connection:
            outcome = "replica"
            return there(connection)
    except UnusableReplica as reason:
        outcome = reason.outcome
    finally:
        READS.labels(outcome).inc()
    _skip(replica, outcome)
    return here()


def _skip(replica: pool.Replica, outcome: str) -> None:
    """After what concerns not this one read alone."""
    if outcome in {"behind", "ahead"}:
        replica.behind.begin()
    elif outcome not in {"skipped", "canceled"}:
        replica.failed.begin()


@contextmanager
def _caught_up(replica: pool.Replica) -> Iterator[Connection]:
    """A connection to the replica, once it has all that is committed now. Raises `UnusableReplica`."""
    if replica.skipped():
        raise UnusableReplica("skipped", "It could not be used a moment ago.")
    position = _position()  # raises `Unreachable`: without the primary nobody knows what is missing
    try:
        with _connected(replica) as connection:
            _wait(connection, position)
            yield connection
            if position.has_standbys:
                _wait_until_shown(connection)
    except Busy as error:  # a conflict with what it replays, or its limit of time: of this statement alone
        raise UnusableReplica("canceled", f"It canceled the statement ({error}).") from error
    except Unreachable as error:
        raise UnusableReplica("unreachable", f"It cannot be reached ({error}).") from error


@contextmanager
def _connected(replica: pool.Replica) -> Iterator[Connection]:
    with translated(), replica.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        driver = _driver(connection)
        try:
            yield connection
        finally:
            if driver.closed and not connection.invalidated:
                connection.invalidate()


def _wait(connection: Connection, position: Position) -> None:
    """Until the replica has replayed up to there, but not for long. Raises `UnusableReplica`."""
    give_up = clock.monotonic() + WAIT_SECONDS
    while lag := _state(connection, position).lag:
        if clock.monotonic() > give_up:
            raise UnusableReplica("behind", f"It is {lag:,} bytes behind.")
        clock.sleep(STEP_SECONDS)


def _wait_until_shown(connection: Connection) -> None:
    """Until the primary shows all that the replica does, but not for long. Raises `UnusableReplica`.

    A commit that waits for a synchronous standby is on the replica already, and nobody is to know of it yet.
    """
    (primary,) = execute(SNAPSHOT, {})
    ahead = [row.xid for row in run(_driver(connection), AHEAD, primary._asdict())]
    give_up = clock.monotonic() + WAIT_SECONDS
    while ahead and execute(UNSHOWN, {"xids": ahead})[0].several:
        if clock.monotonic() > give_up:
            raise UnusableReplica("ahead", "It has commits that wait for a synchronous standby.")
        clock.sleep(STEP_SECONDS)


def _state(connection: Connection, position: Position) -> ReplicaState:
    """What the replica says of itself. Raises `UnusableReplica`."""
    driver = _driver(connection)
    driver.answer_timeout = ANSWER_SECONDS
    (state,) = run(driver, STATE, position._asdict())
    driver.answer_timeout = connections.ANSWER_TIMEOUT
    if not state.is_ours or state.behind is None:
        raise UnusableReplica("other", "It is no replica of this database, or on another timeline.")
    return state


def _position() -> Position:
    """Raises `UnusableReplica`, and `Unreachable` if the primary is."""
    (position,) = execute(POSITION, {})
    if position.flushed is None:
        raise UnusableReplica("other", "DATABASE_URL is itself a replica.")
    return position


def _driver(connection: Connection) -> TimedConnection:
    return cast("TimedConnection", connection.connection.driver_connection)


def _in_snapshot(connection: Connection, work: Callable[[Session], T]) -> T:
    connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    with Session(connection, expire_on_commit=False, autoflush=False) as session:
        found = work(session)
        end_reading(session)
        return found


def _on_primary(work: Callable[[Session], T]) -> T:
    with snapshot() as session:
        return work(session)

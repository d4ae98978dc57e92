"""PostgreSQL: one engine per process, and the only ways to use it.

`with transaction() as session:` commits at the end of the block or rolls back; `with snapshot() as session:` reads
only; `fetch` reads typed rows in either; `execute` runs one statement in one round trip. What a replica may answer is
read by `read_anywhere` (a snapshot) and `fetch_anywhere` (one statement). Failures of the server or the network are
three exceptions, because the caller's reaction differs: nothing was committed (`Unreachable`), retry (`Busy`), or the
outcome is unknown (`CommitUnknown`).
"""

from common.kit.db.errors import FAILURES, Busy, CommitUnknown, Unreachable, violated
from common.kit.db.execution import advisory_lock, execute, fetch, read_only, rowcount, snapshot, transaction
from common.kit.db.planning import IN_ORDER, PLANNING
from common.kit.db.pool import (
    CAPACITY,
    IN_USE,
    connect,
    dispose,
    engine,
    make_engine,
    missing_limits,
    private,
)
from common.kit.db.replica import UnusableReplica, fetch_anywhere, has_replica, read_anywhere, replica_state
from common.kit.db.timeouts import with_timeout, without_timeout

__all__ = [
    "CAPACITY",
    "FAILURES",
    "IN_ORDER",
    "IN_USE",
    "PLANNING",
    "Busy",
    "CommitUnknown",
    "Unreachable",
    "UnusableReplica",
    "advisory_lock",
    "connect",
    "dispose",
    "engine",
    "execute",
    "fetch",
    "fetch_anywhere",
    "has_replica",
    "make_engine",
    "missing_limits",
    "private",
    "read_anywhere",
    "read_only",
    "replica_state",
    "rowcount",
    "snapshot",
    "transaction",
    "violated",
    "with_timeout",
    "without_timeout",
]

"""Database connections that give up on a server which stops answering.

PostgreSQL enforces its own time limits (`statement_timeout`) unless the process or its machine is frozen. A client on
a Unix socket, or behind a kernel that still acknowledges, would then wait forever.
"""

from __future__ import annotations

from functools import partial
from typing import TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.errors import _WaitTimeout

from common.kit import seam

T = TypeVar("T")

#: Seconds; longer than the server's statement timeout, so that only an unresponsive server is cut off.
ANSWER_TIMEOUT = 17.0


class TimedConnection(psycopg.Connection[object]):
    """Closes itself when an answer takes longer than `answer_timeout` seconds (None: no limit).

    Whether the statement was executed is then unknown.
    """

    answer_timeout: float | None = ANSWER_TIMEOUT

    def wait(self, gen: PQGen[T], interval: float = 0.1, timeout: float | None = None) -> T:
        return seam.passing("postgresql", gen, self, partial(self._wait, gen, interval, timeout))

    def _wait(self, gen: PQGen[T], interval: float, timeout: float | None) -> T:
        try:
            return super().wait(gen, interval, self.answer_timeout if timeout is None else timeout)
        except _WaitTimeout as error:
            self.pgconn.finish()
            raise psycopg.OperationalError("the server did not answer in time") from error

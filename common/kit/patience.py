"""Connections that give up on a server which says nothing.

PostgreSQL keeps its own time limits (`statement_timeout`), unless it is frozen, or its machine is: then a client on a
Unix socket, or behind a kernel that still acknowledges, would wait for ever.
"""

from __future__ import annotations

from functools import partial
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.errors import _WaitTimeout

from common.kit import seam

T = TypeVar("T")

#: Longer than the server's own limit for a statement, so that only silence is cut off.
SECONDS = 17.0


class Patient(psycopg.Connection[Any]):
    """Closes itself when an answer takes longer than `patience` (None: for ever). What was sent may have been done."""

    patience: float | None = SECONDS

    def wait(self, gen: PQGen[T], interval: float = 0.1, timeout: float | None = None) -> T:
        return seam.passing("postgresql", gen, self, partial(self._wait, gen, interval, timeout))

    def _wait(self, gen: PQGen[T], interval: float, timeout: float | None) -> T:
        try:
            return super().wait(gen, interval, self.patience if timeout is None else timeout)
        except _WaitTimeout as error:
            self.pgconn.finish()
            raise psycopg.OperationalError("the server has said nothing for too long") from error

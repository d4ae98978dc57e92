"""Database failures as three exceptions, translated from SQLAlchemy's and the driver's errors, and counted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import psycopg
from sqlalchemy import exc

from common.kit import metrics

#: SQLSTATE classes of server and network failures, as opposed to errors in the statement.
_DOWN = ("08", "53", "57P", "58", "25006")
_BUSY = ("40001", "40P01", "55P03", "57014")
FAILURES = metrics.Counter(
    "joyfull_db_failures", "Database operations that failed or whose outcome is unknown", ["kind"]
)


class Unreachable(Exception):
    """PostgreSQL cannot be reached or refuses work; nothing was committed."""


class Busy(Unreachable):
    """A lock, a deadlock or a timeout prevented the work; nothing was committed, and a retry may succeed."""


class CommitUnknown(Unreachable):
    """The connection was lost during COMMIT, so it may have happened. Read the row again by id before acting."""


@contextmanager
def translated() -> Iterator[None]:
    """Raise the errors of this module instead of those of SQLAlchemy and psycopg."""
    try:
        yield
    except exc.DBAPIError as error:
        raise translate(error) from error
    except psycopg.Error as error:  # `execute` could not open a new connection
        raise translate(wrapped(error)) from error
    except exc.TimeoutError as error:
        raise counted(Unreachable("no free database connection")) from error


def translate(error: exc.DBAPIError) -> Exception:
    """The exception to raise for `error`: one of ours, or the error itself when the statement is at fault."""
    state = sqlstate(error)
    if state.startswith(_BUSY):
        return counted(Busy(state))
    if (
        error.connection_invalidated
        or state.startswith(_DOWN)
        or (not state and isinstance(error, exc.OperationalError))
    ):
        return counted(Unreachable(state or type(error.orig).__name__))
    return error


def wrapped(error: psycopg.Error) -> exc.DBAPIError:
    """A driver error as SQLAlchemy would have raised it."""
    return cast("exc.DBAPIError", exc.DBAPIError.instance(None, None, error, psycopg.Error, hide_parameters=True))


def counted(failure: Unreachable) -> Unreachable:
    """Count a failure by its class, and return it."""
    FAILURES.labels(type(failure).__name__).inc()
    return failure


def sqlstate(error: exc.DBAPIError) -> str:
    """The five-character error code; empty when the server sent none."""
    return getattr(error.orig, "sqlstate", None) or ""


def violated(error: exc.IntegrityError) -> str | None:
    """The name of the violated constraint: the only part of an IntegrityError to branch on."""
    diagnostics = getattr(error.orig, "diag", None)
    return getattr(diagnostics, "constraint_name", None)

"""Statements that only tests run, each in a transaction of its own."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from sqlalchemy import TextClause, text

from common.kit import db

#: How long (seconds) other tests' transactions are waited for: some load millions of rows in one.
PATIENCE = 60


def plain(statement: TextClause, parameters: Mapping[str, object]) -> list[Any]:
    """Run one statement; returns its rows."""
    with db.transaction() as session:
        result = session.connection().execute(statement, parameters)
        return list(result) if result.returns_rows else []


def feed_is_complete() -> None:
    """Wait until the feed has everything that was committed: it shows nothing that is newer than an open transaction.

    Other test processes have transactions on the same server.
    """
    newest = plain(text("select pg_current_xact_id()::text::bigint"), {})[0][0]
    oldest_open = text("select pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
    give_up = time.monotonic() + PATIENCE
    while plain(oldest_open, {})[0][0] <= newest:
        assert time.monotonic() < give_up, f"a transaction is open for {PATIENCE} s"
        time.sleep(0.02)  # between two looks

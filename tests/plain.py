"""Statements that only tests run, each in a transaction of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import TextClause

from common.kit import db


def plain(statement: TextClause, parameters: Mapping[str, object]) -> list[Any]:
    """Run one statement; returns its rows."""
    with db.transaction() as session:
        result = session.connection().execute(statement, parameters)
        return list(result) if result.returns_rows else []

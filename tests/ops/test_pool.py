"""The gauge of database connections in use comes back to nothing, whatever happened to the server meanwhile."""

from __future__ import annotations

import psycopg
import pytest
from sqlalchemy import text

from common import boot
from common.kit import db as kit
from common.kit.db.connection import TimedConnection
from common.settings import Settings


def in_use() -> float:
    return float(next(sample.value for metric in kit.IN_USE.collect() for sample in metric.samples))


def refuse(*_: object, **__: object) -> None:
    raise psycopg.OperationalError("connection refused")


def test_a_server_that_was_away_leaves_the_gauge_right(
    db: None, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pooled connection is found dead, and there is no other: nobody ever held one."""
    kit.connect(settings.database_url, pool_size=2, application_name="joyfull-pool")
    try:
        with kit.transaction() as session:
            session.execute(text("select 1"))
            assert in_use() == 1
        with psycopg.connect(settings.database_url, autocommit=True) as admin:
            admin.execute("""select pg_terminate_backend(pid, 10000) from pg_stat_activity
                              where application_name = 'joyfull-pool' and pid <> pg_backend_pid()""")
        with monkeypatch.context() as away:
            away.setattr(TimedConnection, "connect", refuse)
            with pytest.raises(kit.Unreachable), kit.transaction() as session:
                session.execute(text("select 1"))
        assert in_use() == 0
        with kit.transaction() as session:
            session.execute(text("select 1"))
            assert in_use() == 1
        assert in_use() == 0
    finally:
        boot.connect(settings, process="test", pool_size=20)

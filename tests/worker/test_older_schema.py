"""A worker waits for the migrations: on an older schema it claims nothing, and says why."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from dev import platform as parts
from dev.supervisor import Supervisor
from tests.conftest import ROOT


@contextmanager
def older_schema(connection: psycopg.Connection[tuple[str]]) -> Iterator[None]:
    (found,) = connection.execute("select version_num from alembic_version").fetchone() or ("",)
    connection.execute("update alembic_version set version_num = '0001'")
    try:
        yield
    finally:
        connection.execute("update alembic_version set version_num = %s", [found])


def test_a_worker_begins_when_the_migrations_are_done(db: None, environ: dict[str, str], tmp_path: Path) -> None:
    supervisor, log = Supervisor(environ, tmp_path, ROOT), tmp_path / "webhooks-1.log"
    with psycopg.connect(environ["DATABASE_URL"], autocommit=True) as connection:

        def known() -> bool:
            return connection.execute("select 1 from processes where name like 'webhooks@%'").fetchone() is not None

        try:
            with older_schema(connection):
                supervisor.start(parts.worker("webhooks", 2))
                supervisor.wait_for(
                    lambda: log.exists() and "migrations are not at head" in log.read_text(), "its words"
                )
                assert not known()
            supervisor.wait_for(known, "its first heartbeat")
        finally:
            supervisor.stop()
    assert "Traceback" not in log.read_text()

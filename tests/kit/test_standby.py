"""A PostgreSQL and its streaming standby, both in one URL: whichever takes writes is used, before and after it changes.

Real servers; what the whole platform does meanwhile is shown by `make faults ONLY=F81,F82`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from sqlalchemy import text

from common import boot
from common.kit import db
from common.kit.db.pool import driver_url
from common.kit.query import Query
from common.settings import Settings
from dev.servers import Postgres, create_database
from dev.standby import Standby, configure, on_either
from tests.client import eventually


class Number(NamedTuple):
    n: int


WRITE = Query("insert into written (n) values (:n) returning n", Number)
READ = Query("select n from written order by n", Number)


@pytest.mark.parametrize(
    ("url", "hosts", "ports"),
    [
        ("postgresql://u:p%40w@a,b/hub?target_session_attrs=read-write", "a,b", ","),
        ("postgres://u:p%40w@a:5433,b:5434/hub?target_session_attrs=read-write", "a,b", "5433,5434"),
        ("postgresql+psycopg://u:p%40w@a:5433/hub?target_session_attrs=read-write", "a", "5433"),
        ("postgresql://u:p%40w@/hub?host=/one,/two&target_session_attrs=read-write", "/one,/two", None),
    ],
)
def test_urls_of_several_hosts(url: str, hosts: str, ports: str | None) -> None:
    read = driver_url(url)
    assert (read.username, read.password, read.database) == ("u", "p@w", "hub")
    assert (read.query["host"], read.query.get("port")) == (hosts, ports)
    assert read.query["target_session_attrs"] == "read-write"
    assert "p@w" not in str(read) and "p%40w" not in str(read)


@pytest.fixture
def servers(settings: Settings, tmp_path: Path) -> Iterator[tuple[Postgres, Standby]]:
    """This process uses whichever is the primary."""
    primary = Postgres(tmp_path / "primary", durable=False)
    standby = Standby(tmp_path / "standby", primary)
    primary.start()
    primary.wait()
    create_database(primary)
    standby.start()
    standby.wait()
    eventually("the standby follows", 20, standby.is_in_step)
    configure(primary, "synchronous_standby_names", "*")
    db.connect(on_either(standby, primary), pool_size=4, application_name="joyfull-test")
    yield primary, standby
    boot.connect(settings, process="test", pool_size=20)
    for server in (standby, primary):
        server.stop()


def write(n: int) -> bool:
    """By the statement of one round trip, and by a transaction. False: nobody takes writes."""
    try:
        db.execute(WRITE, {"n": n})
        with db.transaction() as session:
            db.fetch(session, WRITE, {"n": n})
    except db.Unreachable:
        return False
    return True


def test_writes_go_to_the_primary_and_then_to_the_standby_that_was_promoted(
    servers: tuple[Postgres, Standby],
) -> None:
    primary, standby = servers
    with db.transaction() as session:
        session.execute(text("create table written (n int)"))
    assert write(1)
    primary.kill()
    assert not write(2), "the standby refuses writes, and is not taken for the primary"
    standby.promote()
    eventually("the standby takes writes", 20, lambda: write(3))
    assert [row.n for row in db.execute(READ, {})] == [1, 1, 3, 3]

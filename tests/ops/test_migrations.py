"""Upgrading without downtime: running code survives each migration, and one that cannot have its lock gives up."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from uuid import uuid4

import psycopg
import pytest
from alembic.script import ScriptDirectory
from psycopg import sql

from tests.conftest import ROOT

REVISIONS = [script.revision for script in ScriptDirectory(str(ROOT / "migrations")).walk_revisions()][::-1]
Table = str


@dataclass(frozen=True, slots=True)
class Column:
    type: str
    nullable: bool
    filled: bool

    @property
    def may_be_left_out(self) -> bool:
        """Whether an INSERT of code that does not know it goes through."""
        return self.nullable or self.filled


COLUMNS = """
select c.relname, a.attname, format_type(a.atttypid, a.atttypmod), not a.attnotnull,
       a.atthasdef or a.attidentity <> '' or a.attgenerated <> ''
  from pg_attribute a join pg_class c on c.oid = a.attrelid
 where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
   and a.attnum > 0 and not a.attisdropped and c.relname <> 'alembic_version'
"""


@pytest.fixture
def empty(postgres_url: str) -> Iterator[str]:
    """The URL of a new, empty database."""
    name = f"empty_{uuid4().hex[:8]}"
    with psycopg.connect(postgres_url.format("postgres"), autocommit=True) as admin:
        admin.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        yield postgres_url.format(name)
        admin.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


def upgrade(url: str, to: str) -> subprocess.CompletedProcess[str]:
    environ = {"PATH": os.environ["PATH"], "DATABASE_URL": url, "REDIS_URL": "redis://127.0.0.1:1/0"}
    command = [sys.executable, "-m", "flask", "--app", "wsgi", "db", "upgrade", to]
    return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False, timeout=120)


def columns(url: str) -> dict[tuple[Table, str], Column]:
    with psycopg.connect(url) as connection:
        return {(table, name): Column(*rest) for table, name, *rest in connection.execute(COLUMNS)}


def test_old_code_survives_each_migration(empty: str) -> None:
    """Nothing that it reads or writes goes away or changes, and nothing new is asked of its inserts."""
    assert upgrade(empty, REVISIONS[0]).returncode == 0
    before = columns(empty)
    tables = {table for table, _ in before}
    for revision in REVISIONS[1:]:
        done = upgrade(empty, revision)
        assert done.returncode == 0, done.stderr
        after = columns(empty)
        for key, column in before.items():
            assert after.get(key) == column, f"{revision} changes or drops {'.'.join(key)}"
        asked = [
            key
            for key, column in after.items()
            if key[0] in tables and key not in before and not column.may_be_left_out
        ]
        assert asked == [], f"{revision} asks old code for {asked}"
        before, tables = after, {table for table, _ in after}


def test_a_migration_that_is_blocked_gives_up_and_leaves_nothing(empty: str) -> None:
    """Traffic must not queue up behind it (F68); run again it goes through."""
    assert upgrade(empty, "0002").returncode == 0
    at = columns(empty)
    with psycopg.connect(empty) as traffic:
        traffic.execute("select count(*) from invocations")  # a reader's lock, held by an open transaction
        outcome: list[subprocess.CompletedProcess[str]] = []
        migrating = threading.Thread(target=lambda: outcome.append(upgrade(empty, "0003")))
        migrating.start()
        migrating.join(60)
        assert not migrating.is_alive(), "it still waits"
        assert outcome[0].returncode != 0
        assert "lock timeout" in outcome[0].stderr
        traffic.execute("select count(*) from invocations")
    assert columns(empty) == at
    assert upgrade(empty, "0003").returncode == 0
    assert ("invocations", "traceparent") in columns(empty)


def test_two_migrators_take_turns(empty: str) -> None:
    outcomes: list[subprocess.CompletedProcess[str]] = []
    both = [threading.Thread(target=lambda: outcomes.append(upgrade(empty, "head"))) for _ in range(2)]
    for each in both:
        each.start()
    for each in both:
        each.join(120)
    assert [done.returncode for done in outcomes] == [0, 0], [done.stderr[-500:] for done in outcomes]

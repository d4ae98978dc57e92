"""Upgrading without downtime: running code survives each migration, and one that cannot have its lock gives up."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from uuid import uuid4

import psycopg
import pytest
from alembic.script import ScriptDirectory
from psycopg import sql

from common.operations import readiness
from tests.conftest import ROOT

#: One process for a whole walk: most of the time of `flask db upgrade` is that of its start.
STEPS = """
import sys
from flask_migrate import upgrade
from wsgi import app

with app.app_context():
    for revision in sys.stdin:
        upgrade(revision=revision.strip())
        print("done", flush=True)
"""
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


#: Columns that may be empty since some migration, and why the code before it does not mind.
LOOSENED = {("idempotency_keys", "invocation_id"): "it joins invocations, and so does not see rows without one"}
#: What earlier code has written when a migration comes, and what holds at the end.
WRITTEN = {
    "0026": """
insert into invocations (id, user_id, period_id, tool_id, tool_version_id, status, held, charged, request_id,
                         created_at, started_at, finished_at, expires_at, error_code, is_failure)
select gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), status, 1, 0, 'r',
       now(), case when status <> 'expired' then now() end, now(), now(),
       case when status = 'failed' then 'tool_failed' end, case when status <> 'succeeded' then true end
  from unnest(array['succeeded', 'canceled', 'failed', 'expired']) status, generate_series(1, 2000)""",
    "0027": """
insert into invocations (id, user_id, period_id, tool_id, tool_version_id, held, request_id, expires_at)
select gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 1, 'r', now();
alter table invocations enable always trigger invocations_failure;
update invocations set status = 'canceled', is_failure = true, charged = 0, finished_at = now()
 where status = 'open'""",
    # As an interrupted `create index concurrently` leaves it.
    "0031": """
create index ix_invocations_skewed on invocations (user_id, id) where false;
update pg_index set indisvalid = false where indexrelid = 'ix_invocations_skewed'::regclass""",
}
HOLDS = """
select count(*), (select count(*) from pg_index where not indisvalid)
  from invocations where failure is not distinct from nullif(status, 'succeeded')"""
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


@pytest.fixture
def database_copy(empty: str) -> str:
    """The URL of a new database with every table and no rows."""
    assert migrate(empty, "upgrade", "head").returncode == 0
    return empty


def migrate(url: str, way: str, to: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "flask", "--app", "wsgi", "db", way, to]
    return subprocess.run(
        command, cwd=ROOT, env=_environ(url), capture_output=True, text=True, check=False, timeout=120
    )


def _environ(url: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "DATABASE_URL": url, "REDIS_URL": "redis://127.0.0.1:1/0"}


@contextmanager
def walking(url: str) -> Iterator[Callable[[str], None]]:
    """A function that takes the next revision, and fails if it was not reached."""
    command = [sys.executable, "-c", STEPS]
    with subprocess.Popen(
        command, cwd=ROOT, env=_environ(url), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as walker:
        revisions, answers = walker.stdin, walker.stdout
        assert revisions is not None
        assert answers is not None

        def step(revision: str) -> None:
            print(revision, file=revisions, flush=True)
            assert answers.readline() == "done\n", f"{revision} was not reached"

        yield step


def columns(url: str) -> dict[tuple[Table, str], Column]:
    with psycopg.connect(url) as connection:
        return {(table, name): Column(*rest) for table, name, *rest in connection.execute(COLUMNS)}


def write(url: str, statement: str) -> None:
    """As earlier code would, without the rows that others refer to."""
    if statement:
        with psycopg.connect(url, options="-c session_replication_role=replica") as connection:
            connection.execute(statement)


def test_files_are_named_by_their_revisions() -> None:
    """Processes compare them with the database's, without Alembic."""
    assert readiness.revisions() == REVISIONS


def test_each_migration_is_survived_by_the_code_before_it(empty: str) -> None:
    """Nothing that it reads or writes goes away or changes, and nothing new is required of its inserts.

    One walk, because each step takes seconds. It also shows that two migrators take turns.
    """
    first = [
        threading.Thread(target=lambda: outcomes.append(migrate(empty, "upgrade", REVISIONS[0]))) for _ in range(2)
    ]
    outcomes: list[subprocess.CompletedProcess[str]] = []
    for each in first:
        each.start()
    for each in first:
        each.join(120)
    assert [done.returncode for done in outcomes] == [0, 0], [done.stderr[-500:] for done in outcomes]

    before = columns(empty)
    assert before
    with walking(empty) as upgrade_to:
        for revision in REVISIONS[1:]:
            write(empty, WRITTEN.get(revision, ""))
            upgrade_to(revision)
            after = columns(empty)
            for key, column in before.items():
                same = {column, replace(column, nullable=True)} if key in LOOSENED else {column}
                assert after.get(key) in same, f"{revision} changes or drops {'.'.join(key)}"
            known = {table for table, _ in before}
            added = [key for key in after.keys() - before.keys() if key[0] in known]
            assert [key for key in added if not after[key].may_be_left_out] == [], (
                f"{revision} asks too much of inserts"
            )
            before = after
    with psycopg.connect(empty) as connection:
        assert connection.execute(HOLDS).fetchone() == (8_001, 0)


def test_a_migration_that_is_blocked_gives_up(database_copy: str) -> None:
    """Traffic must not queue up behind a migration that waits for its lock; nothing is left of it."""
    assert migrate(database_copy, "downgrade", REVISIONS[0]).returncode == 0  # each has a transaction of its own
    before = columns(database_copy)
    with psycopg.connect(database_copy) as traffic:
        traffic.execute("select count(*) from invocations")  # a reader's lock, held by an open transaction
        done = migrate(database_copy, "downgrade", "base")
        assert done.returncode != 0
        assert "lock timeout" in done.stderr
        traffic.execute("select count(*) from invocations")
    assert columns(database_copy) == before

"""The role that serves cannot make or drop anything, nor change the ledger; all that the platform does still works."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from common import boot, usage
from common.operations import database_roles, doctor
from common.settings import Settings
from tests.conftest import ROOT, migrate
from tests.usage.ledger import Ledger, rolled_up

MARCH = datetime(2021, 3, 15, tzinfo=UTC)
REFUSED = (
    "create table mine (id int)",
    "drop table usage_logs",
    "drop table plans",
    "alter table users add column x int",
    "create index on users (name)",
    "alter table usage_logs disable trigger all",
    "drop trigger usage_logs_append_only on usage_logs",
    "create or replace function usage_mark() returns xid8 language sql as $$ select '0'::xid8 $$",
    "set session_replication_role = replica",
    *(f"truncate {table}" for table in ("usage_logs", "grants", "audit_log", "queue")),
    *(f"delete from {table}" for table in sorted(database_roles.APPENDED | database_roles.KEPT | database_roles.READ)),
    "delete from usage_logs_default",
    "delete from usage_logs_2021_03",
    "update usage_logs set tokens_used = 0",
    "update usage_logs_2021_03 set tokens_used = 0",
    "update grants set tokens = 1",
    "update audit_log set action = 'x'",
    "update alembic_version set version_num = '0001'",
)


@dataclass(frozen=True, slots=True)
class Separated:
    """A database of its own: `owner` owns its tables, `app` serves."""

    owner: str
    app: str
    role: str


def flask(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {"PATH": os.environ["PATH"], "DATABASE_URL": url, "REDIS_URL": "redis://127.0.0.1:1/0"}
    command = [sys.executable, "-m", "flask", "--app", "wsgi", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture(scope="module")
def separated(postgres_url: str) -> Iterator[Separated]:
    """By the steps of docs/operations/secrets.md; roles belong to the whole server, so their names are ours alone."""
    database = f"joyfull_{uuid4().hex[:8]}"
    owner, app = f"{database}_owner", f"{database}_app"
    names = {"db": sql.Identifier(database), "owner": sql.Identifier(owner), "app": sql.Identifier(app)}
    names |= {"login": sql.Identifier(f"{app}_a"), "owning": sql.Identifier(f"{owner}_a")}

    def said(*statements: str) -> None:
        for statement in statements:
            admin.execute(sql.SQL(statement).format(**names))

    with psycopg.connect(postgres_url.format("postgres"), autocommit=True) as admin:
        said("create role {owner} nologin", "create database {db} owner {owner}", "create role {app} nologin")
        said("create role {owning} login in role {owner}", "alter role {owning} set role {owner}")
        said("create role {login} login in role {app}")
        url = postgres_url.format(database)
        made = Separated(url.replace("postgres@", f"{owner}_a@"), url.replace("postgres@", f"{app}_a@"), app)
        try:
            migrate(made.owner)
            done = flask(made.owner, "roles", "grant", app)
            assert done.returncode == 0, done.stderr
            yield made
        finally:
            said("drop database {db} with (force)")
            said("drop role {login}", "drop role {app}", "drop role {owning}", "drop role {owner}")


@pytest.fixture
def serving(separated: Separated, db: None, settings: Settings) -> Iterator[Separated]:
    """This process serves in that database as `app`, and has its own back afterwards."""
    boot.connect(replace(settings, database_url=separated.app), process="test", pool_size=5)
    yield separated
    boot.connect(settings, process="test", pool_size=20)


def test_what_the_platform_does_works_and_what_it_never_does_is_refused(serving: Separated) -> None:
    """One story, because a separated database takes seconds to make."""
    ledger = Ledger()
    ledger.write(ledger.row(MARCH, 5))
    usage.add_months(ahead=0)
    assert [statement for statement, why in refusals(serving.app) if why is None] == [], "not refused"

    assert usage.retire_months(keep=12) == [], "it is not rolled up yet"
    with psycopg.connect(serving.app) as connection:  # as in a dump of a cluster that had counted further
        connection.execute("set local joyfull.usage_maintenance = 'on'")
        connection.execute("update usage_logs set xid = '999999999999'")
    usage.adopt()
    rolled_up()
    assert usage.differences() == []
    assert usage.retire_months(keep=12) == ["usage_logs_2021_03"]
    assert usage.differences() == []


def refusals(url: str) -> list[tuple[str, str | None]]:
    """Every statement, and why it was refused."""
    with psycopg.connect(url, autocommit=True) as connection:
        return [(statement, refusal(connection, statement)) for statement in REFUSED]


def refusal(connection: psycopg.Connection[tuple[object, ...]], statement: str) -> str | None:
    try:
        connection.execute(statement)
    except psycopg.errors.InsufficientPrivilege as error:
        return str(error)
    return None


def test_a_month_that_has_not_ended_is_kept_whoever_asks(separated: Separated) -> None:
    with psycopg.connect(separated.app) as connection:
        connection.execute("select usage_logs_add_month(now())")
        with pytest.raises(psycopg.errors.InvalidParameterValue, match="has not ended"):
            connection.execute("select usage_logs_retire_month(now())")


def test_who_was_granted_nothing_may_not_move_months(separated: Separated, postgres_url: str) -> None:
    stranger = sql.Identifier(f"{separated.role}_stranger")
    with psycopg.connect(separated.owner.replace(f"{separated.role[:-4]}_owner_a@", "postgres@")) as connection:
        connection.execute(sql.SQL("create role {}").format(stranger))
        connection.execute(sql.SQL("set local role {}").format(stranger))
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("select usage_logs_retire_month('2021-03-01')")
        connection.rollback()


def test_the_doctor_knows_which_role_it_is(serving: Separated, settings: Settings) -> None:
    def seen() -> doctor.CheckResult:
        return next(finding for finding in doctor.run_checks(settings) if finding.name == "database role")

    assert seen() == doctor.CheckResult("database role", True, f"{serving.role}_a cannot change the ledger")
    with psycopg.connect(serving.owner, autocommit=True) as owner:
        owner.execute("create table newer (id int)")
        try:
            assert not seen().passed
            assert "cannot read newer" in seen().detail
        finally:
            owner.execute("drop table newer")
    boot.connect(settings, process="test", pool_size=5)
    assert seen().detail == "postgres can change and drop tables; consider a separate role (`roles grant`)"


def test_a_role_that_is_not_there(separated: Separated) -> None:
    done = flask(separated.owner, "roles", "grant", "nobody-of-this-name")

    assert done.returncode == 1
    assert "Role nobody-of-this-name does not exist" in done.stderr

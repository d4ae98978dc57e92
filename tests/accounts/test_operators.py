"""Operator commands, the first admin, and the deletion of expired rows."""

from __future__ import annotations

import stat
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from click.testing import Result

from common.errors import Conflict
from common.identity import accounts
from common.identity.accounts import opening
from common.identity.audit import OPERATOR
from common.settings import Settings
from tests.accounts.conftest import one
from tests.accounts.people import PASSWORD, Api
from web.app import create_app

Sql = psycopg.Connection[Any]
NEW = "set by an operator at night"


def flask(settings: Settings, *arguments: str, **environ: str) -> Result:
    return create_app(settings).test_cli_runner().invoke(args=arguments, env=environ)


def role(sql: Sql, email: str) -> tuple[str, bool]:
    row = sql.execute("select role, is_active from users where email = %s", (email,)).fetchone()
    assert row is not None
    return row[0], row[1]


def test_an_operators_day(api: Api, settings: Settings, sql: Sql) -> None:
    made = flask(settings, "users", "create", "ops@example.com", "--admin", NEW_PASSWORD=PASSWORD)
    assert made.exit_code == 0, made.output
    assert PASSWORD not in made.output
    assert role(sql, "ops@example.com") == ("admin", True)

    person = api.person("somebody@example.com")
    session = person.login()
    assert flask(settings, "users", "promote", "SOMEBODY@example.com").exit_code == 0
    assert api("GET", "/users/me", session.access).json()["data"]["role"] == "admin"
    assert flask(settings, "users", "demote", person.email).exit_code == 0
    assert flask(settings, "users", "disable", person.email).exit_code == 0
    assert api.me(session.access) == 401
    assert api.login(person.email).status_code == 403
    assert flask(settings, "users", "enable", person.email).exit_code == 0
    session = person.login()
    assert flask(settings, "users", "reset-password", person.email, NEW_PASSWORD=NEW).exit_code == 0
    assert api.me(session.access) == 401
    assert [api.login(person.email, text).status_code for text in (PASSWORD, NEW)] == [401, 200]
    actions = sql.execute("select actor_kind, action, after ->> 'role' from audit_log order by id").fetchall()
    assert actions[:3] == [
        ("operator", "user.create", "admin"),
        ("operator", "user.update", "admin"),
        ("operator", "user.update", "user"),
    ]


@pytest.mark.parametrize(
    ("arguments", "password", "said"),
    [
        (("create", "no address"), PASSWORD, "address"),
        (("create", "ops@example.com"), "qwertyuiop", "too common"),
        (("promote", "nobody@example.com"), "", "Not found"),
        (("reset-password", "nobody@example.com"), PASSWORD, "Not found"),
    ],
)
def test_operators_are_told_what_is_wrong(
    db: None, settings: Settings, arguments: tuple[str, ...], password: str, said: str
) -> None:
    result = flask(settings, "users", *arguments, NEW_PASSWORD=password)
    assert result.exit_code == 1
    assert said in result.output
    assert "Traceback" not in result.output


def test_the_last_admin_stays(api: Api, sql: Sql, database_url: str) -> None:
    """Of two admins who demote each other concurrently, one succeeds."""
    one_admin, other_admin = api.person(), api.person()
    for person in (one_admin, other_admin):
        accounts.administer(person.uuid, actor=OPERATOR, role="admin")

    def dethrone(change: dict[str, Any]) -> bool:
        person = one_admin if "role" in change else other_admin
        try:
            accounts.administer(person.uuid, actor=OPERATOR, **change)
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(2) as pool, psycopg.connect(database_url) as other_work:
        other_work.execute("select from users for update")
        done = pool.map(dethrone, [{"role": "user"}, {"is_active": False}])
        wait_for_blocked(sql, 2)
        other_work.rollback()
        assert sorted(done) == [False, True]
    assert one(sql, "select count(*) from users where role = 'admin' and is_active") == 1
    last = one(sql, "select id from users where role = 'admin' and is_active")
    for change in ({"role": "user"}, {"is_active": False}):
        with pytest.raises(Conflict):
            accounts.administer(last, actor=OPERATOR, **change)
    accounts.administer(last, actor=OPERATOR, role="admin", is_active=True)


def wait_for_blocked(sql: Sql, count: int) -> None:
    """Wait until this many of our statements wait for a lock."""
    give_up = time.monotonic() + 10
    waiting = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    while one(sql, waiting) < count:
        assert time.monotonic() < give_up, "they do not wait for each other"
        time.sleep(0.01)


# -- the first admin -----------------------------------------------------------------------------------------


def test_the_first_admin_is_made_once_and_can_log_in(api: Api, settings: Settings, sql: Sql, database_url: str) -> None:
    given = replace(settings, admin_email="Root@example.com", admin_password=PASSWORD)
    with ThreadPoolExecutor(4) as pool, psycopg.connect(database_url) as slower:
        slower.execute("select pg_advisory_xact_lock(%s)", (opening.FIRST_ADMIN_LOCK,))
        starting = pool.map(lambda _: accounts.ensure_admin("Root@example.com", PASSWORD), range(4))
        wait_for_blocked(sql, 4)
        slower.rollback()
        made = list(starting)
    assert sum(user is not None for user in made) == 1
    assert role(sql, "Root@example.com") == ("admin", True)
    again = flask(replace(given, admin_password="another one for later"), "admin", "ensure")
    assert "already" in again.output
    assert api.login("root@example.com").status_code == 200
    assert api.login("root@example.com", "another one for later").status_code == 401


def test_nobody_becomes_admin_by_registering_the_address_first(api: Api, settings: Settings, sql: Sql) -> None:
    api.person("root@example.com")
    result = flask(replace(settings, admin_email="root@example.com", admin_password=PASSWORD), "admin", "ensure")
    assert result.exit_code == 1
    assert "promote" in result.output
    assert role(sql, "root@example.com") == ("user", True)


def test_development_makes_a_password_up_and_keeps_it(db: None, api: Api, settings: Settings, sql: Sql) -> None:
    file = settings.data_dir / "admin-password"
    outputs = [flask(settings, "admin", "ensure").output for _ in range(2)]
    email, password = file.read_text().split()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert all(password in output for output in outputs)
    assert api.login(email, password).status_code == 200
    file.unlink()


def test_production_makes_nothing_up_and_wants_a_good_password(db: None, settings: Settings, sql: Sql) -> None:
    production = replace(settings, env="production")
    assert "No admin was created" in flask(production, "admin", "ensure").output
    weak = replace(production, admin_email="root@example.com", admin_password="qwertyuiop")
    assert flask(weak, "admin", "ensure").exit_code == 1
    assert one(sql, "select count(*) from users") == 0


@pytest.mark.parametrize("password", ["admin", "password", "changeme", "administrator", "joyfull-hub"])
def test_a_fresh_installation_has_no_default_password(api: Api, password: str) -> None:
    for email in ("admin", "admin@localhost", "admin@example.com", "root@localhost"):
        assert api.login(email, password).status_code == 401


# -- expiry --------------------------------------------------------------------------------------------------


def test_what_is_over_is_forgotten_and_nothing_else(api: Api, sql: Sql) -> None:
    person = api.person()
    old, session = person.login(), person.login()
    sql.execute("update throttles set ends_at = now() where ctid = (select min(ctid) from throttles)")
    sql.execute(
        "update refresh_families set expires_at = now() - interval '8 days' where id = (select min(id::text)::uuid"
        " from refresh_families)"
    )
    kept = one(sql, "select count(*) from throttles")
    assert accounts.purge() == 2
    assert one(sql, "select count(*) from throttles") == kept - 1
    assert [old.refresh().status_code, session.refresh().status_code] == [401, 200]

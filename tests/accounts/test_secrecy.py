"""Credentials are neither logged nor stored in clear text; events of accounts are logged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import requests

from common.kit.redis import Client
from tests.accounts.conftest import Mailbox
from tests.accounts.people import Api, Session

CANARY, NEW = "canary: the heron waits in grey water", "canary: the heron has flown away"


def test_no_secret_in_logs_tables_or_redis(
    api: Api, mailbox: Mailbox, redis: Client, sql: psycopg.Connection[Any], logged: Callable[[], str]
) -> None:
    person = api.person(password=CANARY)
    session = person.login().next()
    key = person.key()["key"]
    api.me(key)
    api.me(session.access)
    api.login(person.email, NEW)
    verification = mailbox.token("verify-email")
    api("POST", f"/auth/verify-email/{verification}")
    api("POST", "/auth/password-reset", json={"email": person.email})
    reset = mailbox.token("password-reset")
    api("POST", f"/auth/password-reset/{reset}", json={"password": "short"})
    api("POST", f"/auth/password-reset/{reset}", json={"password": NEW})
    api("POST", f"/auth/password-reset/{reset}", json={"password": NEW})
    api("POST", "/auth/refresh", json={"refresh_token": session.refresh_token})

    tables = sql.execute("select tablename from pg_tables where schemaname = 'public'").fetchall()
    rows = "".join(str(sql.execute(f"select t::text from {name} t").fetchall()) for (name,) in tables)
    kept = {"logs": logged(), "tables": rows, "Redis": str([redis.dump(name) for name in redis.scan_iter()])}
    secrets = {
        "password": CANARY,
        "new password": NEW,
        "access token": session.access,
        "refresh token": session.refresh_token.removeprefix("jhr_"),
        "key": key.rpartition("_")[2][:43],
        "verification": verification,
        "reset": reset,
    }
    found = {(what, where) for what, secret in secrets.items() for where, text in kept.items() if secret in text}
    assert found == set()


def test_what_a_watchman_wants_to_know_is_logged(
    api: Api, sql: psycopg.Connection[Any], said: Callable[[requests.Response], set[str]]
) -> None:
    """Each event is logged by the request that caused it."""
    person = api.person()
    made = person.key(scopes=["usage:read"])
    login = api.login(person.email)
    session = Session(api, login.json()["data"])
    session.next()
    sql.execute("update refresh_tokens set used_at = used_at - interval '1 minute'")
    happened = {
        "login": login,
        "refresh token reused: session revoked": session.refresh(),
        "login failed": api.login(person.email, "not the password"),
        "access denied": api("GET", "/tools", made["key"]),
    }
    revoked = api("DELETE", f"/users/me/api-keys/{made['id']}", person.login().access)
    assert revoked.status_code == 204
    happened["revoked or expired api key used"] = api("GET", "/users/me", made["key"])
    while (answer := api.login("nobody@example.com", "not the password")).status_code == 401:
        pass
    happened["too many attempts"] = answer
    assert {event: event in said(answer) for event, answer in happened.items()} == dict.fromkeys(happened, True)

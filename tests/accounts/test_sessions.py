"""Sessions: refreshed with the newest token, ended immediately in every process, whatever Redis loses."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from sqlalchemy import event

from common.errors import DependencyUnavailable, InvalidCredentials, TokenRevoked
from common.identity import accounts, authorization, authorization_cache, keys, passwords, session_start
from common.identity.audit import OPERATOR
from common.identity.session_start import Origin
from common.kit import db as db_kit
from common.kit import memory
from common.kit import redis as redis_kit
from common.kit.redis import Client
from dev.servers import Redis
from tests.accounts.conftest import one
from tests.accounts.people import PASSWORD, Api, Session, code
from tests.accounts.test_tokens import read
from tests.client import eventually
from tests.web.conftest import read_all
from web.http import auth

Sql = psycopg.Connection[Any]


def later(sql: Sql, seconds: int) -> None:
    """Let time pass for refresh tokens."""
    sql.execute("update refresh_tokens set used_at = used_at - make_interval(secs => %s)", (seconds,))


# -- refresh -------------------------------------------------------------------------------------------------


def test_racing_refreshes_get_the_same_pair(api: Api, other: Api) -> None:
    session = api.person().login()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: session.refresh(Api((api, other)[n % 2].base)), range(8)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1
    assert api.me(answers[0].json()["data"]["access_token"]) == 200


def test_a_lost_answer_can_be_asked_for_again(api: Api, sql: Sql) -> None:
    """Within ten seconds, even if the successor has been used meanwhile."""
    first = api.person().login()
    second = first.next()
    second.next()
    later(sql, 5)
    assert first.next().refresh_token == second.refresh_token


def test_a_spent_token_that_comes_back_ends_its_session_and_no_other(api: Api, other: Api, sql: Sql) -> None:
    person = api.person()
    stolen, elsewhere = person.login(), person.login()
    newest = stolen.next()
    assert other.me(newest.access) == 200
    later(sql, 11)
    assert code(stolen.refresh()) == (401, "token_revoked")
    assert [other.me(newest.access), other.me(stolen.access)] == [401, 401]
    assert code(newest.refresh()) == (401, "token_revoked")
    assert [other.me(elsewhere.access), elsewhere.refresh().status_code] == [200, 200]


def test_a_session_ends_thirty_days_after_its_login(api: Api, sql: Sql) -> None:
    session = api.person().login().next()
    days = one(sql, "select extract(days from expires_at - created_at) from refresh_families")
    assert days == 30
    sql.execute("update refresh_families set expires_at = now()")
    assert code(session.refresh()) == (401, "token_expired")
    assert api.me(session.access) == 401


def test_a_session_ends_when_it_is_not_used_for_two_weeks(api: Api, sql: Sql) -> None:
    session = api.person().login()
    sql.execute("update refresh_tokens set created_at = created_at - interval '14 days'")
    assert code(session.refresh()) == (401, "token_expired")


@pytest.mark.parametrize("token", ["", "jhr_", "jhr_" + "A" * 43, "x" * 4096, "\u2603", None, 1])
def test_what_is_no_refresh_token(api: Api, token: object) -> None:
    assert api("POST", "/auth/refresh", json={"refresh_token": token}).status_code in (401, 422)


def test_tokens_are_kept_as_hashes_only(api: Api, sql: Sql) -> None:
    session = api.person().login()
    session.next()
    rows = str(sql.execute("select * from refresh_tokens").fetchall())
    assert session.refresh_token.removeprefix("jhr_") not in rows
    assert session.next().refresh_token.removeprefix("jhr_") not in rows


# -- revocation ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["logout", "password", "disable"])
def test_the_end_is_at_once_in_every_process_and_survives_a_wiped_redis(
    api: Api, other: Api, redis: Client, how: str
) -> None:
    person = api.person()
    session = person.login()
    assert [api.me(session.access), other.me(session.access)] == [200, 200]
    if how == "logout":
        assert session.logout().status_code == 204
    elif how == "password":
        change = {"password": "another good one, longer", "current_password": PASSWORD}
        assert api("PATCH", "/users/me", session.access, json=change).status_code == 200
    else:
        accounts.administer(person.uuid, actor=OPERATOR, is_active=False)
    assert code(other("GET", "/users/me", session.access)) == (401, "token_revoked")
    redis.flushall()
    assert [api.me(session.access), other.me(session.access)] == [401, 401]
    assert session.refresh().status_code == 401


def drip(api: Api, session: Session, method: str, path: str, body: bytes) -> socket.socket:
    """A request whose body has not been sent yet."""
    host, port = api.base.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)), timeout=30)
    head = [
        f"{method} /api/v1{path} HTTP/1.1",
        f"Host: {host}",
        f"Authorization: Bearer {session.access}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "Connection: close",
    ]
    connection.sendall("\r\n".join([*head, "", ""]).encode())
    return connection


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [("PATCH", "/users/me", b'{"name": "Thief"}'), ("POST", "/users/me/api-keys", b'{"name": "for later"}')],
)
def test_who_is_shut_out_while_his_request_arrives_is_shut_out(
    api: Api, sql: Sql, method: str, path: str, body: bytes
) -> None:
    """Credentials are checked before the body is read, which may take half a minute, and again afterwards."""
    session = api.person().login()
    with drip(api, session, method, path, body) as connection:
        time.sleep(0.5)  # let the server check the credentials first: otherwise the test passes but proves less
        assert session.logout().status_code == 204
        time.sleep(auth.FRESH_SECONDS + 0.2)  # what was checked before is checked again
        connection.sendall(body)
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 401 "), answer
    assert b"token_revoked" in answer
    assert one(sql, "select name from users") == "Pat"
    assert one(sql, "select count(*) from api_keys") == 0


def test_a_key_is_made_by_a_session_that_lives_until_it_is_there(api: Api) -> None:
    """Exact to the statement: ending the session and creating the key wait for each other at the account's row."""
    person = api.person()
    session, made = person.login(), person.key()
    user_id, family_id = ids(session)
    session.logout()
    with pytest.raises(TokenRevoked):
        keys.create(user_id, "for later", actor=OPERATOR, family_id=family_id)
    with pytest.raises(TokenRevoked):
        keys.rotate(user_id, UUID(made["id"]), 0, actor=OPERATOR, family_id=family_id)
    assert api.me(made["key"]) == 200


def test_a_stream_ends_with_the_session_that_opened_it(api: Api, other: Api, offer: Callable[..., str]) -> None:
    person = api.person()
    session, key = person.login(), person.key()["key"]
    assert api("POST", "/subscriptions/subscribe", key, json={"plan": "free"}).status_code == 403
    assert api("POST", "/subscriptions/subscribe", session.access, json={"plan": "free"}).status_code == 201
    path = f"/tools/{offer()}/invoke"
    accepted = api("POST", path, session.access, json={"input": {"text": "x"}}).json()["data"]
    with api("GET", f"/invocations/{accepted['id']}/events", session.access, stream=True) as stream:
        lines = stream.iter_lines(decode_unicode=True)
        assert next(line for line in lines if line.startswith("event:")) == "event: snapshot"
        assert session.logout(other).status_code == 204
        assert other("POST", f"/invocations/{accepted['id']}/cancel", key).status_code == 200
        assert [line for line in lines if line.startswith("event:")] == []


def test_logging_out_is_no_error_twice_and_concerns_one_session(api: Api) -> None:
    person = api.person()
    session, elsewhere = person.login(), person.login()
    assert [session.logout().status_code for _ in range(2)] == [204, 204]
    assert api("POST", "/auth/logout", json={"refresh_token": "jhr_unknown"}).status_code == 204
    assert api.me(elsewhere.access) == 200


def test_a_role_is_that_of_now_and_not_of_the_token(api: Api, other: Api, sql: Sql) -> None:
    person, operator = api.person(), api.person()
    for somebody in (person, operator):
        accounts.administer(somebody.uuid, actor=OPERATOR, role="admin")
    key = person.key(scopes=["admin", "tools:read"])["key"]
    session = person.login()
    roles = [other("GET", "/users/me", token).json()["data"]["role"] for token in (session.access, key)]
    assert roles == ["admin", "admin"]
    accounts.administer(person.uuid, actor=OPERATOR, role="user")
    assert other("GET", "/users/me", session.access).json()["data"]["role"] == "user"
    family = UUID(read(session.access)[1]["family"])
    assert "admin" not in authorization.of_session(person.uuid, family).scopes


def test_a_login_that_overlaps_a_new_password_starts_nothing(api: Api, sql: Sql) -> None:
    """The password is checked for 50 ms without a lock: one that was correct before a change is refused after it."""
    person = api.person()
    with db_kit.transaction() as session:
        seen = session_start._account(session, person.email, "place")
    assert seen is not None
    accounts.set_password(person.uuid, "another good one, longer", actor=OPERATOR)
    assert passwords.verify(seen.password_hash, PASSWORD)
    with pytest.raises(InvalidCredentials), db_kit.transaction() as session:
        session_start._start(session, seen, None, "place", Origin("api", "", None))


# -- the authorization cache ---------------------------------------------------------------------------------


def ids(session: Session) -> tuple[UUID, UUID]:
    claims = read(session.access)[1]
    return UUID(claims["sub"]), UUID(claims["family"])


def test_a_known_session_costs_one_redis_round_trip_and_no_statement(api: Api, redis: Client) -> None:
    who = ids(api.person().login())
    authorization.of_session(*who)
    statements: list[str] = []

    def note(_conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    event.listen(db_kit.engine(), "before_cursor_execute", note)
    redis.config_resetstat()
    try:
        assert authorization.of_session(*who).user_id == who[0]
    finally:
        event.remove(db_kit.engine(), "before_cursor_execute", note)
    called = {name: stat["calls"] for name, stat in redis.info("commandstats").items()}
    assert statements == []
    assert called.get("cmdstat_evalsha") == 1
    assert called.get("cmdstat_eval") is None


@pytest.mark.parametrize("changed", [False, True])
def test_requests_that_come_while_another_reads_the_same_wait_for_it(
    redis: Client, changed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And read it themselves if it was changed meanwhile: what the other found may be of before."""
    monkeypatch.setattr(authorization_cache, "AWAIT_SECONDS", 60.0)
    user, reads = uuid4(), list[bool]()
    others: list[Future[tuple[authorization_cache.Facts, bool]]] = []

    def read() -> authorization_cache.Facts:
        reads.append(True)
        if len(reads) == 1:
            others.extend(pool.submit(authorization_cache.facts_of, user, "session:x", read) for _ in range(4))
            (reading,) = authorization_cache._reads().values()
            eventually("all wait", 20, lambda: len(reading._cond._waiters) == 4)  # type: ignore[attr-defined]
            if changed:
                with authorization_cache.changing(user):
                    pass  # what is read from now on is another
            return {"active": True}
        return {"active": False}

    with ThreadPoolExecutor(4) as pool:
        assert authorization_cache.facts_of(user, "session:x", read)[0]["active"]
        assert {other.result()[0]["active"] for other in others} == {not changed}
    assert (len(reads) > 1) is changed


def test_who_looked_before_a_change_cannot_remember_after_it(api: Api) -> None:
    who = ids(api.person().login())
    _, generation = authorization_cache._cached(who[0], "session")
    accounts.administer(who[0], actor=OPERATOR, is_active=False)
    authorization_cache._install(who[0], f"session:{who[1]}", generation, {"active": True, "expires_at": None})
    with pytest.raises(TokenRevoked):
        authorization.of_session(*who)


@pytest.mark.parametrize("wiped", [False, True])
def test_nobody_remembers_while_a_change_is_on_its_way(api: Api, redis: Client, wiped: bool) -> None:
    """Whatever is lost in Redis meanwhile, and although nothing is deleted there after the commit."""
    who = ids(api.person().login())
    with authorization_cache.changing(who[0]) as session:
        if wiped:
            redis.flushall()
        authorization.of_session(*who)
        authorization.end_sessions(session, who[0], "owner")
        authorization.of_session(*who)
        assert not redis.hexists(f"auth:{{{who[0]}}}", f"session:{who[1]}")
    with pytest.raises(TokenRevoked):
        authorization.of_session(*who)
    assert redis.hexists(f"auth:{{{who[0]}}}", f"session:{who[1]}"), "now everybody may"


def test_a_commit_that_nobody_waits_for_is_a_change_until_it_is_over(api: Api, redis: Client, sql: Sql) -> None:
    """The client is gone, or its answer was lost: the server still has the lock."""
    who = ids(api.person().login())
    with sql.transaction():
        sql.execute("select pg_advisory_xact_lock(%s)", (authorization_cache._lock_of(who[0]),))
        assert authorization.of_session(*who).user_id == who[0]
        assert not redis.hexists(f"auth:{{{who[0]}}}", f"session:{who[1]}")
    authorization.of_session(*who)
    assert redis.hexists(f"auth:{{{who[0]}}}", f"session:{who[1]}")


def test_a_thief_is_shut_out_while_redis_is_away(api: Api, redis: Client, redis_server: Redis, sql: Sql) -> None:
    """A session whose token is reused ends even if Redis is unreachable."""
    person = api.person()
    stolen, elsewhere = person.login(), person.login()
    newest = stolen.next()
    later(sql, 11)
    redis_server.stop()
    try:
        assert code(stolen.refresh()) == (401, "token_revoked")
        reasons = sql.execute("select revoke_reason from refresh_families order by id").fetchall()
        assert [reason for (reason,) in reasons] == ["reuse", None]
        assert [api.me(newest.access), newest.refresh().status_code, elsewhere.refresh().status_code] == [401, 401, 200]
    finally:
        redis_server.start()
        redis_server.wait()
        memory.forget()
    with redis_kit.reachable():
        assert redis.ping()


def test_without_redis_people_come_in_and_changes_are_refused(
    api: Api, redis: Client, redis_server: Redis, sql: Sql
) -> None:
    person = api.person()
    session = person.login()
    redis_server.stop()
    try:
        assert [api.me(session.access), person.login().next().refresh().status_code] == [200, 200]
        refused = session.logout()
        assert code(refused) == (503, "dependency_unavailable")
        assert int(refused.headers["Retry-After"]) >= 1
        with pytest.raises(DependencyUnavailable):
            accounts.administer(person.uuid, actor=OPERATOR, is_active=False)
        assert sql.execute("select count(*) from refresh_families where revoked_at is not null").fetchone() == (0,)
        sql.execute("update refresh_families set revoked_at = now(), revoke_reason = 'logout'")
        assert api.me(session.access) == 401, "PostgreSQL is read"
    finally:
        redis_server.start()
        redis_server.wait()
        memory.forget()
    with redis_kit.reachable():
        assert redis.ping()

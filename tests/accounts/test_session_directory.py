"""Where an account is logged in, as its owner sees it, and logging out elsewhere."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from common.identity import accounts, rate_limits
from common.identity.audit import OPERATOR
from common.kit.clock import uuid7
from common.kit.redis import Client
from tests.accounts.conftest import one
from tests.accounts.people import Api, Person, Session, code

Sql = psycopg.Connection[Any]


def listed(session: Session) -> list[dict[str, Any]]:
    answer = session.api("GET", "/users/me/sessions", session.access)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["data"])


def with_agent(person: Person, agent: str) -> Session:
    """A login of a client that calls itself so."""
    body = {"email": person.email, "password": person.password}
    answer = person.api("POST", "/auth/login", json=body, headers={"User-Agent": agent})
    return Session(person.api, answer.json()["data"])


# -- the list --------------------------------------------------------------------------------------------------


def test_the_list_says_where_and_with_what(api: Api) -> None:
    person = api.person()
    first = with_agent(person, "Jungle/1.0 (toaster)")
    person.api = api.at("127.7.7.7")
    second = with_agent(person, "")
    strangers = api.person().login()

    newest, oldest = listed(first)
    assert set(newest) == {"id", "kind", "created_at", "last_seen_at", "network", "user_agent", "current"}
    assert [newest["kind"], oldest["kind"]] == ["api", "api"]
    assert [newest["network"], oldest["network"]] == ["127.7.7.7", "127.0.0.1"]
    assert [newest["user_agent"], oldest["user_agent"]] == [None, "Jungle/1.0 (toaster)"]
    assert [newest["current"], oldest["current"]] == [False, True]
    assert [each["current"] for each in listed(second)] == [True, False]
    assert len(listed(strangers)) == 1


def test_a_user_agent_is_kept_short_and_printable(api: Api) -> None:
    session = with_agent(api.person(), "a\tb\u00e9" + "x" * 300)
    [shown] = listed(session)
    assert shown["user_agent"] == ("ab\u00e9" + "x" * 300)[:256]


@pytest.mark.parametrize(
    ("ip", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.1:4711", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("[2001:db8::1]:443", "2001:db8::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("", ""),
    ],
)
def test_a_network_is_what_a_person_recognises(ip: str, network: str) -> None:
    assert rate_limits.network_of(ip) == network


def test_last_seen_is_the_last_request_to_the_minute(api: Api, redis: Client, sql: Sql) -> None:
    session = api.person().login()
    [first] = listed(session)
    redis.flushall()
    sql.execute(
        "update refresh_families set created_at = now() - interval '2 h', last_seen_at = now() - interval '1 h'"
    )
    [seen] = listed(session)
    assert seen["created_at"] < first["created_at"]
    assert seen["last_seen_at"] > first["created_at"], "the request that asks is one"
    redis.flushall()
    [again] = listed(session)
    assert again["last_seen_at"] == seen["last_seen_at"], "written once a minute at most"


def test_one_that_was_never_used_was_seen_at_its_login(api: Api) -> None:
    person = api.person()
    person.login()
    [_, unused] = listed(person.login())
    assert unused["last_seen_at"] == unused["created_at"]


@pytest.mark.parametrize(
    "ended",
    [
        "update refresh_families set expires_at = now() where id = %s",
        "update refresh_families set revoked_at = now(), revoke_reason = 'logout' where id = %s",
        "update refresh_tokens set created_at = now() - interval '14 days' where family_id = %s",
    ],
)
def test_what_has_ended_is_neither_listed_nor_ended_again(api: Api, sql: Sql, ended: str) -> None:
    person = api.person()
    person.login()
    session = person.login()
    _, old = listed(session)
    sql.execute(ended.encode(), (old["id"],))
    assert [each["current"] for each in listed(session)] == [True]
    assert code(api("DELETE", f"/users/me/sessions/{old['id']}", session.access)) == (404, "not_found")


def test_the_list_is_read_in_pages(api: Api) -> None:
    person = api.person()
    session = [person.login() for _ in range(5)][-1]
    everything, found, cursor = listed(session), [], None
    while True:
        query = {"limit": 2, **({"cursor": cursor} if cursor else {})}
        page = api("GET", "/users/me/sessions", session.access, params=query).json()
        found += page["data"]
        cursor = page["meta"]["next_cursor"]
        if cursor is None:
            break
    assert found == everything
    assert len(found) == 5


# -- ending ----------------------------------------------------------------------------------------------------


def test_one_is_ended_at_once_in_every_process(api: Api, other: Api, redis: Client, sql: Sql) -> None:
    person = api.person()
    stolen, mine = person.login(), person.login()
    assert [other.me(stolen.access), other.me(mine.access)] == [200, 200]
    _, theirs = listed(mine)
    answer = api("DELETE", f"/users/me/sessions/{theirs['id']}", mine.access)
    assert (answer.status_code, answer.content) == (204, b"")
    assert code(other("GET", "/users/me", stolen.access)) == (401, "token_revoked")
    redis.flushall()
    assert code(stolen.refresh()) == (401, "token_revoked")
    assert [other.me(mine.access), len(listed(mine))] == [200, 1]
    assert one(sql, "select target_id from audit_log where action = 'session.revoke'") == theirs["id"]


def test_ending_the_current_one_is_a_logout(api: Api) -> None:
    session = api.person().login()
    [mine] = listed(session)
    assert api("DELETE", f"/users/me/sessions/{mine['id']}", session.access).status_code == 204
    assert [api.me(session.access), session.refresh().status_code] == [401, 401]


def test_somebody_elses_is_not_there(api: Api) -> None:
    session, stranger = api.person().login(), api.person().login()
    [theirs] = listed(stranger)
    for unknown in (theirs["id"], uuid7()):
        assert code(api("DELETE", f"/users/me/sessions/{unknown}", session.access)) == (404, "not_found")
    assert api.me(stranger.access) == 200


def test_all_others_are_ended_and_keys_stay(api: Api, other: Api, sql: Sql) -> None:
    person = api.person()
    key = person.key()["key"]  # logs in, too
    elsewhere = [person.login() for _ in range(3)]
    mine, stranger = person.login(), api.person().login()
    assert {other.me(each.access) for each in elsewhere} == {200}
    answer = api("POST", "/users/me/sessions/revoke-others", mine.access)
    assert (answer.status_code, answer.json()) == (200, {"data": {"revoked": 4}})
    assert {code(other("GET", "/users/me", each.access)) for each in elsewhere} == {(401, "token_revoked")}
    assert {code(each.refresh()) for each in elsewhere} == {(401, "token_revoked")}
    assert [other.me(mine.access), mine.refresh().status_code, other.me(key), other.me(stranger.access)] == [200] * 4
    again = api("POST", "/users/me/sessions/revoke-others", mine.access)
    assert again.json() == {"data": {"revoked": 0}}
    assert one(sql, "select count(*) from audit_log where action = 'session.revoke_others'") == 1


def test_two_that_end_each_other_leave_at_most_one(api: Api) -> None:
    person = api.person()
    both = [person.login(), person.login()]
    with ThreadPoolExecutor(2) as pool:
        answers = list(
            pool.map(lambda each: api.at("127.0.0.1")("POST", "/users/me/sessions/revoke-others", each.access), both)
        )
    assert sorted(answer.status_code for answer in answers) == [200, 401]
    assert sorted(api.me(each.access) for each in both) == [200, 401]


# -- the credential --------------------------------------------------------------------------------------------


def test_a_session_says_what_it_may(api: Api, sql: Sql) -> None:
    person = api.person()
    shown = api("GET", "/users/me", person.login().access).json()["data"]
    ordinary = ["tools:read", "invocations:read", "invocations:write", "usage:read", "webhooks:manage"]
    ordinary.append("subscriptions:read")
    ends = one(sql, "select expires_at from refresh_families")
    credential = shown.pop("credential")
    assert datetime.fromisoformat(credential.pop("expires_at")) - ends < timedelta(milliseconds=1)
    assert credential == {"kind": "session", "key_id": None, "scopes": ordinary, "allowance": None}
    assert set(shown) == {"id", "email", "name", "role", "is_active", "email_verified", "created_at"}
    accounts.administer(person.uuid, actor=OPERATOR, role="admin")
    credential = api("GET", "/users/me", person.login().access).json()["data"]["credential"]
    assert credential["scopes"] == [*ordinary, "admin"]


def test_a_key_says_which_it_is_and_when_this_secret_ends(api: Api) -> None:
    person = api.person()
    ends = (datetime.now(UTC) + timedelta(days=2)).isoformat()
    made = person.key(scopes=["usage:read", "tools:read"], expires_at=ends)

    def shown(key: str) -> dict[str, Any]:
        return dict(api("GET", "/users/me", key).json()["data"]["credential"])

    assert shown(made["key"]) == {
        "kind": "api_key",
        "key_id": made["id"],
        "scopes": ["tools:read", "usage:read"],
        "expires_at": made["expires_at"],
        "allowance": None,
    }
    assert shown(person.key()["key"])["expires_at"] is None
    rotated = api(
        "POST", f"/users/me/api-keys/{made['id']}/rotate", person.login().access, json={"overlap_seconds": 600}
    ).json()["data"]
    assert shown(rotated["key"])["expires_at"] == made["expires_at"]
    old = datetime.fromisoformat(shown(made["key"])["expires_at"])
    assert timedelta(seconds=500) < old - datetime.now(UTC) <= timedelta(seconds=600)

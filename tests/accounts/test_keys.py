"""API keys: shown once, limited to their scopes, and refused as soon as they end."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import event

from common.errors import Unauthenticated
from common.identity import accounts, keys
from common.identity.audit import OPERATOR
from common.kit import db as db_kit
from common.kit.redis import Client
from tests.accounts.conftest import Mailbox, one, text_of
from tests.accounts.people import Api, code

Sql = psycopg.Connection[Any]
ALL_BUT_ADMIN = [
    "tools:read",
    "invocations:read",
    "invocations:write",
    "usage:read",
    "webhooks:manage",
    "subscriptions:read",
]


def test_a_key_is_shown_once_and_kept_as_a_hash(api: Api, sql: Sql) -> None:
    person = api.person()
    made = person.key(name="ci")
    key = made["key"]
    assert key.startswith(made["prefix"] + "_")
    assert key.endswith(made["last4"])
    assert made["scopes"] == ALL_BUT_ADMIN
    listed = api("GET", "/users/me/api-keys", person.login().access).json()
    assert listed["meta"] == {"limit": 20, "has_more": False, "next_cursor": None}
    assert listed["data"] == [{name: value for name, value in made.items() if name != "key"}]
    kept = str(sql.execute("select * from api_keys join api_key_secrets on api_key_id = api_keys.id").fetchall())
    assert key.rpartition("_")[2][:43] not in kept
    assert [api.me(key), api("GET", "/users/me", headers={"X-API-Key": key}).status_code] == [200, 200]


MANGLED: dict[str, Callable[[str], str]] = {
    "one character": lambda k: k[:30] + ("a" if k[30] != "a" else "b") + k[31:],
    "two swapped": lambda k: k[:20] + k[21] + k[20] + k[22:] if k[20] != k[21] else k[:-1],
    "lower case": str.lower,
    "cut short": lambda k: k[:-1],
    "a newline": lambda k: k + "%0a",
    "another prefix": lambda k: "jx_" + k[3:],
    "only the prefix": lambda k: "jh_",
    "long": lambda k: k * 100,
}


def test_a_typo_is_refused_without_asking_anybody(api: Api) -> None:
    key = api.person().key()["key"]
    assert {name: api.me(mangle(key)) for name, mangle in MANGLED.items()} == dict.fromkeys(MANGLED, 401)
    statements: list[str] = []

    def note(_conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    event.listen(db_kit.engine(), "before_cursor_execute", note)
    try:
        for mangle in MANGLED.values():
            with pytest.raises(Unauthenticated):
                keys.authenticate(mangle(key))
    finally:
        event.remove(db_kit.engine(), "before_cursor_execute", note)
    assert statements == []


def test_the_right_lookup_with_another_secret(api: Api) -> None:
    person = api.person()
    mine, foreign = person.key()["key"], person.key()["key"]
    lookup, secret = mine[: len("jh_") + keys.LOOKUP_CHARS + 1], foreign.rpartition("_")[2][: keys.SECRET_CHARS]
    crossed = lookup + secret
    assert code(api("GET", "/users/me", crossed + keys._checksum(crossed))) == (401, "unauthenticated")
    assert api.me(mine) == 200


def test_a_key_does_what_its_scopes_say(api: Api) -> None:
    key = api.person().key(scopes=["usage:read"])
    assert key["scopes"] == ["usage:read"]
    refused = api("GET", "/tools", key["key"])
    assert code(refused) == (403, "scope_missing")
    assert api.me(key["key"]) == 200
    assert api("GET", "/tools", api.person().key(scopes=["tools:read"])["key"]).status_code == 200


def test_a_key_never_manages_keys_or_passwords(api: Api) -> None:
    made = api.person().key()
    attempts = [
        api("GET", "/users/me/api-keys", made["key"]),
        api("POST", "/users/me/api-keys", made["key"], json={"name": "another"}),
        api("POST", f"/users/me/api-keys/{made['id']}/rotate", made["key"]),
        api("DELETE", f"/users/me/api-keys/{made['id']}", made["key"]),
        api("PATCH", "/users/me", made["key"], json={"name": "New"}),
    ]
    assert [code(answer) for answer in attempts] == [(403, "forbidden")] * 5


def test_only_admins_have_admin_keys_and_only_while_they_are(api: Api) -> None:
    person = api.person()
    session = person.login()
    body = {"name": "k", "scopes": ["admin"]}
    assert code(api("POST", "/users/me/api-keys", session.access, json=body)) == (403, "forbidden")
    accounts.administer(person.uuid, actor=OPERATOR, role="admin")
    key = person.key(scopes=["admin"])["key"]
    assert "admin" in keys.authenticate(key).scopes
    accounts.administer(UUID(api.person().id), actor=OPERATOR, role="admin")
    accounts.administer(person.uuid, actor=OPERATOR, role="user")
    assert "admin" not in keys.authenticate(key).scopes


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("scopes", []),
        ("scopes", ["everything"]),
        ("scopes", ["usage:read", "usage:read"]),
        ("scopes", "usage:read"),
        ("expires_at", "2020-01-01T00:00:00Z"),
        ("expires_at", "2090-01-01T00:00:00"),
        ("expires_at", 4102444800),
        ("name", ""),
        ("name", "a\r\nb"),
        ("user_id", "01a204b0-265b-7554-9add-83d2d873a7ce"),
        ("key", "jh_mine"),
    ],
)
def test_what_no_key_can_be(api: Api, field: str, value: object) -> None:
    answer = api("POST", "/users/me/api-keys", api.person().login().access, json={"name": "k", field: value})
    assert code(answer) == (422, "validation_failed")
    assert answer.json()["errors"][0]["pointer"].startswith(f"/{field}")


def last_and_first(request: Callable[[], int]) -> tuple[datetime, datetime]:
    """Start of the last accepted request, and end of the first refused one."""
    passed = datetime.min.replace(tzinfo=UTC)
    give_up = time.monotonic() + 20
    while time.monotonic() < give_up:
        begun = datetime.now(UTC)
        if request() != 200:
            return passed, datetime.now(UTC)
        passed = begun
        time.sleep(0.01)
    raise AssertionError("it is never refused")


def test_a_key_expires_at_its_moment(api: Api) -> None:
    deadline = datetime.now(UTC) + timedelta(seconds=1.5)
    key = api.person().key(expires_at=deadline.isoformat())["key"]
    passed, refused = last_and_first(lambda: api.me(key))
    assert passed < deadline <= refused


def test_a_rotated_secret_works_until_exactly_the_deadline(api: Api, other: Api, sql: Sql) -> None:
    person = api.person()
    made, session = person.key(), person.login()
    path = f"/users/me/api-keys/{made['id']}/rotate"
    assert other.me(made["key"]) == 200
    rotated = api("POST", path, session.access, json={"overlap_seconds": 1}).json()["data"]
    assert rotated["id"] == made["id"]
    deadline = one(sql, "select max(expires_at) from api_key_secrets")
    passed, refused = last_and_first(lambda: other.me(made["key"]))
    assert passed < deadline <= refused
    assert code(other("GET", "/users/me", made["key"])) == (401, "token_revoked")
    assert other.me(rotated["key"]) == 200


def test_each_rotated_secret_keeps_its_deadline_and_zero_ends_them_all(api: Api) -> None:
    person = api.person()
    made, session = person.key(), person.login()
    path = f"/users/me/api-keys/{made['id']}/rotate"
    second = api("POST", path, session.access).json()["data"]
    third = api("POST", path, session.access, json={"overlap_seconds": 86400}).json()["data"]
    assert [api.me(key["key"]) for key in (made, second, third)] == [200, 200, 200]
    fourth = api("POST", path, session.access, json={"overlap_seconds": 0}).json()["data"]
    assert [api.me(key["key"]) for key in (made, second, third, fourth)] == [401, 401, 401, 200]
    assert api("POST", path, session.access, json={"overlap_seconds": 86401}).status_code == 422


def test_an_endless_chain_of_overlaps_ends(api: Api) -> None:
    person = api.person()
    made, session = person.key(), person.login()
    path = f"/users/me/api-keys/{made['id']}/rotate"
    statuses = [api("POST", path, session.access).status_code for _ in range(keys.MAX_OVERLAPPING + 1)]
    assert statuses == [200] * keys.MAX_OVERLAPPING + [409]


@pytest.mark.parametrize("how", ["revoke", "disable"])
def test_a_key_is_refused_from_the_next_request_on(api: Api, other: Api, redis: Client, how: str) -> None:
    person = api.person()
    made, session = person.key(), person.login()
    assert [api.me(made["key"]), other.me(made["key"])] == [200, 200]
    if how == "revoke":
        assert api("DELETE", f"/users/me/api-keys/{made['id']}", session.access).status_code == 204
        assert api("DELETE", f"/users/me/api-keys/{made['id']}", session.access).status_code == 404
        assert api("GET", "/users/me/api-keys", session.access).json()["data"] == []
    else:
        accounts.administer(person.uuid, actor=OPERATOR, is_active=False)
    assert [api.me(made["key"]), other.me(made["key"])] == [401, 401]
    redis.flushall()
    assert [api.me(made["key"]), other.me(made["key"])] == [401, 401]


def test_somebody_elses_key_is_not_there(api: Api) -> None:
    made, stranger = api.person().key(), api.person().login()
    path = f"/users/me/api-keys/{made['id']}"
    assert code(api("DELETE", path, stranger.access)) == (404, "not_found")
    assert code(api("POST", f"{path}/rotate", stranger.access)) == (404, "not_found")
    assert api("GET", "/users/me/api-keys", stranger.access).json()["data"] == []
    assert api.me(made["key"]) == 200


def test_last_use_is_noted_without_a_write_per_request(api: Api, sql: Sql, redis: Client) -> None:
    made = api.person().key()
    before = one(sql, "select xmin::text from api_keys")
    for _ in range(5):
        assert api.me(made["key"]) == 200
        redis.flushall()  # the worst case: PostgreSQL is read each time
    used, once = sql.execute("select last_used_at, xmin::text from api_keys").fetchone() or (None, "")
    assert used is not None
    assert once != before
    assert api.me(made["key"]) == 200
    assert sql.execute("select xmin::text from api_keys").fetchone() == (once,)
    sql.execute("update api_keys set last_used_at = last_used_at - interval '61 seconds'")
    redis.flushall()
    assert api.me(made["key"]) == 200
    assert sql.execute("select last_used_at >= %s from api_keys", (used,)).fetchone() == (True,)


def test_an_account_has_a_hundred_keys(api: Api, sql: Sql) -> None:
    person = api.person()
    session = person.login()
    person.key()
    sql.execute(
        """insert into api_keys (id, user_id, name, lookup, last4, scopes)
           select gen_random_uuid(), user_id, name, 'lookup' || n, last4, scopes
           from api_keys, generate_series(1, 97) n"""
    )

    def create(n: int) -> int:
        return Api(api.base)("POST", "/users/me/api-keys", session.access, json={"name": f"{n}"}).status_code

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(create, range(6))) == [201, 201, 409, 409, 409, 409]


def test_the_owner_is_told(api: Api, mailbox: Mailbox) -> None:
    person = api.person()
    api("POST", f"/auth/verify-email/{mailbox.token('verify-email')}")
    made = person.key(name="ci <server>")
    (mail,) = mailbox.deliver()
    assert (mail["To"], mail["Subject"]) == (person.email, "An API key was created")
    assert "ci <server>" in text_of(mail)
    html = mail.get_body(("html",))
    assert html is not None
    assert "ci &lt;server&gt;" in html.get_content()
    assert api("POST", f"/users/me/api-keys/{made['id']}/rotate", person.login().access).status_code == 200
    assert [mail["Subject"] for mail in mailbox.deliver()] == ["An API key was rotated"]

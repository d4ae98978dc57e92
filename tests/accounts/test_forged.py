"""Write access to Redis does not grant access: cached authorizations count only with our signature."""

from __future__ import annotations

import json
from typing import Any

import pytest

from common.identity import accounts, authorization_cache
from common.identity.audit import OPERATOR
from common.kit import clock, crypto
from common.kit.redis import Client
from common.settings import Settings
from tests.accounts.people import Api, code

ADMIN = {"role": "admin", "active": True, "verified": True, "expires_at": None}
LATER = 10**12


def remembered(redis: Client, user_id: str) -> tuple[str, str, str]:
    """The key, field and value of the cache entry of the account's only credential."""
    key = f"auth:{{{user_id}}}"
    fields: Any = redis.hgetall(key)
    ((field, value),) = ((field, value) for field, value in fields.items() if field not in {"generation", "run"})
    return key, field, value


def altered(value: str, **changes: Any) -> str:
    """Changed facts with the original signature."""
    mac, _, text = value.rpartition(" {")
    return f"{mac} {json.dumps({**json.loads('{' + text), **changes})}".strip()


def test_a_forged_role_opens_nothing(api: Api, other: Api, redis: Client) -> None:
    person = api.person()
    token = person.login().access
    assert code(api("GET", "/admin/users", token)) == (403, "forbidden")
    key, field, value = remembered(redis, person.id)
    alone = json.dumps({**ADMIN, "until": LATER})
    for forged in (
        json.dumps(ADMIN),
        alone,
        f" {alone}",
        altered(value, role="admin"),
        altered(value, until=LATER, role="admin"),
        f"{'A' * 43} {alone}",
        f"ä {alone}",
        "",
        "null",
    ):
        redis.hset(key, field, forged)
        for one in (api, other):
            assert code(one("GET", "/admin/users", token)) == (403, "forbidden"), forged
            assert one.me(token) == 200, forged
    assert remembered(redis, person.id)[2] not in ("", "null"), "the correct entry is cached again"


def test_what_is_true_of_one_is_not_true_of_another(api: Api, redis: Client) -> None:
    """An admin's correctly signed entry, copied to another account or to another of their credentials."""
    admin, person = api.person(), api.person()
    accounts.administer(admin.uuid, actor=OPERATOR, role="admin")
    theirs = admin.login().access
    assert api("GET", "/admin/users", theirs).status_code == 200
    _, _, signed = remembered(redis, admin.id)
    token = person.login().access
    assert api.me(token) == 200
    key, field, _ = remembered(redis, person.id)
    redis.hset(key, field, signed)
    assert code(api("GET", "/admin/users", token)) == (403, "forbidden")


def test_a_key_has_the_scopes_and_the_secrets_that_it_has(api: Api, redis: Client) -> None:
    person = api.person()
    made = person.key(scopes=["tools:read"])
    assert api("GET", "/tools", made["key"]).status_code == 200
    fields: Any = redis.hgetall(f"auth:{{{person.id}}}")
    field = f"key:{made['id']}"
    secrets = [[crypto.digest("mine"), None]]
    for changes in ({"scopes": ["usage:read"]}, {"secrets": secrets}, {"active": False}):
        redis.hset(f"auth:{{{person.id}}}", field, altered(fields[field], **changes))
        assert api("GET", "/tools", made["key"]).status_code == 200
        assert code(api("GET", "/usage", made["key"])) == (403, "scope_missing")


def test_what_was_true_is_not_brought_back_later(api: Api, redis: Client) -> None:
    """An ended session with an entry signed before: valid for at most a minute."""
    person = api.person()
    session = person.login()
    assert api.me(session.access) == 200
    key, field, value = remembered(redis, person.id)
    assert session.logout().status_code == 204
    text = json.loads(value[value.index("{") :])
    assert text["until"] <= clock.now().timestamp() + authorization_cache.CACHE_SECONDS
    past = json.dumps({**text, "until": clock.now().timestamp() - 1})
    redis.hset(key, field, crypto.sign("standing", f"{person.id} {field}", past))
    assert code(api("GET", "/users/me", session.access)) == (401, "token_revoked")


def test_what_a_process_has_read_before_is_not_taken_for_what_redis_has_now(api: Api, redis: Client) -> None:
    person = api.person()
    token = person.login().access
    for _ in range(2):  # the second time Redis has an entry, which the process remembers
        assert api.me(token) == 200
    key, field, value = remembered(redis, person.id)
    ended = json.dumps({**json.loads(value[value.index("{") :]), "active": False})
    redis.hset(key, field, crypto.sign("standing", f"{person.id} {field}", ended))
    assert code(api("GET", "/users/me", token)) == (401, "token_revoked")


@pytest.fixture
def keys(settings: Settings) -> Any:
    yield crypto.configure
    crypto.configure(settings.secrets_keys)


def test_signatures_outlive_a_rotation(keys: Any) -> None:
    keys(["old"])
    signed = crypto.sign("standing", "ada", "{}")
    keys(["new", "old"])
    assert crypto.verified("standing", "ada", signed) == "{}"
    assert crypto.verified("standing", "bob", signed) is None
    assert crypto.verified("else", "ada", signed) is None
    keys(["new"])
    assert crypto.verified("standing", "ada", signed) is None

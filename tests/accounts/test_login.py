"""Login: no account enumeration, guessing is limited, and the owner is never locked out."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import argon2
import psycopg
import pytest
import requests

from common import errors
from common.identity import passwords, rate_limits, sessions
from common.kit import hashing
from common.kit.redis import Client
from common.settings import Settings
from tests.accounts.conftest import Mailbox, one
from tests.accounts.people import PASSWORD, Api, code
from web.app import create_app

WRONG = "not the password at all"
REAL_HASH = argon2.PasswordHasher(time_cost=2, memory_cost=32 * 1024, parallelism=1).hash("any")


def test_a_wrong_address_and_a_wrong_password_read_alike(api: Api) -> None:
    person = api.person()
    wrong = api.login(person.email, WRONG)
    unknown = api.login("nobody@example.com", WRONG)
    nonsense = api.login("no address", WRONG)
    assert {code(answer) for answer in (wrong, unknown, nonsense)} == {(401, "invalid_credentials")}
    assert wrong.headers["WWW-Authenticate"].startswith("Bearer")
    bodies = [{**answer.json(), "request_id": None} for answer in (wrong, unknown, nonsense)]
    assert bodies[0] == bodies[1] == bodies[2]
    assert set(wrong.headers) == set(unknown.headers)


def test_an_unknown_address_costs_a_hash_too(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time itself is compared in tools/bench/; here: the same work is done."""
    api.person("somebody@example.com")
    computed: list[str] = []
    compute = hashing.matches

    def watched(encoded: str, password: str) -> bool:
        computed.append(encoded)
        return compute(encoded, password)

    monkeypatch.setattr(hashing, "matches", watched)
    for email in ("somebody@example.com", "nobody@example.com"):
        with pytest.raises(errors.InvalidCredentials):
            sessions.login(email, WRONG, ip="127.0.0.1")
    assert [encoded.split("$")[3] for encoded in computed] == ["m=32768,t=2,p=1"] * 2


def test_the_first_unknown_address_costs_no_more_than_the_next(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The decoy hash is not computed: otherwise the first login after a start would take longer."""
    monkeypatch.setattr("argon2._password_hasher.hash_secret", lambda **_: pytest.fail("computed"))
    hashing.decoy.cache_clear()
    assert not hashing.matches(hashing.decoy(), WRONG)
    assert not hashing.outdated(hashing.decoy())
    assert argon2.extract_parameters(hashing.decoy()) == argon2.extract_parameters(REAL_HASH)


def test_a_right_password_lets_in_though_there_is_no_time_to_renew_its_hash(db: None) -> None:
    old = argon2.PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1).hash(PASSWORD)
    slots = hashing._slots()
    taken = sum(slots.acquire(blocking=False) for _ in range(hashing.SLOTS))
    patience, hashing.QUEUE_SECONDS = hashing.QUEUE_SECONDS, 0.01
    try:
        assert passwords.rehash(old, PASSWORD) is None
    finally:
        hashing.QUEUE_SECONDS = patience
        for _ in range(taken):
            slots.release()
    assert passwords.rehash(old, PASSWORD)


def test_that_an_account_is_disabled_is_told_to_its_owner_only(api: Api, sql: psycopg.Connection[Any]) -> None:
    person = api.person()
    sql.execute("update users set is_active = false")
    assert code(api.login(person.email, WRONG)) == (401, "invalid_credentials")
    assert code(api.login(person.email)) == (403, "account_disabled")


def test_an_old_hash_is_renewed_by_a_login(api: Api, sql: psycopg.Connection[Any]) -> None:
    person = api.person()
    old = argon2.PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1).hash(PASSWORD)
    sql.execute("update users set password_hash = %s", (old,))
    person.login()
    renewed = one(sql, "select password_hash from users")
    assert "m=32768,t=2,p=1" in renewed
    person.login()


def test_guessing_ends_after_ten_and_a_wiped_redis_changes_nothing(api: Api, redis: Client) -> None:
    person = api.person()
    assert {api.login(person.email, WRONG).status_code for _ in range(10)} == {401}
    refused = api.login(person.email, WRONG)
    assert code(refused) == (429, "too_many_attempts")
    assert 0 < int(refused.headers["Retry-After"]) <= 15 * 60
    redis.flushall()
    assert api.login(person.email).status_code == 429, "the correct password, from an unknown network"
    assert api.login(api.person().email).status_code == 200, "others are not affected"


def test_a_reset_lets_the_owner_into_every_new_network(api: Api, mailbox: Mailbox) -> None:
    """Ten failures lock an account for 15 minutes, for networks from which it has never logged in."""
    person = api.person()
    for _ in range(11):
        api.at("127.0.0.66").login(person.email, WRONG)
    assert code(api.at("127.0.0.7").login(person.email)) == (429, "too_many_attempts")
    mailbox.deliver()
    assert api("POST", "/auth/password-reset", json={"email": person.email}).status_code == 202
    reset = f"/auth/password-reset/{mailbox.token('password-reset')}"
    assert api("POST", reset, json={"password": "a new one for the heron"}).status_code == 204
    assert api.at("127.0.0.7").login(person.email, "a new one for the heron").status_code == 200


def test_the_window_ends_and_success_gives_its_attempt_back(api: Api, sql: psycopg.Connection[Any]) -> None:
    person = api.person()
    for _ in range(12):
        person.login()
    for _ in range(11):
        api.at("127.0.0.2").login(person.email, WRONG)
    assert api.at("127.0.0.2").login(person.email).status_code == 429
    sql.execute("update throttles set ends_at = now()")
    assert api.at("127.0.0.2").login(person.email).status_code == 200


def test_a_stranger_cannot_lock_the_owner_out(api: Api) -> None:
    """On a known network of the owner, failures from elsewhere do not count; guesses from there count separately."""
    person = api.person()
    person.login()
    stranger = api.at("127.0.0.66")
    while stranger.login(person.email, WRONG).status_code != 429:
        pass
    person.login()
    assert {api.login(person.email, WRONG).status_code for _ in range(10)} == {401}
    assert api.login(person.email).status_code == 429


def test_forty_guesses_at_once_are_forty_guesses(api: Api) -> None:
    person = api.person()
    with ThreadPoolExecutor(20) as pool:
        answers = Counter(pool.map(lambda _: Api(api.base).login(person.email, WRONG).status_code, range(40)))
    assert answers == {401: 10, 429: 30}


def test_a_network_fails_a_hundred_times(api: Api, sql: psycopg.Connection[Any]) -> None:
    person = api.person()
    assert api.login("somebody@example.com", WRONG).status_code == 401
    _, bucket = rate_limits.per_ip(rate_limits.LOGINS_PER_IP, "127.0.0.1")
    assert sql.execute("update throttles set attempts = 99 where bucket = %s", (bucket,)).rowcount == 1
    assert api.login("another@example.com", WRONG).status_code == 401
    assert api.login("yet-another@example.com", WRONG).status_code == 429
    headers = {"X-Forwarded-For": "198.51.100.7", "Forwarded": "for=198.51.100.7", "X-Real-IP": "198.51.100.7"}
    body = {"email": person.email, "password": PASSWORD}
    assert api("POST", "/auth/login", json=body, headers=headers).status_code == 429, "a header is not an address"
    assert api.at("127.0.0.3").login(person.email).status_code == 200


@pytest.mark.parametrize(
    ("one", "two", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("2001:db8:1:2::3", "2001:db8:1:2:ffff::4", True),
        ("2001:db8:1:2::3", "2001:db8:1:3::3", False),
        ("192.0.2.1:4001", "192.0.2.1:4002", True),
        ("192.0.2.1:4001", "192.0.2.2:4001", False),
        ("[2001:db8:1:2::3]:4001", "2001:db8:1:2::3", True),
    ],
)
def test_a_client_is_an_ipv4_address_or_an_ipv6_network(db: None, one: str, two: str, same: bool) -> None:
    assert (rate_limits.client_network(one) == rate_limits.client_network(two)) is same


@pytest.mark.parametrize(
    ("hops", "forwarded", "address"),
    [
        (0, "198.51.100.7", "127.0.0.1"),
        (1, "198.51.100.7", "198.51.100.7"),
        (1, "203.0.113.1, 198.51.100.7", "198.51.100.7"),
        (2, "192.0.2.9, 203.0.113.1, 198.51.100.7", "203.0.113.1"),
        (1, "", "127.0.0.1"),
    ],
)
def test_a_client_is_where_the_trusted_proxies_say(
    settings: Settings, sql: psycopg.Connection[Any], hops: int, forwarded: str, address: str
) -> None:
    """Addresses that the client itself adds are ignored."""
    client = create_app(replace(settings, trusted_proxies=hops)).test_client()
    body = {"email": "a@example.com", "password": WRONG}
    client.post("/api/v1/auth/login", json=body, headers={"X-Forwarded-For": forwarded})
    _, bucket = rate_limits.per_ip(rate_limits.LOGINS_PER_IP, address)
    assert one(sql, "select attempts from throttles where bucket = %s", bucket) == 1


def test_hashing_does_not_stop_the_other_requests_of_the_process(api: Api, sql: psycopg.Connection[Any]) -> None:
    """With hashes that take more than a second, during which a blocked event loop would serve no one."""
    person = api.person()
    slow = argon2.PasswordHasher(time_cost=50, memory_cost=32 * 1024, parallelism=1).hash(PASSWORD)
    sql.execute("update users set password_hash = %s", (slow,))
    login = threading.Thread(target=lambda: Api(api.base).login(person.email, WRONG))
    login.start()
    served = 0
    with requests.Session() as session:
        while login.is_alive():
            served += session.get(f"{api.base}/health", timeout=20).ok
    assert served > 60

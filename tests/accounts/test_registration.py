"""Registration: one account per address in any spelling, and no common passwords."""

from __future__ import annotations

import importlib.util
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from common.identity import rate_limits
from tests.accounts.conftest import one
from tests.accounts.people import PASSWORD, Api, code


def test_what_is_shown_and_what_is_kept(api: Api, sql: psycopg.Connection[Any]) -> None:
    body = {"email": "Ada@Example.com", "password": PASSWORD, "name": "Ada"}
    answer = api("POST", "/auth/register", json=body)
    assert answer.status_code == 201
    shown = answer.json()["data"]
    assert answer.headers["Location"].endswith("/api/v1/users/me")
    assert {k: shown[k] for k in ("email", "name", "role", "is_active", "email_verified")} == {
        "email": "Ada@Example.com",
        "name": "Ada",
        "role": "user",
        "is_active": True,
        "email_verified": False,
    }
    kept = one(sql, "select password_hash from users")
    assert kept.startswith("$argon2id$v=19$m=32768,t=2,p=1$")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("ada@example.com", "ADA@EXAMPLE.COM"),
        ("j\u00f6rg@example.com", "jo\u0308rg@example.com"),
        ("x@b\u00fccher.example", "x@xn--bcher-kva.example"),
        ("stra\u00dfe@example.com", "STRA\u1e9eE@example.com"),
        ("\u03bb@example.com", "\u039b@example.com"),
    ],
)
def test_one_address_however_it_is_written(api: Api, first: str, second: str) -> None:
    api.person(first)
    taken = api("POST", "/auth/register", json={"email": second, "password": PASSWORD, "name": "Two"})
    assert code(taken) == (409, "email_taken")
    assert api.login(second).status_code == 200


def test_nobody_is_kept_out_by_one_who_is_spelled_alike(api: Api) -> None:
    for name in ("stra\u00dfe", "strasse", "\u017ftrasse", "\ufb01sh", "fish"):
        assert api.login(api.person(f"{name}@example.com").email).status_code == 200


def test_twenty_at_once_make_one_account(api: Api) -> None:
    def register(_: int) -> int:
        body = {"email": "rush@example.com", "password": PASSWORD, "name": "R"}
        return Api(api.base)("POST", "/auth/register", json=body).status_code

    with ThreadPoolExecutor(10) as pool:
        assert sorted(pool.map(register, range(20))) == [201] + [409] * 19


@pytest.mark.parametrize(
    "email",
    [
        "",
        "nobody",
        "a@b@example.com",
        "a@b",
        "a..b@example.com",
        '"a b"@example.com',
        "a@[127.0.0.1]",
        "a@example.com\r\nBcc: all@example.com",
        "a@example.com.",
        f"{'a' * 65}@example.com",
        f"a@{'b' * 250}.com",
        "a@exa mple.com",
        None,
        7,
    ],
)
def test_what_is_no_address(api: Api, email: object) -> None:
    refused = api("POST", "/auth/register", json={"email": email, "password": PASSWORD, "name": "A"})
    assert code(refused) == (422, "validation_failed")
    assert refused.json()["errors"][0]["pointer"] == "/email"


@pytest.mark.parametrize("field", ["role", "is_active", "id", "email_verified", "email_verified_at", "password_hash"])
def test_nobody_registers_more_than_an_account(api: Api, field: str) -> None:
    body = {"email": "a@example.com", "password": PASSWORD, "name": "A", field: "admin"}
    refused = api("POST", "/auth/register", json=body)
    assert code(refused) == (422, "validation_failed")
    assert refused.json()["errors"][0]["pointer"] == f"/{field}"


@pytest.mark.parametrize(
    ("password", "status"),
    [
        ("\U0001f40d" * 9, 422),
        ("gx-\U0001f40d-hmwtzk", 201),
        ("x7 " * 21 + "q", 201),
        ("wk3-" * 18 + "z", 201),
        ("zu7-" * 32, 201),
        ("zu7-" * 32 + "!", 422),
        ("q" * 5000, 422),
        ("  spaces count here  ", 201),
        ("password1234", 422),
        ("pAsSwOrD1234", 422),
        ("qwertyuiop", 422),
        ("my.own.name@example.com", 422),
        ("X-My.Own.Name@Example.com-X", 422),
        ("my.own.name12", 422),
        ("my.own.name-and-quite-a-lot-more", 201),
    ],
)
def test_passwords(api: Api, password: str, status: int) -> None:
    body = {"email": "my.own.name@example.com", "password": password, "name": "A"}
    answer = api("POST", "/auth/register", json=body)
    assert answer.status_code == status, answer.text
    if status == 201:
        assert api.login("my.own.name@example.com", password).status_code == 200
    elif len(password) < 1000:
        assert answer.json()["code"] == "weak_password"


def test_every_character_of_a_password_counts(api: Api) -> None:
    """No truncation (bcrypt's 72 bytes), case folding or trimming; only NFC and NFD are equivalent."""
    long = "j\u00f6" * 45
    api.person("long@example.com", long)
    assert api.login("long@example.com", long[:-1] + "o").status_code == 401
    assert api.login("long@example.com", long.upper()).status_code == 401
    assert api.login("long@example.com", long + " ").status_code == 401
    assert api.login("long@example.com", unicodedata.normalize("NFD", long)).status_code == 200
    api.person("nul@example.com", "heron \0 in the water")
    found = [api.login("nul@example.com", f"heron {char} in the water").status_code for char in ("\0", "\1", "")]
    assert found == [200, 401, 401]


@pytest.mark.parametrize("name", ["bcrypt", "passlib"])
def test_no_hash_that_cuts_passwords_off_is_at_hand(name: str) -> None:
    """bcrypt reads 72 bytes; passlib is no longer maintained."""
    assert importlib.util.find_spec(name) is None


def test_a_network_registers_a_hundred_an_hour(api: Api, sql: psycopg.Connection[Any]) -> None:
    api.person()
    _, bucket = rate_limits.per_ip(rate_limits.REGISTRATIONS_PER_IP, "127.0.0.1")
    assert sql.execute("update throttles set attempts = 99 where bucket = %s", (bucket,)).rowcount == 1
    api.person()
    refused = api("POST", "/auth/register", json={"email": "b@example.com", "password": PASSWORD, "name": "B"})
    assert code(refused) == (429, "too_many_attempts")
    assert 0 < int(refused.headers["Retry-After"]) <= 3600
    api.at("127.0.0.9").person()

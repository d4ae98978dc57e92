"""Access tokens: signed by us, unaltered, for our audience, not expired, in the right header; anything else is 401."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import uuid4

import jwt
import pytest

from common.kit.clock import uuid7
from common.settings import DEVELOPMENT_SECRETS, Settings
from tests.accounts.conftest import PUBLIC_URL
from tests.accounts.people import PASSWORD, Api, Session, code
from web.app import create_app
from web.http import access_tokens

KEY = DEVELOPMENT_SECRETS["JWT_SECRET_KEY"]
Forge = Callable[[dict[str, Any], dict[str, Any]], str]


def encoded(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def part(value: object) -> str:
    return encoded(json.dumps(value).encode())


def read(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims, unverified."""
    return jwt.get_unverified_header(token), jwt.decode(token, options={"verify_signature": False})


def sign(header: dict[str, Any], claims: dict[str, Any], key: str = KEY, algorithm: str = "HS256") -> str:
    return jwt.encode(claims, key, algorithm=algorithm, headers=header)


def test_what_a_token_says(api: Api) -> None:
    person = api.person()
    header, claims = read(person.login().access)
    assert header["alg"] == "HS256"
    assert claims["sub"] == person.id
    assert claims["exp"] - claims["iat"] == 15 * 60
    assert claims["iss"] == PUBLIC_URL
    assert {"aud", "jti", "nbf", "family"} <= set(claims)
    assert "role" not in claims
    assert "email" not in claims


def test_signed_by_us_is_taken(api: Api) -> None:
    """The table below forges with this key and function, so its tokens are refused for the intended reason."""
    header, claims = read(api.person().login().access)
    assert api.me(sign(header, {**claims, "jti": "another", "role": "admin"})) == 200


NOW = int(time.time())
FORGED: dict[str, Forge] = {
    "alg none": lambda h, c: f"{part({**h, 'alg': 'none'})}.{part(c)}.",
    "alg None": lambda h, c: f"{part({**h, 'alg': 'None'})}.{part(c)}.",
    "HS512 with our key": lambda h, c: sign({**h, "alg": "HS512"}, c, algorithm="HS512"),
    "another key": lambda h, c: sign(h, c, key="x" * 40),
    "an empty key": lambda h, c: f"{part(h)}.{part(c)}.{part('')}",
    "no kid": lambda h, c: sign({}, c),
    "unknown kid": lambda h, c: sign({**h, "kid": "0" * 16}, c),
    "kid as a path": lambda h, c: sign({**h, "kid": "../../dev/null"}, c, key="\0" * 32),
    "kid as a list": lambda h, c: f"{part({**h, 'kid': [h['kid']]})}.{part(c)}.x",
    "a key in the header": lambda h, c: sign({"jwk": {"kty": "oct", "k": part("x" * 40)}}, c, key="x" * 40),
    "another issuer": lambda h, c: sign(h, {**c, "iss": "https://evil.example"}),
    "another audience": lambda h, c: sign(h, {**c, "aud": "somebody-else"}),
    "no audience": lambda h, c: sign(h, {k: v for k, v in c.items() if k != "aud"}),
    "a refresh token by type": lambda h, c: sign(h, {**c, "type": "refresh"}),
    "not yet": lambda h, c: sign(h, {**c, "nbf": NOW + 3600}),
    "from the future": lambda h, c: sign(h, {**c, "iat": NOW + 3600}),
    "no exp": lambda h, c: sign(h, {k: v for k, v in c.items() if k != "exp"}),
    "exp as text": lambda h, c: sign(h, {**c, "exp": "tomorrow"}),
    "exp without end": lambda h, c: sign(h, {**c, "exp": float("inf")}),
    "sub as a number": lambda h, c: sign(h, {**c, "sub": 1}),
    "sub that is no id": lambda h, c: sign(h, {**c, "sub": "admin"}),
    "no jti": lambda h, c: sign(h, {k: v for k, v in c.items() if k != "jti"}),
    "no family": lambda h, c: sign(h, {k: v for k, v in c.items() if k != "family"}),
    "a list of claims": lambda h, c: f"{part(h)}.{part([c])}.x",
    "deep claims": lambda h, c: f"{part(h)}.{encoded(b'[' * 2800)}.{encoded(b'x')}",
    "huge numbers": lambda h, c: f"{part(h)}.{encoded(b'9' * 2800)}.{encoded(b'x')}",
    "altered": lambda h, c: sign(h, c)[:-3] + "abc",
    "two parts": lambda h, c: sign(h, c).rpartition(".")[0],
    "too long": lambda h, c: sign(h, {**c, "x": "y" * 5000}),
    "beyond ASCII": lambda h, c: "\xe9.\xff.\xe9",
    "nonsense": lambda h, c: "nonsense",
    "dots": lambda h, c: "..",
}


@pytest.fixture
def session(api: Api) -> Session:
    return api.person().login()


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
def test_forged_tokens(api: Api, session: Session) -> None:
    header, claims = read(session.access)
    answers = {name: code(api("GET", "/users/me", forge(header, claims))) for name, forge in FORGED.items()}
    assert answers == dict.fromkeys(FORGED, (401, "unauthenticated"))
    assert api.me(session.access) == 200


def test_an_expired_token_says_so(api: Api, session: Session) -> None:
    header, claims = read(session.access)
    answer = api("GET", "/users/me", sign(header, {**claims, "exp": int(time.time()) - 1}))
    assert code(answer) == (401, "token_expired")
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]


def test_a_token_names_a_session_of_its_own_account(api: Api, session: Session) -> None:
    header, claims = read(session.access)
    other = read(api.person().login().access)[1]
    swapped = [{**claims, "sub": other["sub"]}, {**claims, "family": str(uuid7())}, {**claims, "sub": str(uuid4())}]
    assert [code(api("GET", "/users/me", sign(header, c))) for c in swapped] == [(401, "token_revoked")] * 3


def test_only_the_header_carries_credentials(api: Api, session: Session) -> None:
    token = session.access
    elsewhere: list[dict[str, Any]] = [
        {"cookies": {"access_token_cookie": token, "access_token": token}},
        {"headers": {"Authorization": token}},
        {"headers": {"Authorization": f"Basic {token}"}},
        {"headers": {"Authorization": "Bearer"}},
        {"headers": {"Authorization": "Bearer "}},
        {"headers": {"Authorization": ""}},
        {"headers": {"Authorization": f"Bearer  {token}"}},
        {"headers": {"Authorization": f"Bearer {token}, Bearer {token}"}},
        {"headers": {"X-API-Key": token}},
        {"headers": {"X-API-Key": ""}},
    ]
    assert [code(api("GET", "/users/me", **request)) for request in elsewhere] == [(401, "unauthenticated")] * 10
    assert api("GET", f"/users/me?access_token={token}").status_code == 401
    assert api("GET", "/users/me", headers={"authorization": f"bearer {token}"}).status_code == 200


def test_no_answer_sets_a_cookie(api: Api) -> None:
    person = api.person()
    pair = api.login(person.email)
    answers = [pair, Session(api, pair.json()["data"]).refresh(), api("GET", "/users/me", person.login().access)]
    assert [answer.headers.get("Set-Cookie") for answer in answers] == [None] * 3


def test_two_credentials_at_once_are_refused(api: Api) -> None:
    person = api.person()
    key = person.key()["key"]
    answer = api("GET", "/users/me", person.login().access, headers={"X-API-Key": key})
    assert code(answer) == (400, "invalid_header")


def test_a_refresh_token_is_no_access_token_nor_the_other_way_round(api: Api, session: Session) -> None:
    assert api.me(session.refresh_token) == 401
    crossed = api("POST", "/auth/refresh", json={"refresh_token": session.access})
    assert code(crossed) == (401, "unauthenticated")


def test_signing_keys_rotate_without_signing_anybody_out(db: None, settings: Settings) -> None:
    """The new key signs from now on; tokens signed by the old one are valid until it is removed from the list."""
    new = "a key for the new year, long enough to sign"

    def served_with(*keys: str) -> Any:
        return create_app(replace(settings, jwt_secret_keys=keys)).test_client()

    before, during, after = served_with(KEY), served_with(new, KEY), served_with(new)
    before.post("/api/v1/auth/register", json={"email": "a@example.com", "password": PASSWORD, "name": "A"})
    login = {"email": "a@example.com", "password": PASSWORD}
    old_token = before.post("/api/v1/auth/login", json=login).json["data"]["access_token"]
    new_token = during.post("/api/v1/auth/login", json=login).json["data"]["access_token"]

    def me(client: Any, token: str) -> int:
        return int(client.get("/api/v1/users/me", headers={"Authorization": f"Bearer {token}"}).status_code)

    assert read(old_token)[0]["kid"] != read(new_token)[0]["kid"]
    assert [me(before, old_token), me(during, old_token), me(after, old_token)] == [200, 200, 401]
    assert [me(before, new_token), me(during, new_token), me(after, new_token)] == [401, 200, 200]
    assert KEY not in access_tokens._kid(KEY)

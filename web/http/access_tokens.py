"""Access tokens: short-lived JWTs, signed by the newest of `JWT_SECRET_KEYS` and verified by any of them.

`seal` and `unseal` make and read tokens of another audience with the same keys, for faces that carry sessions in
another way; neither kind is taken for the other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import jwt
from flask import Flask, current_app
from flask_jwt_extended import JWTManager, create_access_token, decode_token
from flask_jwt_extended.exceptions import JWTExtendedException

from common.errors import TokenExpired, Unauthenticated
from common.identity import sessions
from common.kit import clock
from common.kit.cache import Cache
from common.settings import Settings

ALGORITHM = "HS256"
#: Allowed clock difference between our hosts for `iat` and `nbf`; `exp` is exact.
SKEW_SECONDS = 5
MAX_TOKEN_CHARS = 4096
REMEMBERED_TOKENS = 4_000


def init(app: Flask, settings: Settings) -> None:
    """Configure the app to sign and verify access tokens. The first key signs, all verify; `kid` names the key."""
    ring = {_kid(key): key for key in settings.jwt_secret_keys}
    newest = settings.jwt_secret_keys[0]
    app.config.update(
        JWT_ALGORITHM=ALGORITHM,
        JWT_DECODE_ALGORITHMS=[ALGORITHM],
        JWT_TOKEN_LOCATION=["headers"],
        JWT_COOKIE_CSRF_PROTECT=False,  # no cookies; its random claim would break the determinism of `sign`
        JWT_ENCODE_ISSUER=settings.public_url,
        JWT_DECODE_ISSUER=settings.public_url,
        JWT_ENCODE_AUDIENCE="joyfull-hub",
        JWT_DECODE_AUDIENCE="joyfull-hub",
        JWT_DECODE_LEEWAY=SKEW_SECONDS,
    )
    manager = JWTManager(app)
    app.extensions["access_tokens"] = Cache(REMEMBERED_TOKENS)
    app.extensions["signing_keys"] = ring

    @manager.encode_key_loader
    def signing_key(_identity: object) -> str:
        return newest

    @manager.decode_key_loader
    def verifying_key(header: dict[str, object], _claims: dict[str, object]) -> str:
        key = ring.get(str(header.get("kid")))
        if key is None:
            raise jwt.InvalidTokenError("signed with an unknown key")
        return key

    @manager.additional_headers_loader
    def name_the_key(_identity: object) -> dict[str, str]:
        return {"kid": _kid(newest)}


def sign(pair: sessions.TokenPair) -> str:
    """The access token of a pair. Deterministic, so that concurrent refreshes get the same token."""
    claims = {
        "iat": pair.issued_at,
        "nbf": pair.issued_at,
        "exp": pair.access_expires_at,
        "jti": str(pair.token_id),
        "family": str(pair.family_id),
    }
    lifetime = timedelta(seconds=sessions.ACCESS_SECONDS)
    token: str = create_access_token(str(pair.user_id), additional_claims=claims, expires_delta=lifetime)
    return token


class _Claims(NamedTuple):
    """The claims of a verified access token; `expires` in seconds since 1970."""

    user_id: UUID
    family_id: UUID
    expires: float


def verify(token: str) -> tuple[UUID, UUID]:
    """The account and session of an access token. Raises `TokenExpired`, or `Unauthenticated` if it is not valid.

    The signature is verified once and the result cached. Expiry, and the state of the session
    (`sessions.authenticate`), are checked every time.
    """
    known: Cache[str, _Claims] = current_app.extensions["access_tokens"]
    claims = known.get(token)
    if claims is None:
        claims = _decoded(token)
        known.put(token, claims)
    if claims.expires <= clock.now().timestamp():
        known.drop(token)
        raise TokenExpired
    return claims.user_id, claims.family_id


def _decoded(token: str) -> _Claims:
    if len(token) > MAX_TOKEN_CHARS:
        raise Unauthenticated
    try:
        claims = decode_token(token)
        if claims["type"] != "access" or not claims["jti"]:
            raise Unauthenticated
        return _Claims(UUID(claims["sub"]), UUID(claims["family"]), claims["exp"])
    except jwt.ExpiredSignatureError as error:
        raise TokenExpired from error
    except (jwt.PyJWTError, JWTExtendedException, ValueError, KeyError, TypeError) as error:
        raise Unauthenticated from error


def seal(audience: str, claims: Mapping[str, object], *, expires_at: datetime) -> str:
    """A token for `audience` (another than that of access tokens), which ends at `expires_at`."""
    kid, newest = next(iter(_ring().items()))
    own = {"iss": current_app.config["PUBLIC_URL"], "aud": audience, "iat": clock.now(), "exp": expires_at}
    return jwt.encode({**claims, **own}, newest, ALGORITHM, headers={"kid": kid})


def unseal(audience: str, token: str) -> dict[str, object]:
    """The claims of a token made by `seal` for this audience. Raises `TokenExpired`, or `Unauthenticated`."""
    try:
        if len(token) > MAX_TOKEN_CHARS:
            raise Unauthenticated
        key = _ring().get(str(jwt.get_unverified_header(token).get("kid")), "")
        issuer, required = current_app.config["PUBLIC_URL"], ["exp", "iat", "iss", "aud"]
        options: jwt.types.Options = {"require": required}
        found: dict[str, object] = jwt.decode(
            token, key, [ALGORITHM], audience=audience, issuer=issuer, leeway=SKEW_SECONDS, options=options
        )
        return found
    except jwt.ExpiredSignatureError as error:
        raise TokenExpired from error
    except (jwt.PyJWTError, ValueError) as error:
        raise Unauthenticated from error


def _ring() -> dict[str, str]:
    """The signing keys by `kid`, the newest first."""
    ring: dict[str, str] = current_app.extensions["signing_keys"]
    return ring


def _kid(key: str) -> str:
    """The `kid` of a signing key: a hash that reveals nothing about it."""
    return hashlib.sha256(b"joyfull-hub/kid/" + key.encode()).hexdigest()[:16]

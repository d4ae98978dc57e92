"""Who is calling: an access token or an API key becomes a `Caller`; every view states what it needs, once.

    @auth.public                    anybody
    @auth.signed_in                 any credential, whatever its scopes
    @auth.needs("usage:read")       a session, or a key with that scope
    @auth.session_only              a session; keys are refused
    @auth.admin                     an admin's session, or an admin's key with the scope `admin`

The decorator stands outermost on the view (credentials are checked before the body is read) and leaves
`view.policy`, so that a route which states nothing can be found at start-up.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial, wraps
from typing import Any, NamedTuple, ParamSpec, TypeVar
from uuid import UUID

import jwt
from flask import Flask, current_app, g, request
from flask_jwt_extended import JWTManager, create_access_token, decode_token
from flask_jwt_extended.exceptions import JWTExtendedException

from common.errors import Forbidden, InvalidHeader, ScopeMissing, TokenExpired, Unauthenticated
from common.identity import audit, keys, sessions
from common.identity.authorization import Caller
from common.kit import clock, log
from common.models.accounts import SCOPES
from common.settings import Settings

P = ParamSpec("P")
R = TypeVar("R")

ALGORITHM = "HS256"
#: Clocks of two of our hosts may differ by this much in `iat` and `nbf`; `exp` is taken exactly.
SKEW_SECONDS = 5
MAX_TOKEN_CHARS = 4096
REMEMBERED_TOKENS = 4_000
#: What is known of a caller is good for so long in a request that is on its way.
FRESH_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Policy:
    """What a view asks of its caller: `kind` is public, signed_in, scope, session or admin."""

    kind: str
    scope: str | None = None


# -- what views state ----------------------------------------------------------------------------------------


def public(view: Callable[P, R]) -> Callable[P, R]:
    """Anybody may call this; credentials are not looked at."""
    return _guarded(view, Policy("public"), lambda: None)


def signed_in(view: Callable[P, R]) -> Callable[P, R]:
    """Any valid credential."""
    return _guarded(view, Policy("signed_in"), lambda: None, identify=True)


def needs(scope: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A session, or an API key with `scope`."""
    if scope not in SCOPES:
        raise ValueError(f"no such scope: {scope}")

    def check() -> None:
        if scope not in caller().scopes:
            raise ScopeMissing(f"The API key does not have the scope {scope}.", scope=scope)

    return lambda view: _guarded(view, Policy("scope", scope), check, identify=True)


def session_only(view: Callable[P, R]) -> Callable[P, R]:
    """A session: what only the person may do (keys, passwords, the subscription)."""

    def check() -> None:
        if caller().family_id is None:
            raise Forbidden("API keys may not do this: log in.")

    return _guarded(view, Policy("session"), check, identify=True)


def admin(view: Callable[P, R]) -> Callable[P, R]:
    """An admin; through an API key only with the scope `admin`."""

    def check() -> None:
        if not caller().is_admin:
            raise Forbidden
        if "admin" not in caller().scopes:
            raise ScopeMissing("The API key does not have the scope admin.", scope="admin")

    return _guarded(view, Policy("admin", "admin"), check, identify=True)


def caller() -> Caller:
    """Who makes this request. Only in views that state more than `public`.

    Looked at again when that was more than `FRESH_SECONDS` ago: a body may take its time, and who begins a request must
    not finish it after he was shut out.
    """
    if clock.monotonic() - g.identified_at > FRESH_SECONDS:
        _identify()
    found: Caller = g.caller
    return found


def watch() -> Callable[[], bool]:
    """A question for answers that outlive their request: may this caller still come in?"""
    look: Callable[[], Caller] = g.look

    def holds() -> bool:
        try:
            look()
        except Unauthenticated:
            return False
        return True

    return holds


def actor() -> audit.Actor:
    """Who makes this request, for the audit log. Without a caller: somebody with a mailed link."""
    known = caller() if "caller" in g else None
    origin = {"request_id": g.get("request_id"), "ip": client_ip()}
    if known is None:
        return audit.Actor("link", **origin)
    return audit.Actor("api_key" if known.api_key_id else "session", known.user_id, **origin)


def client_ip() -> str:
    """The client's address: the connection's, or what the trusted proxies say (never a header by itself)."""
    return request.remote_addr or ""


def _guarded(view: Callable[P, R], policy: Policy, check: Callable[[], None], identify: bool = False) -> Callable[P, R]:
    @wraps(view)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        if identify:
            g.look, g.check = _credential(), check
            _identify()
        return view(*args, **kwargs)

    guarded.policy = policy  # type: ignore[attr-defined]
    return guarded


def _identify() -> None:
    g.caller, g.identified_at = g.look(), clock.monotonic()
    log.bind(user_id=str(g.caller.user_id))
    try:
        g.check()
    except Forbidden as refusal:
        log.get(__name__).warning("forbidden", code=refusal.code, method=request.method, endpoint=request.endpoint)
        raise


# -- credentials ---------------------------------------------------------------------------------------------


def _credential() -> Callable[[], Caller]:
    """How to look up the caller behind the one credential, from `Authorization` or `X-API-Key` and nowhere else."""
    authorization, api_key = request.headers.get("Authorization"), request.headers.get("X-API-Key")
    if authorization is not None and api_key is not None:
        raise InvalidHeader("Send either Authorization or X-API-Key, not both.")
    if api_key is not None:
        return partial(keys.authenticate, api_key)
    scheme, _, credential = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not credential:
        raise Unauthenticated
    if credential.startswith(keys.PREFIX):
        return partial(keys.authenticate, credential)
    return partial(sessions.authenticate, *_verified(credential))


# -- access tokens -------------------------------------------------------------------------------------------


def init(app: Flask, settings: Settings) -> None:
    """Teach this app to sign and verify access tokens. The first key signs, all verify, `kid` tells which."""
    ring = {_kid(key): key for key in settings.jwt_secret_keys}
    newest = settings.jwt_secret_keys[0]
    app.config.update(
        JWT_ALGORITHM=ALGORITHM,
        JWT_DECODE_ALGORITHMS=[ALGORITHM],
        JWT_TOKEN_LOCATION=["headers"],
        JWT_COOKIE_CSRF_PROTECT=False,  # no cookies; and its random claim would tell racing refreshes apart
        JWT_ENCODE_ISSUER=settings.public_url,
        JWT_DECODE_ISSUER=settings.public_url,
        JWT_ENCODE_AUDIENCE="joyfull-hub",
        JWT_DECODE_AUDIENCE="joyfull-hub",
        JWT_DECODE_LEEWAY=SKEW_SECONDS,
    )
    manager = JWTManager(app)
    app.extensions["access_tokens"] = {}

    @manager.encode_key_loader
    def signing_key(_identity: Any) -> str:
        return newest

    @manager.decode_key_loader
    def verifying_key(header: dict[str, Any], _claims: dict[str, Any]) -> str:
        key = ring.get(str(header.get("kid")))
        if key is None:
            raise jwt.InvalidTokenError("signed by no key of ours")
        return key

    @manager.additional_headers_loader
    def name_the_key(_identity: Any) -> dict[str, str]:
        return {"kid": _kid(newest)}


def access_token(pair: sessions.Pair) -> str:
    """The access token of a pair: the same pair makes the same token, so that racing refreshes agree."""
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


class _Verified(NamedTuple):
    """What an access token that verified says: of whom, and until when (epoch seconds)."""

    user_id: UUID
    family_id: UUID
    expires: float


def _verified(token: str) -> tuple[UUID, UUID]:
    """The account and session of an access token. Raises `TokenExpired`, or `Unauthenticated` for any other fault.

    A signature is verified once and remembered; whether the token's time is over, and whether its session still
    stands (`sessions.authenticate`), is asked every time.
    """
    known: dict[str, _Verified] = current_app.extensions["access_tokens"]
    says = known.get(token)
    if says is None:
        says = _decoded(token)
        if len(known) >= REMEMBERED_TOKENS:
            known.clear()
        known[token] = says
    if says.expires <= clock.now().timestamp():
        known.pop(token, None)
        raise TokenExpired
    return says.user_id, says.family_id


def _decoded(token: str) -> _Verified:
    if len(token) > MAX_TOKEN_CHARS:
        raise Unauthenticated
    try:
        claims = decode_token(token)
        if claims["type"] != "access" or not claims["jti"]:
            raise Unauthenticated
        return _Verified(UUID(claims["sub"]), UUID(claims["family"]), claims["exp"])
    except jwt.ExpiredSignatureError as error:
        raise TokenExpired from error
    except (jwt.PyJWTError, JWTExtendedException, ValueError, KeyError, TypeError) as error:
        raise Unauthenticated from error


def _kid(key: str) -> str:
    """A name for a signing key that tells nothing about it."""
    return hashlib.sha256(b"joyfull-hub/kid/" + key.encode()).hexdigest()[:16]

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

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, wraps
from typing import ParamSpec, TypeVar

from flask import g, request

from common.errors import Forbidden, InvalidHeader, ScopeMissing, Unauthenticated
from common.identity import audit, keys, sessions
from common.identity.authorization import Caller
from common.kit import clock, log
from common.models.accounts import SCOPES
from web.http import access_tokens

P = ParamSpec("P")
R = TypeVar("R")

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
    return partial(sessions.authenticate, *access_tokens.verify(credential))

"""Authorization: the face's credential becomes a `Caller`, and every view says who may call it.

    @auth.public                    no credentials required
    @auth.signed_in                 any credential, whatever its scopes
    @auth.needs("usage:read")       a session, or a key with that scope
    @auth.session_only              a session; keys are refused
    @auth.admin                     an admin's session, or an admin's key with the scope `admin`

The decorator is the outermost one on the view, so credentials are checked before the body is read, and so is whether
the view takes an `Idempotency-Key`. It sets `view.policy`; the application refuses to start with a view that has none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import ParamSpec, TypeVar

from flask import g, request

from common.errors import Forbidden, InvalidHeader, PreconditionFailed, ScopeMissing, Unauthenticated
from common.identity import audit
from common.identity.authorization import Caller
from common.kit import clock, log
from common.models.accounts import SCOPES
from web.http import faces

P = ParamSpec("P")
R = TypeVar("R")

#: How long a request relies on one check of its caller.
FRESH_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class AccessPolicy:
    """What a view requires of its caller. `kind`: public, signed_in, scope, session or admin."""

    kind: str
    scope: str | None = None


# -- policies of views ---------------------------------------------------------------------------------------


def public(view: Callable[P, R]) -> Callable[P, R]:
    """No credentials required; any that are sent are ignored."""
    return _guarded(view, AccessPolicy("public"), lambda: None)


def signed_in(view: Callable[P, R]) -> Callable[P, R]:
    """Any valid credential."""
    return _guarded(view, AccessPolicy("signed_in"), lambda: None, identify=True)


def needs(scope: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A session, or an API key with `scope`."""
    if scope not in SCOPES:
        raise ValueError(f"unknown scope: {scope}")

    return lambda view: _guarded(view, AccessPolicy("scope", scope), lambda: require(scope), identify=True)


def require(scope: str) -> None:
    """For views of many scopes: a session, or an API key with this one. Raises `ScopeMissing`."""
    if not has_scope(caller(), scope):
        raise ScopeMissing(f"The API key does not have the scope {scope}.", scope=scope)


def has_scope(who: Caller, scope: str) -> bool:
    """Whether this is a session, or an API key with that scope."""
    return scope in who.scopes or who.family_id is not None


def session_only(view: Callable[P, R]) -> Callable[P, R]:
    """A session, for what only the user may do: API keys, the password, the subscription."""

    def check() -> None:
        if caller().family_id is None:
            raise Forbidden("API keys cannot be used for this. Log in and use the access token.")

    return _guarded(view, AccessPolicy("session"), check, identify=True)


def admin(view: Callable[P, R]) -> Callable[P, R]:
    """An admin's session, or an admin's API key with the scope `admin`."""

    def check() -> None:
        if not caller().is_admin:
            raise Forbidden
        if "admin" not in caller().scopes:
            raise ScopeMissing("The API key does not have the scope admin.", scope="admin")

    return _guarded(view, AccessPolicy("admin", "admin"), check, identify=True)


def caller() -> Caller:
    """The caller of this request; only in views that are not `public`.

    Checked again if the last check is older than `FRESH_SECONDS`: a body may take long to arrive, and a caller whose
    access is revoked meanwhile must not complete the request.
    """
    if clock.monotonic() - g.identified_at > FRESH_SECONDS:
        _identify()
    found: Caller = g.caller
    return found


def authorization_check() -> Callable[[], bool]:
    """A function for responses that outlive their request: whether the caller is still authorized."""
    look_up: Callable[[], Caller] = g.look_up

    def authorized() -> bool:
        try:
            look_up()
        except Unauthenticated:
            return False
        return True

    return authorized


def actor() -> audit.Actor:
    """The actor of this request for the audit log; in a public view, the bearer of a mailed link."""
    known = caller() if "caller" in g else None
    origin = {"request_id": g.get("request_id"), "ip": client_ip()}
    if known is None:
        return audit.Actor("link", **origin)
    return audit.Actor("api_key" if known.api_key_id else "session", known.user_id, **origin)


def client_ip() -> str:
    """The client's IP address: that of the connection, or the one reported by trusted proxies."""
    return request.remote_addr or ""


def user_agent() -> str | None:
    """What the client says that it is (RFC 9110 §10.1.5)."""
    return request.headers.get("User-Agent")


def _guarded(
    view: Callable[P, R], policy: AccessPolicy, check: Callable[[], None], identify: bool = False
) -> Callable[P, R]:
    @wraps(view)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        if identify:
            g.look_up, g.check = faces.current().credential(), check
            _identify()
        if not takes_key:
            refuse_key()
        if not takes_tag and request.method == "DELETE":
            _refuse_tag()
        return view(*args, **kwargs)

    takes = getattr(view, "takes_headers", ())
    takes_key, takes_tag = "Idempotency-Key" in takes, "If-Match" in takes

    guarded.policy = policy  # type: ignore[attr-defined]
    return guarded


def refuse_key() -> None:
    """Refuse an `Idempotency-Key` that would be ignored, where the face does not ignore what it does not know."""
    if "Idempotency-Key" in request.headers and faces.current().unknown_fields == "refused":
        raise InvalidHeader(
            "Idempotency-Key is not supported here: a repeat would run again. Send the request without it."
        )


def _refuse_tag() -> None:
    """Refuse to delete what has no entity tag if one is expected: none matches (RFC 9110 §13.1.1)."""
    if request.headers.get("If-Match", "*").strip() != "*":
        raise PreconditionFailed("This resource has no entity tag, so If-Match cannot match. Nothing was deleted.")


def _identify() -> None:
    g.caller, g.identified_at = g.look_up(), clock.monotonic()
    log.bind(user_id=str(g.caller.user_id))
    try:
        g.check()
    except Forbidden as refusal:
        log.get(__name__).warning("access denied", code=refusal.code, method=request.method, endpoint=request.endpoint)
        raise

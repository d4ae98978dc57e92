"""The console's session: a signed cookie that names an account and a session, looked up at every request.

It is of an audience of its own: the API refuses it as a bearer, and access tokens and keys are refused here. There is
no rotation: an answer that is lost while a page is left would look like a stolen token.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final, NamedTuple
from urllib.parse import unquote
from uuid import UUID

from flask import Response, current_app, g, request

from common.errors import PlatformError, Unauthenticated
from common.identity import accounts, sessions
from common.identity.authorization import Caller
from common.identity.session_start import Opened
from common.kit import clock, db, redis
from common.settings.links import CONSOLE_PREFIX
from web.http import access_tokens, auth

AUDIENCE: Final = "joyfull-hub-console"
LIFETIME: Final = timedelta(days=14)
#: A cookie that is older is made anew, up to the end of its session.
RENEW_AFTER: Final = timedelta(days=1)
_UNSAFE: Final = re.compile(r"[\x00-\x20\x7f\\]|//")


class Ticket(NamedTuple):
    """What a cookie says."""

    user_id: UUID
    family_id: UUID
    issued_at: datetime


def credential() -> Callable[[], Caller]:
    """Looks up the caller of the cookie. Raises `Unauthenticated`."""
    found = g.ticket = _ticket(request.cookies.get(cookie_name(), ""))
    return partial(sessions.authenticate, found.user_id, found.family_id)


def is_signed_in() -> bool:
    """Whether this request, of a page for everybody, is made in a session."""
    return reader() is not None


def reader() -> Caller | None:
    """Who reads a page for which nobody had to be identified; None also while that cannot be found out."""
    try:
        return credential()()
    except (PlatformError, db.Unreachable, redis.RedisUnreachable):
        return None


def begin(email: str, password: str) -> None:
    """Sign in. Raises what `sessions.begin` does."""
    start(sessions.begin(email, password, ip=auth.client_ip(), user_agent=auth.user_agent()))


def start(opened: Opened) -> None:
    """Answer this request with the cookie of a session that has just begun."""
    ends = opened.at + timedelta(days=30)
    g.cookie = _sealed(opened.user_id, opened.family_id, ends)


def leave() -> None:
    """End the session of this request."""
    caller = auth.caller()
    if caller.family_id is not None:
        sessions.end(caller.user_id, caller.family_id)
    g.cookie = None


def forget() -> None:
    """Answer this request without a cookie: its session has ended."""
    g.cookie = None


def needs_password() -> bool:
    """Whether the password has to be given again before something that needs one given lately."""
    family_id = auth.caller().family_id
    return family_id is None or not accounts.confirmed_recently(family_id)


def confirm(password: str | None) -> None:
    """Check the password that was typed, where it has to be given again. Raises `Forbidden`, `TooManyAttempts`."""
    caller = auth.caller()
    if caller.family_id is not None and needs_password():
        accounts.confirm(caller.user_id, caller.family_id, password or "")


def write_cookie(response: Response) -> Response:
    """Set the cookie of a session that has begun, remove that of one that was left, renew that of an old one."""
    if "cookie" not in g and "caller" in g and "ticket" in g and clock.now() - g.ticket.issued_at > RENEW_AFTER:
        g.cookie = _sealed(g.ticket.user_id, g.ticket.family_id, g.caller.expires_at)
    if "cookie" in g:
        name, secure = cookie_name(), _is_secure()
        if g.cookie is None:
            response.delete_cookie(name, path="/", secure=secure, httponly=True, samesite="Lax")
            response.headers["Clear-Site-Data"] = '"cache"'
        else:
            response.set_cookie(
                name, g.cookie, max_age=LIFETIME, path="/", secure=secure, httponly=True, samesite="Lax"
            )
    return response


def safe_next(wanted: str | None) -> str | None:
    """`wanted` if it is the path of a page of the console, with its query; otherwise None."""
    if not wanted or not wanted.startswith(f"{CONSOLE_PREFIX}/") or _UNSAFE.search(wanted):
        return None
    adapter = current_app.create_url_adapter(request)
    path = unquote(wanted.partition("#")[0].partition("?")[0])
    return wanted if adapter is not None and not _UNSAFE.search(path) and adapter.test(path, "GET") else None


def cookie_name() -> str:
    """`__Host-` binds the cookie to https and to this host."""
    return "__Host-hub" if _is_secure() else "hub"


def _is_secure() -> bool:
    return str(current_app.config["PUBLIC_URL"]).startswith("https:")


def _sealed(user_id: UUID, family_id: UUID, session_ends: datetime | None) -> str:
    latest = clock.now() + LIFETIME
    claims = {"sub": str(user_id), "family": str(family_id)}
    return access_tokens.seal(AUDIENCE, claims, expires_at=min(latest, session_ends or latest))


def _ticket(cookie: str) -> Ticket:
    claims = access_tokens.unseal(AUDIENCE, cookie)
    try:
        issued_at = datetime.fromtimestamp(float(str(claims["iat"])), UTC)
        return Ticket(UUID(str(claims["sub"])), UUID(str(claims["family"])), issued_at)
    except (KeyError, ValueError) as error:
        raise Unauthenticated from error

"""What the short ways past Flask have in common: which requests are usual enough for them, and what they answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple
from wsgiref.types import StartResponse, WSGIEnvironment

from werkzeug.wsgi import ClosingIterator

from common.kit import db, redis
from common.operations import instance
from web.api.face import REST
from web.http import request_hooks

#: Those that mean nothing here, and those that are read by every short way. A request with any other is not for them,
#: unless it is one of the way's own.
_HEADERS: Final = frozenset(
    f"HTTP_{name}"
    for name in (
        *("ACCEPT", "ACCEPT_ENCODING", "ACCEPT_LANGUAGE", "AUTHORIZATION", "CACHE_CONTROL", "CONNECTION", "COOKIE"),
        *("FORWARDED", "HOST", "PRAGMA", "TRACEPARENT", "TRACESTATE", "USER_AGENT", "VIA", "X_API_KEY"),
        *("X_FORWARDED_FOR", "X_FORWARDED_HOST", "X_FORWARDED_PORT", "X_FORWARDED_PROTO", "X_REAL_IP", "X_REQUEST_ID"),
    )
)
_ACCEPTED: Final = ("*/*", "application/json", "")
#: What is unreachable is for the application to tell.
UNREACHABLE: Final = (db.Unreachable, redis.RedisUnreachable)


class ShortAnswer(NamedTuple):
    """A response that is complete. `sent`: what is called when it has been sent, or the client is gone."""

    status: str
    headers: list[tuple[str, str]]
    body: bytes
    sent: Callable[[], None] | None = None

    def send(self, start_response: StartResponse) -> Iterable[bytes]:
        """Answer the request with it, as a WSGI application does."""
        start_response(self.status, self.headers)
        pieces = [self.body] if self.body else []
        return pieces if self.sent is None else ClosingIterator(pieces, self.sent)


def is_usual(environ: WSGIEnvironment, method: str, own: frozenset[str]) -> bool:
    """Whether nothing but the path, the credential, the body and the headers `own` matters of this request."""
    return (
        environ["REQUEST_METHOD"] == method
        and not environ.get("QUERY_STRING")
        and environ.get("SERVER_PROTOCOL") == "HTTP/1.1"
        and environ.get("HTTP_ACCEPT", "") in _ACCEPTED
        and not environ.get("SCRIPT_NAME")
        and all(name in _HEADERS or name in own for name in environ if name.startswith("HTTP_"))
        and request_hooks.is_host(environ.get("HTTP_HOST", "?"))
        and instance.refusal() is None
    )


def with_standing(headers: dict[str, str], environ: WSGIEnvironment) -> dict[str, str]:
    """These headers, and those of every response of REST that they do not have."""
    secure = environ["wsgi.url_scheme"] == "https"
    return headers | {
        name: value
        for name, value in request_hooks.standing_headers(REST, secure=secure).items()
        if name not in headers
    }

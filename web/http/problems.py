"""Errors and their HTTP statuses, which only this module knows; and as `application/problem+json` (RFC 9457).

Views raise the errors of `common.errors`, or let `common` raise them, and do not call this module.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from http import HTTPStatus
from urllib.parse import quote

import orjson
from flask import Flask, Response, current_app, g, request
from werkzeug.exceptions import HTTPException
from werkzeug.exceptions import MethodNotAllowed as WerkzeugMethodNotAllowed

from common import errors
from common.errors import PlatformError, Temporary
from common.kit import clock, db, log, redis
from web.http import faces

MEDIA_TYPE = "application/problem+json"
_COMMIT_UNKNOWN = (
    "The connection to the database was lost during the commit, so the change may or may not have been made. "
    "Check its state before you retry."
)
logger = log.get(__name__)
#: A problem as it is sent, by member.
Problem = dict[str, object]


# -- errors of HTTP itself --------------------------------------------------------------------------------------


class MethodNotAllowed(PlatformError):
    """This resource does not support the method. `Allow` lists those it supports."""

    code = "method_not_allowed"


class NotAcceptable(PlatformError):
    """No media type that Accept allows is available for this resource."""

    code = "not_acceptable"


class RequestTimeout(PlatformError):
    """The request did not arrive in time."""

    code = "request_timeout"


class UriTooLong(PlatformError):
    """The request line is too long."""

    code = "uri_too_long"


class UnsupportedMediaType(PlatformError):
    """Send the body as application/json in UTF-8."""

    code = "unsupported_media_type"


class HeadersTooLarge(PlatformError):
    """The request headers are too large."""

    code = "headers_too_large"


class InternalError(PlatformError):
    """An internal error occurred and was logged. Quote the request id when you report it."""

    code = "internal_error"


STATUSES: dict[type[PlatformError], int] = {
    errors.Malformed: 400,
    errors.Unauthenticated: 401,
    errors.PaymentRequired: 402,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    MethodNotAllowed: 405,
    NotAcceptable: 406,
    RequestTimeout: 408,
    errors.Conflict: 409,
    errors.PreconditionFailed: 412,
    errors.TooLarge: 413,
    UriTooLong: 414,
    UnsupportedMediaType: 415,
    errors.Invalid: 422,
    errors.TooMany: 429,
    HeadersTooLarge: 431,
    InternalError: 500,
    errors.Unavailable: 503,
}
_KINDS = {status: kind for kind, status in STATUSES.items()}


def status_of(kind: type[PlatformError]) -> int:
    """The HTTP status of an error class, from the class itself or its nearest base class."""
    return next((STATUSES[base] for base in kind.__mro__ if base in STATUSES), 500)


def kind_of(status: int) -> type[PlatformError]:
    """The error class for a status that Werkzeug or gunicorn chose; for a redirect, which we never send, `NotFound`."""
    if status < 400:
        return errors.NotFound
    return _KINDS.get(status, errors.Malformed if status < 500 else InternalError)


def catalogue() -> Iterator[type[PlatformError]]:
    """Every error with a code of its own, ordered by status, for the documentation."""
    seen: dict[str, type[PlatformError]] = {}
    for kind in STATUSES:
        for leaf in (kind, *_descendants(kind)):
            if leaf.code != "internal_error" or leaf is InternalError:
                seen.setdefault(leaf.code, leaf)
    return iter(sorted(seen.values(), key=status_of))


def _descendants(kind: type[PlatformError]) -> Iterator[type[PlatformError]]:
    for leaf in kind.__subclasses__():
        yield leaf
        yield from _descendants(leaf)


# -- from exception to response --------------------------------------------------------------------------------


def register(app: Flask) -> None:
    """Register handlers that turn every exception into an error of its face. (HTTPException: see `rest.Api`.)"""
    app.register_error_handler(PlatformError, answer)
    app.register_error_handler(db.Unreachable, _unreachable)
    app.register_error_handler(redis.RedisUnreachable, _unreachable)
    app.register_error_handler(Exception, _unexpected)


def as_dict(error: PlatformError) -> Problem:
    """The problem of an error in the current request, as it is sent (also within the response to a batch)."""
    public_url = current_app.config["PUBLIC_URL"]
    return members(error, public_url, request_id=g.get("request_id"), instance=_instance())


def _instance() -> str:
    """The request path, without the mailed token that it may contain."""
    token = (request.view_args or {}).get("token")
    return quote(request.path.replace(token, "-") if token else request.path)


def members(error: PlatformError, public_url: str, *, request_id: str | None, instance: str | None = None) -> Problem:
    """The members of a problem: those of RFC 9457, then ours, then those of the error."""
    own = {name: clock.rfc3339(it) if isinstance(it, datetime) else it for name, it in error.members.items()}
    problem = {
        "type": f"{public_url}/docs/errors#{error.code}",
        "title": error.title,
        "status": status_of(type(error)),
        "detail": error.detail,
        "instance": instance,
        "code": error.code,
        "request_id": request_id,
    }
    problem = {name: value for name, value in problem.items() if value is not None} | own
    if error.errors:
        problem["errors"] = [{"pointer": fault.pointer, "detail": fault.detail} for fault in error.errors]
    return problem


def encode(problem: Problem) -> bytes:
    return orjson.dumps(problem, default=str)


def answer(error: PlatformError) -> Response:
    """The response to an error in the current request, in the shape of its face."""
    g.problem_code = error.code
    response = faces.current().error(error)
    response.headers.setdefault("Content-Security-Policy", faces.CLOSED["Content-Security-Policy"])
    return response


def response_to(error: PlatformError) -> Response:
    """The problem document of an error in the current request; the shape of REST and of what belongs to no face."""
    return Response(encode(as_dict(error)), status_of(type(error)), headers_of(error), content_type=MEDIA_TYPE)


def headers_of(error: PlatformError) -> dict[str, str]:
    """The headers that the status of the error requires."""
    headers: dict[str, str] = {}
    if isinstance(error, Temporary):
        headers["Retry-After"] = str(error.retry_after)
    if isinstance(error, errors.Unauthenticated):
        attribute = ', error="invalid_token"' if type(error) in _BAD_TOKENS else ""
        headers["WWW-Authenticate"] = f'Bearer realm="joyfull-hub"{attribute}'
    return headers


_BAD_TOKENS = (errors.TokenExpired, errors.TokenRevoked)


def handle_http_exception(error: HTTPException) -> Response:
    """The response to an exception of Werkzeug: no route, wrong method, body too large, …"""
    response = answer(kind_of(error.code or 500)())
    if isinstance(error, WerkzeugMethodNotAllowed) and error.valid_methods:
        response.headers["Allow"] = ", ".join(sorted(error.valid_methods))
    return response


def _unreachable(error: Exception) -> Response:
    return answer(unreachable(error))


def unreachable(error: Exception) -> PlatformError:
    """Log an unreachable server and return the error for the client."""
    detail = _COMMIT_UNKNOWN if isinstance(error, db.CommitUnknown) else None
    logger.warning("dependency unavailable", error=type(error).__name__, module=type(error).__module__)
    return errors.DependencyUnavailable(detail)


def _unexpected(error: Exception) -> Response:
    logger.error("unexpected exception", exc_info=error)
    return answer(InternalError())


def title_of(status: int) -> str:
    """The reason phrase of a status (RFC 9110)."""
    return HTTPStatus(status).phrase

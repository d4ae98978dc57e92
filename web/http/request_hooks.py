"""Hooks around every request: request id, general validation, response headers, access log and metrics."""

from __future__ import annotations

import re
from time import perf_counter
from typing import Final

from flask import Flask, Response, current_app, g, request
from flask.typing import ResponseReturnValue

from common import errors, invocations
from common.kit import clock, log, metrics, tracing
from common.operations import instance
from web.http import auth, body, faces, large_reads, limits, negotiation, submissions
from web.http.faces import Face
from web.http.problems import NotAcceptable

logger = log.get("web.access")
REQUESTS = metrics.Counter(
    "joyfull_http_requests", "HTTP responses by method, route and status", ["method", "route", "status"]
)
LATENCY = metrics.Histogram(
    "joyfull_http_request_seconds",
    "Seconds until the response headers, by method and route",
    ["method", "route"],
    buckets=metrics.SECONDS,
)
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}", re.ASCII)
#: A name, an IPv4 or a bracketed IPv6 address, a port. Two Host headers arrive as one, joined with a comma.
_HOST = re.compile(r"(?:[A-Za-z0-9._~-]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?", re.ASCII)
_METHODS = frozenset(["GET", "HEAD", "POST", "PATCH", "PUT", "DELETE", "OPTIONS"])
#: On every response, beside the headers of the face.
EVERYWHERE = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
#: In the environment of a request: when it began, if somebody else has looked at it before.
STARTED: Final = "joyfull.started"
HSTS = "max-age=63072000; includeSubDomains"


def register(app: Flask) -> None:
    """Do before and after every request what concerns all of them."""
    app.before_request(_begin)
    app.before_request(submissions.refuse_failed)
    app.before_request(_refuse_invalid)
    app.before_request(_refuse_foreign_servers)
    app.before_request(_refuse_overload)
    app.after_request(_finish)
    app.teardown_request(lambda _: _end_announcement())
    app.teardown_request(lambda _: large_reads.end())  # in case no response was made


def _begin() -> None:
    g.started = request.environ.get(STARTED) or perf_counter()
    g.request_id = request_id(request.headers.get("X-Request-ID", ""))
    log.clear()
    log.bind(request_id=g.request_id)


def request_id(sent: str) -> str:
    """The id of a request: the one that was sent with it if it is valid, or else a new one."""
    return sent if _REQUEST_ID.fullmatch(sent) else clock.uuid7().hex


def is_host(sent: str) -> bool:
    """Whether this is one valid Host header."""
    return bool(_HOST.fullmatch(sent))


def _refuse_invalid() -> ResponseReturnValue | None:
    """Validate what all routes have in common: Host, body size, path, `Accept`."""
    if not is_host(request.environ.get("HTTP_HOST", "" if _is_old() else "?")):
        request.environ["joyfull.close"] = True
        raise errors.Malformed("HTTP/1.1 requires exactly one valid Host header (RFC 9112).")
    body.refuse_too_large(request, request.content_length or 0)
    if "\0" in request.path:
        raise errors.NotFound
    if request.endpoint is None or request.method == "OPTIONS":
        auth.refuse_key()
    if request.endpoint and not negotiation.acceptable(_produces(request.endpoint)):
        raise NotAcceptable
    return None


def _refuse_foreign_servers() -> None:
    """Refuse to work with servers of another platform; health, readiness and metrics are still served."""
    if request.blueprint is not None and not faces.current().independent and instance.refusal() is not None:
        raise errors.DependencyUnavailable


def _refuse_overload() -> None:
    """Refuse a submit that would get no permit, before its credential is read. (Forms are shown again with a reason.)

    If it would wait for one, it takes its place in line, as soon as it has arrived: who sends slowly keeps nobody out.
    A small one before the credential is asked for, which takes a moment in which hundreds would be let in.
    """
    if request.method != "POST" or not limits.counts_submits() or request.mimetype == body.FORM:
        return
    invocations.refuse_if_overloaded()
    length = request.content_length
    if length is not None and length <= body.PUBLIC_BYTES and invocations.is_busy():
        body.receive_ahead(request)
        _announce()
    else:
        g.once_arrived = _announce


def _announce() -> None:
    if invocations.is_busy():
        g.end_announcement = invocations.announce()


def _end_announcement() -> None:
    if end := g.pop("end_announcement", None):
        end()


def _is_old() -> bool:
    return request.environ.get("SERVER_PROTOCOL") == "HTTP/1.0"


def _produces(endpoint: str) -> list[str]:
    return getattr(current_app.view_functions[endpoint], "produces", ["application/json"])


def _finish(response: Response) -> Response:
    headers = response.headers
    headers["X-Request-ID"] = g.request_id
    if "ETag" in headers:
        headers.setdefault("Cache-Control", "private, no-cache")
    for name, value in standing_headers(faces.current(), secure=request.is_secure).items():
        headers.setdefault(name, value)
    if response.status_code in (204, 304):
        headers.pop("Content-Type", None)
    limits.render(response)
    large_reads.end_after(response)
    return _log_and_measure(response)


def standing_headers(face: Face, *, secure: bool) -> dict[str, str]:
    """Those of every response of this face; `secure`: it goes over HTTPS."""
    return {**EVERYWHERE, **face.headers, **({"Strict-Transport-Security": HSTS} if secure else {})}


def _log_and_measure(response: Response) -> Response:
    """By route pattern: a path may contain a token."""
    seconds = perf_counter() - g.started
    route = request.url_rule.rule if request.url_rule else "unmatched"
    method = request.method if request.method in _METHODS else "other"
    code = {"code": g.problem_code} if "problem_code" in g else {}
    note(method, route, response.status_code, seconds, g.request_id, **code)
    return response


def note(method: str, route: str, status: int, seconds: float, request_id_: str, **more: object) -> None:
    """One log line and two metrics for each request. `seconds`: until the response began."""
    tracing.note(
        {"http.route": route, "http.response.status_code": status, "request_id": request_id_},
        name=f"{method} {route}",
        failed=str(status) if status >= 500 else None,
    )
    REQUESTS.labels(method, route, status).inc()
    LATENCY.labels(method, route).observe(seconds)
    duration = round(seconds * 1000, 1)
    logger.info("request", method=method, route=route, status=status, duration_ms=duration, **more)

"""A short way for the request that clients repeat most: `GET /invocations/{id}`, without Flask's.

It answers 200 and 304 where nothing about the request is unusual, with the same checks in the same order and the same
bytes. Everything else, refusals included, is left to the application, as if nobody had looked at the request before:
until the answer is certain, nothing is counted (docs/decisions/lean-reads.md).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from time import perf_counter
from typing import Final
from uuid import UUID
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from flask import Flask
from werkzeug.http import parse_etags, quote_etag

from common import invocations
from common.errors import PlatformError
from common.identity.authorization import Caller
from common.invocations import Invocation
from common.kit import clock, jsonb, log
from web.api.face import REST
from web.api.lean_frame import UNREACHABLE, ShortAnswer, is_usual, with_standing
from web.http import auth, credentials, large_reads, limits, quotas, request_hooks
from web.http.auth import AccessPolicy

ROUTE: Final = f"{REST.prefix}/invocations/<uuid:invocation_id>"
ENDPOINT: Final = "invocations.show"
_PATH: Final = re.compile(rf"{REST.prefix}/invocations/([0-9a-f]{{8}}(?:-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}})", re.ASCII)
_HEADERS: Final = frozenset(["HTTP_IF_NONE_MATCH"])
#: Input and output together, in bytes; more is a large read, which is paced by its size.
MOST: Final = large_reads.SMALL_BYTES // 2


class Lean:
    """A WSGI application in front of another."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._rest: WSGIApplication = app.wsgi_app
        policy: AccessPolicy | None = getattr(app.view_functions.get(ENDPOINT), "policy", None)
        self._scope = None if policy is None else policy.scope

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        started = perf_counter()
        found = _PATH.fullmatch(environ["PATH_INFO"])
        if (
            found is None
            or self._scope is None
            or environ.get("CONTENT_LENGTH")
            or not is_usual(environ, "GET", _HEADERS)
        ):
            return self._rest(environ, start_response)
        with self._app.app_context():
            answer = self._answer(environ, UUID(found[1]), started)
        if answer is None:
            return self._rest(environ, start_response)
        return answer.send(start_response)

    def _answer(self, environ: WSGIEnvironment, invocation_id: UUID, started: float) -> ShortAnswer | None:
        """None: it is for the application."""
        request_id = request_hooks.request_id(environ.get("HTTP_X_REQUEST_ID", ""))
        log.clear()
        log.bind(request_id=request_id)
        try:
            caller = _caller(environ)
        except PlatformError as refusal:
            environ[credentials.REFUSAL] = refusal
            return None
        except UNREACHABLE:
            return None
        log.bind(user_id=str(caller.user_id))
        left = quotas.reads.state(caller.user_id, clock.wall()).remaining
        if not left or not auth.has_scope(caller, self._scope or ""):
            return None
        try:
            invocation = _read(invocation_id, caller.user_id)
        except (PlatformError, *UNREACHABLE):
            return None
        return _written(invocation, environ, request_id, started) if invocation.payloads else None


def _caller(environ: WSGIEnvironment) -> Caller:
    """Raises `Unauthenticated`, `InvalidHeader`."""
    return credentials.of_headers(environ.get("HTTP_AUTHORIZATION"), environ.get("HTTP_X_API_KEY"))()


def _read(invocation_id: UUID, owner: UUID) -> Invocation:
    """Without its payloads if they are large. Raises `NotFound`, `RateLimited`, `db.Unreachable`."""
    large_reads.acquire(owner)
    try:
        return invocations.get_within(invocation_id, owner, MOST)
    finally:
        large_reads.release(owner)


def _written(invocation: Invocation, environ: WSGIEnvironment, request_id: str, started: float) -> ShortAnswer | None:
    limit, allowed = quotas.reads.take(invocation.user_id, clock.wall())
    if not allowed:
        return None
    tag = invocations.etag(invocation)
    same = parse_etags(environ.get("HTTP_IF_NONE_MATCH")).contains_weak(tag)
    body = b"" if same else jsonb.encoded({"data": invocations.represent(invocation)})
    headers = {
        **({} if same else {"Content-Type": "application/json", "Content-Length": str(len(body))}),
        "ETag": quote_etag(tag),
        "Cache-Control": "private, no-cache",
        **({} if invocation.ended else {"Retry-After": "1"}),
        "X-Request-ID": request_id,
    }
    headers = with_standing(headers, environ) | limits.headers(limit)
    status = 304 if same else 200
    request_hooks.note("GET", ROUTE, status, perf_counter() - started, request_id)
    return ShortAnswer("304 NOT MODIFIED" if same else "200 OK", [*headers.items()], body)

"""A short way to tell a submit that the platform is overloaded, without Flask's.

Where the web process's own core is what is full, clients that repeat what was refused take the time of those that would
be accepted, unless refusing costs next to nothing (docs/decisions/overload.md). All else is left to the application,
which refuses the same before it looks at anything (`web/http/request_hooks.py`): here is only the way of most submits.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from time import perf_counter
from typing import Final
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from common import invocations
from common.errors import PlatformError
from common.kit import log
from web.api.face import REST
from web.http import problems, request_hooks

ROUTE: Final = f"{REST.prefix}/tools/<tool>/invoke"
_PATH: Final = re.compile(rf"{REST.prefix}/tools/[A-Za-z0-9-]+/invoke", re.ASCII)


class EarlyRefusals:
    """A WSGI application in front of another; `public_url` is that of the platform."""

    def __init__(self, app: WSGIApplication, public_url: str) -> None:
        self._app, self._public_url = app, public_url

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] != "POST" or not _PATH.fullmatch(environ["PATH_INFO"]) or "HTTP_ORIGIN" in environ:
            return self._app(environ, start_response)
        started = perf_counter()
        try:
            invocations.refuse_if_overloaded()
        except PlatformError as refusal:
            return [self._refuse(refusal, environ, start_response, started)]
        return self._app(environ, start_response)

    def _refuse(
        self, refusal: PlatformError, environ: WSGIEnvironment, start_response: StartResponse, started: float
    ) -> bytes:
        request_id, status = request_hooks.request_id(environ.get("HTTP_X_REQUEST_ID", "")), 503
        log.clear()
        log.bind(request_id=request_id)
        problem = problems.members(refusal, self._public_url, request_id=request_id, instance=environ["PATH_INFO"])
        body = problems.encode(problem)
        headers = {
            "Content-Type": problems.MEDIA_TYPE,
            "Content-Length": str(len(body)),
            **problems.headers_of(refusal),
            "X-Request-ID": request_id,
            **request_hooks.standing_headers(REST, secure=environ["wsgi.url_scheme"] == "https"),
        }
        start_response(f"{status} {problems.title_of(status).upper()}", [*headers.items()])
        request_hooks.note("POST", ROUTE, status, perf_counter() - started, request_id, code=refusal.code)
        return body

"""A short way for the request that everything begins with: `POST /tools/{tool}/invoke`, without Flask's.

It answers 202 where nothing about the request is unusual, with the same checks by the same functions, and the same
bytes. The caller is taken from what this process remembers, and confirmed in the step that takes the hold: one round
trip less. All else is left to the application, as if nobody had looked at the request before, as long as no hold was
asked for. What has failed later is told by the application, and not tried again (docs/decisions/lean-submits.md).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from io import BytesIO
from time import perf_counter
from typing import IO, Final, NoReturn
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from flask import Flask

from common import boot, invocations
from common.errors import PlatformError
from common.identity.authorization import Caller
from common.identity.authorization_cache import NotConfirmed
from common.invocations import Order, SubmitRules, Submitted
from common.kit import clock, jsonb, log
from common.settings import links
from web.api.face import REST
from web.api.lean_frame import UNREACHABLE, ShortAnswer, is_usual, with_standing
from web.api.submit_schemas import SubmitInSchema
from web.http import auth, body, credentials, idempotency, limits, quotas, request_hooks, submissions
from web.http.auth import AccessPolicy
from web.http.validation import loaded

ROUTE: Final = f"{REST.prefix}/tools/<tool>/invoke"
ENDPOINT: Final = "tools.invoke"
_PATH: Final = re.compile(rf"{REST.prefix}/tools/([A-Za-z0-9-]+)/invoke", re.ASCII)
_HEADERS: Final = frozenset(["HTTP_IDEMPOTENCY_KEY"])
_TYPES: Final = ("application/json", "application/json; charset=utf-8")
_LENGTH: Final = re.compile(r"[0-9]{1,5}", re.ASCII)


class LeanSubmits:
    """A WSGI application in front of another."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._rest: WSGIApplication = app.wsgi_app
        self._schema = SubmitInSchema()
        self._rules = SubmitRules(boot.outbound(), app.config["SETTINGS"].email_verification_required)
        self._public_url: str = app.config["PUBLIC_URL"]
        self._most = min(body.PUBLIC_BYTES, app.config["MAX_CONTENT_LENGTH"])
        policy: AccessPolicy | None = getattr(app.view_functions.get(ENDPOINT), "policy", None)
        self._scope = None if policy is None else policy.scope

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        started = environ[request_hooks.STARTED] = perf_counter()
        found = _PATH.fullmatch(environ["PATH_INFO"])
        if found is None or self._scope is None or not _is_usual(environ, self._most):
            return self._rest(environ, start_response)
        with self._app.app_context():
            answer = self._answer(environ, found[1], started)
        return self._rest(environ, start_response) if answer is None else answer.send(start_response)

    def _answer(self, environ: WSGIEnvironment, tool: str, started: float) -> ShortAnswer | None:
        """None: it is for the application."""
        request_id = environ["HTTP_X_REQUEST_ID"] = request_hooks.request_id(environ.get("HTTP_X_REQUEST_ID", ""))
        log.clear()
        log.bind(request_id=request_id)
        try:
            caller = credentials.remembered(environ.get("HTTP_AUTHORIZATION"), environ.get("HTTP_X_API_KEY"))
            if caller is None or not auth.has_scope(caller, self._scope or ""):
                return None
            order = self._order(caller, environ, request_id)
            if caller.expires_at is not None and clock.now() >= caller.expires_at:  # while the body arrived
                return None
        except (PlatformError, *UNREACHABLE):
            return None
        log.bind(user_id=str(caller.user_id))
        submitted = _submitted(caller, tool, order, environ)
        return None if submitted is None else self._written(submitted, environ, request_id, started)

    def _order(self, caller: Caller, environ: WSGIEnvironment, request_id: str) -> Order:
        """What the request orders. Raises what the application would."""
        self._rules.require_allowed(caller)
        sent = loaded(self._schema, body.parse(_received(environ)))
        key = environ.get("HTTP_IDEMPOTENCY_KEY")
        return self._rules.order(sent, request_id=request_id, key=None if key is None else idempotency.read(key))

    def _written(
        self, submitted: Submitted, environ: WSGIEnvironment, request_id: str, started: float
    ) -> ShortAnswer | None:
        invocation = submitted.invocation
        if invocation is None:
            return None
        text = jsonb.encoded({"data": invocations.represent(invocation)})
        headers = {
            "Content-Type": "application/json",
            "Content-Length": str(len(text)),
            "Location": f"{self._public_url}{links.invocation(invocation.id)['self']}",
            "Retry-After": "1",
            "X-Request-ID": request_id,
        }
        if (rate := submitted.rate) is None:
            limit = quotas.reads.state(invocation.user_id, clock.wall())
        else:
            limit = submissions.rate_limit(rate.limit, rate.remaining, rate.reset)
        request_hooks.note("POST", ROUTE, 202, perf_counter() - started, request_id)
        return ShortAnswer("202 ACCEPTED", [*(with_standing(headers, environ) | limits.headers(limit)).items()], text)


def _is_usual(environ: WSGIEnvironment, most: int) -> bool:
    """Whether it has a body of JSON of at most so many bytes, and only that, tool, credential and key matter."""
    length = environ.get("CONTENT_LENGTH") or ""
    return (
        bool(_LENGTH.fullmatch(length))
        and 0 < int(length) <= most
        and environ.get("CONTENT_TYPE") in _TYPES
        and is_usual(environ, "POST", _HEADERS)
    )


def _submitted(caller: Caller, tool: str, order: Order, environ: WSGIEnvironment) -> Submitted | None:
    """The new invocation; None: another way has to be found, or it is told why there is none."""
    remembered, leave = caller.remembered, None
    try:
        leave = invocations.announce() if invocations.is_busy() else None
        submitted = invocations.submit(caller, tool, order)
    except NotConfirmed:
        return None
    except Exception as error:  # noqa: BLE001 - the application raises it again
        if remembered is not None and remembered.asked:
            environ[submissions.FAILED] = submissions.Failed(caller, error)
        return None
    finally:
        if leave is not None:
            leave()
    return None if submitted.replayed or remembered is None or not remembered.asked else submitted


# -- the body, which the application may have to read again ------------------------------------------------------


def _received(environ: WSGIEnvironment) -> bytes:
    """The body, which is left to be read again. One that ends early or late is none of ours: then it is empty."""
    stream: IO[bytes] = environ["wsgi.input"]
    wanted, received = int(environ["CONTENT_LENGTH"]), bytearray()
    try:
        while len(received) < wanted and (piece := stream.read(wanted - len(received))):
            received += piece
    except OSError as error:
        environ["wsgi.input"] = _Broken(error)
        return b""
    environ["wsgi.input"] = BytesIO(received)
    return bytes(received) if len(received) == wanted else b""


class _Broken:
    """A body that could not be read, and cannot be now."""

    def __init__(self, error: OSError) -> None:
        self._error = error

    def read(self, _size: int = -1) -> NoReturn:
        raise self._error

    readline = read

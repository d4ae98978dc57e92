"""A short way for the request that everything begins with: `POST /tools/{tool}/invoke`, without Flask's.

It answers 202, and 200 after waiting for the end (`Prefer: wait=30`), where nothing about the request is unusual, with
the same checks by the same functions, and the same bytes. The caller is taken from what this process remembers, and
confirmed in the step that takes the hold: one round trip less. All else is left to the application, as if nobody had
looked at the request before, as long as no hold was asked for. What has failed later is told by the application, and
not tried again (docs/decisions/lean-submits.md).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from io import BytesIO
from time import perf_counter
from typing import IO, Final, NamedTuple, NoReturn, TypeVar
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from flask import Flask, g

from common import boot, invocations
from common.budgets import Rate
from common.errors import PlatformError
from common.identity.authorization import Caller
from common.identity.authorization_cache import NotConfirmed
from common.invocations import Invocation, Order, SubmitRules, Submitted
from common.kit import clock, jsonb, log
from common.settings import links
from web.api.face import REST
from web.api.lean_frame import UNREACHABLE, ShortAnswer, is_usual, with_standing
from web.api.submit_schemas import SubmitInSchema
from web.http import auth, body, credentials, idempotency, large_reads, limits, quotas, request_hooks, submissions
from web.http.auth import AccessPolicy
from web.http.validation import loaded

T = TypeVar("T")

ROUTE: Final = f"{REST.prefix}/tools/<tool>/invoke"
ENDPOINT: Final = "tools.invoke"
_PATH: Final = re.compile(rf"{REST.prefix}/tools/([A-Za-z0-9-]+)/invoke", re.ASCII)
_HEADERS: Final = frozenset(["HTTP_IDEMPOTENCY_KEY", "HTTP_PREFER"])
_WAIT: Final = re.compile(r"wait=[0-9]{1,9}", re.ASCII)
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
        if submitted is None or submitted.invocation is None:
            return None
        seconds = submissions.wait_of(environ.get("HTTP_PREFER", ""))
        try:
            invocation = _awaited(submitted, caller, seconds, environ) if seconds else submitted.invocation
            if invocation is None:
                return None
            return self._written(invocation, seconds, submitted.rate, ShortRequest(environ, request_id, started))
        finally:
            large_reads.end()  # unless it ends with the answer

    def _order(self, caller: Caller, environ: WSGIEnvironment, request_id: str) -> Order:
        """What the request orders. Raises what the application would."""
        self._rules.require_allowed(caller)
        sent = loaded(self._schema, body.parse(_received(environ)))
        key = environ.get("HTTP_IDEMPOTENCY_KEY")
        return self._rules.order(sent, request_id=request_id, key=None if key is None else idempotency.read(key))

    def _written(
        self, invocation: Invocation, seconds: int | None, rate: Rate | None, asked: ShortRequest
    ) -> ShortAnswer:
        text = jsonb.encoded({"data": invocations.represent(invocation)})
        waited = {"Preference-Applied": f"wait={seconds}"} if seconds else {}
        headers = {
            "Content-Type": "application/json",
            "Content-Length": str(len(text)),
            "Location": f"{self._public_url}{links.invocation(invocation.id)['self']}",
            **(waited if invocation.ended else {"Retry-After": "1"}),
            "X-Request-ID": asked.request_id,
        }
        if rate is None:
            limit = quotas.reads.state(invocation.user_id, clock.wall())
        else:
            limit = submissions.rate_limit(rate.limit, rate.remaining, rate.reset)
        headers = with_standing(headers, asked.environ) | limits.headers(limit)
        status = "200 OK" if invocation.ended else "202 ACCEPTED"
        sent = large_reads.left_after(len(text))
        request_hooks.note("POST", ROUTE, int(status[:3]), perf_counter() - asked.started, asked.request_id)
        return ShortAnswer(status, [*headers.items()], text, sent)


class ShortRequest(NamedTuple):
    """A request, its id, and when it came."""

    environ: WSGIEnvironment
    request_id: str
    started: float


def _is_usual(environ: WSGIEnvironment, most: int) -> bool:
    """Whether it has a body of JSON of at most so many bytes, and only that, tool, credential and key matter."""
    length = environ.get("CONTENT_LENGTH") or ""
    return (
        bool(_LENGTH.fullmatch(length))
        and 0 < int(length) <= most
        and environ.get("CONTENT_TYPE") in _TYPES
        and ("HTTP_PREFER" not in environ or bool(_WAIT.fullmatch(environ["HTTP_PREFER"])))
        and is_usual(environ, "POST", _HEADERS)
    )


def _submitted(caller: Caller, tool: str, order: Order, environ: WSGIEnvironment) -> Submitted | None:
    """The new invocation; None: another way has to be found, or it is told why there is none."""

    def submit() -> Submitted:
        leave = invocations.announce() if invocations.is_busy() else None
        try:
            return invocations.submit(caller, tool, order)
        finally:
            if leave is not None:
                leave()

    submitted = _tried(submit, caller, environ)
    return submitted if submitted is not None and not submitted.replayed and _was_asked(caller) else None


def _awaited(submitted: Submitted, caller: Caller, seconds: int, environ: WSGIEnvironment) -> Invocation | None:
    """The invocation, after waiting for its end; None: it is told why that cannot be said."""
    g.caller = caller  # whose reads are counted
    return _tried(lambda: submissions.awaited(submitted, caller.user_id, seconds), caller, environ)


def _tried(step: Callable[[], T], caller: Caller, environ: WSGIEnvironment) -> T | None:
    """What it returns. None: it has failed, which is told if a hold was asked for."""
    try:
        return step()
    except NotConfirmed:
        return None
    except Exception as error:  # noqa: BLE001 - the application raises it again
        if _was_asked(caller):
            environ[submissions.FAILED] = submissions.Failed(caller, error)
        return None


def _was_asked(caller: Caller) -> bool:
    """Whether a hold was asked for with what is remembered of the caller."""
    return caller.remembered is not None and caller.remembered.asked


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

"""A span around each request, part of the caller's trace if it sends one (W3C `traceparent`)."""

from __future__ import annotations

from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from common.kit import tracing

#: Polled every few seconds by monitoring.
UNTRACED = frozenset(("/health", "/ready", "/metrics"))


def traced(app: WSGIApplication) -> WSGIApplication:
    """Wrap `app` in a span that ends when the response starts, since a stream may last for minutes.

    `web/http/request_hooks.py` names the span.
    """

    def call(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] in UNTRACED:
            return app(environ, start_response)
        with tracing.span(environ["REQUEST_METHOD"], "server", environ.get("HTTP_TRACEPARENT")):
            return app(environ, start_response)

    return call

"""gunicorn's gevent worker with the API's behaviour below the application: `worker_class = web.server.Worker`.

- Requests that gunicorn itself refuses (request line too long, invalid framing, …) get a problem document, not HTML.
- A body must arrive within `BODY_SECONDS`.
- Request heads, responses and connections per client network are limited as well (`web/http/connections.py`,
  `web/http/framing.py`).
- What the process has loaded is left out of garbage collections: looking through it would stop all requests.
- After 408 and 413, and if the application asks for it, the connection is closed; the rest of the body is not read.

gunicorn loads this module before monkey-patching, so it imports nothing of ours but these two; the rest comes
with the application (`web/http/refusals.py`).
"""

from __future__ import annotations

import gc
import io
import logging
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from email.utils import formatdate
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any
from wsgiref.types import InputStream, StartResponse, WSGIApplication, WSGIEnvironment

import gevent
from gevent.local import local
from gunicorn import util
from gunicorn.http import wsgi
from gunicorn.http.errors import LimitRequestHeaders, ParseException
from gunicorn.http.parser import RequestParser
from gunicorn.workers.ggevent import GeventWorker

from web.http.connections import CHUNK, ClientSocket, ConnectionCounter, FieldsTooLarge
from web.http.framing import LimitedRequest

if TYPE_CHECKING:
    from _typeshed import OptExcInfo, WriteableBuffer

    from web.http.refusals import Refusals

BODY_SECONDS = 30.0
#: The connection that the current greenlet serves.
_connection = local()
_CLOSING = ("408", "413")
Write = Callable[[bytes], object]
Client = socket.socket | ClientSocket


class Worker(GeventWorker):  # type: ignore[misc]
    """A web process: one thread with thousands of greenlets."""

    def load_wsgi(self) -> None:
        """Load the application in the worker process, after monkey-patching, and wrap it."""
        super().load_wsgi()
        app: Any = self.wsgi  # gunicorn has no types; a Flask application, not to be imported here
        self._refusals: Refusals = app.extensions["refusals"]
        RequestParser.mesg_class = LimitedRequest
        util.write_error = partial(_write_refusal, self._refusals)
        util.http_date = _http_date
        wsgi.Response = Response
        self.wsgi: WSGIApplication = with_body_deadline(app)
        settings = app.config["SETTINGS"]
        # Behind a proxy every connection is the proxy's, so the proxy has to limit connections per client.
        self._connections = ConnectionCounter(0 if settings.trusted_proxies else settings.max_connections_per_address)
        lines = logging.getLogger("gunicorn.error")
        lines.handlers.clear()
        lines.propagate = True  # use the application's log formatter
        gc.collect()
        gc.freeze()

    def handle(self, listener: object, client: socket.socket, addr: object) -> None:
        """Serve one connection, in a greenlet of its own."""
        network = self._connections.enter(addr)
        if network is None:
            _refuse_connection(self._refusals, client)
            return
        connection = ClientSocket(client)
        _connection.client = connection
        try:
            super().handle(listener, connection, addr)
        finally:
            self._connections.leave(network)

    @contextmanager
    def timeout_ctx(self) -> Iterator[None]:
        """Called by gunicorn around the reading of a request head."""
        client: ClientSocket = _connection.client
        with client.head(self.cfg.keepalive):
            yield
        if client.head_begun:  # the head is incomplete: it timed out
            _write_refusal(self._refusals, client, 408, "", "")

    def handle_error(self, req: object, client: object, addr: object, exc: BaseException) -> None:
        """Log an error outside the application and respond to it."""
        if req is None:
            self._refusals.forget_request()
        super().handle_error(req, client, addr, exc)


class Response(wsgi.Response):  # type: ignore[misc]
    """A response whose head goes out together with the first part of its body."""

    def write(self, arg: bytes) -> None:
        """Send a part of the body."""
        if self.headers_sent or len(arg) > CHUNK:
            super().write(arg)
            return
        with self.sock.in_one_piece():
            super().write(arg)


def _http_date() -> str:
    """The time of a response, in the form of RFC 9110 (§5.6.7)."""
    return _date_of(int(time.time()))


@lru_cache(maxsize=1)
def _date_of(second: int) -> str:
    return formatdate(second, usegmt=True)


def with_body_deadline(app: WSGIApplication) -> WSGIApplication:
    """Wrap `app`: a deadline on bodies, and connections are closed if the rest of a body is not read."""

    def call(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]], exc_info: OptExcInfo | None = None) -> Write:
            if status.startswith(_CLOSING) or "joyfull.close" in environ:
                start_response.__self__.force_close()  # type: ignore[attr-defined]
            return start_response(status, headers, exc_info)

        environ["wsgi.input"] = DeadlinedBody(environ["wsgi.input"])
        return app(environ, start)

    return call


class DeadlinedBody(io.RawIOBase):
    """A request body with one deadline over all reads. Raises `TimeoutError`, or `OSError` on invalid framing."""

    def __init__(self, body: InputStream) -> None:
        self._body = body
        self._deadline = time.monotonic() + BODY_SECONDS

    def readable(self) -> bool:
        """True, as of any reader (the interface of `io.RawIOBase`)."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer)
        try:
            with gevent.Timeout(max(0.001, self._deadline - time.monotonic()), TimeoutError):
                data = self._body.read(len(view))
        except LimitRequestHeaders as error:
            raise FieldsTooLarge("the trailers are too large") from error
        except ParseException as error:
            raise OSError("invalid framing of the body") from error
        view[: len(data)] = data
        return len(data)


def _write_refusal(refusals: Refusals, sock: Client, status: int, _reason: str, _message: str) -> None:
    """Send an error that gunicorn reports without the application (replaces `gunicorn.util.write_error`)."""
    util.write_nonblock(sock, refusals.unreadable(status))


def _refuse_connection(refusals: Refusals, sock: Client) -> None:
    """Respond 429 to a connection over the limit, without reading a request, and close it."""
    try:
        sock.setblocking(False)
        util.write_nonblock(sock, refusals.too_many_connections())
    except OSError:
        pass
    finally:
        util.close(sock)

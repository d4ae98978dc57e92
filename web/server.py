"""gunicorn's gevent worker, held to the contract where the application cannot see: `worker_class = web.server.Worker`.

- What gunicorn refuses by itself (a request line too long, bad framing, …) is answered with a problem, never with HTML.
- A body has `BODY_SECONDS` to arrive, however slowly it drips.
- Heads, answers and the connections of one network have bounds of their own (`web/http/connections.py`).
- After 408 and 413, and when the application says so, the connection is closed instead of reading what is left of the
  body.

gunicorn loads this module before monkey-patching: import nothing of ours at the top.
"""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import gevent
from gevent.local import local
from gunicorn import util
from gunicorn.http.errors import ParseException
from gunicorn.workers.ggevent import GeventWorker

from web.http.connections import Client, Networks

BODY_SECONDS = 30.0
#: Of the greenlet at hand: the connection that it serves.
_connection = local()
_CLOSING = ("408", "413")
Environ = dict[str, Any]
StartResponse = Callable[..., Any]
WsgiApp = Callable[[Environ, StartResponse], Iterable[bytes]]


class Worker(GeventWorker):  # type: ignore[misc]
    """One web process: thousands of greenlets, one thread."""

    def load_wsgi(self) -> None:
        """Load the application in the patched worker process, and put ourselves around it."""
        super().load_wsgi()
        app: Any = self.wsgi
        util.write_error = partial(_write_problem, app.config["PUBLIC_URL"])
        self.wsgi: WsgiApp = polite(app)
        settings = app.config["SETTINGS"]
        self._public_url = app.config["PUBLIC_URL"]
        # Behind a proxy each connection is the proxy's, and which clients have too many is for the proxy to say.
        self._networks = Networks(0 if settings.trusted_proxies else settings.max_connections_per_address)
        lines = logging.getLogger("gunicorn.error")
        lines.handlers.clear()
        lines.propagate = True  # from here on through the application's formatter, with its context

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        """Serve one connection, in a greenlet of its own."""
        network = self._networks.enter(addr)
        if network is None:
            _refuse_connection(self._public_url, client)
            return
        connection = Client(client)
        _connection.client = connection
        try:
            super().handle(listener, connection, addr)
        finally:
            self._networks.leave(network)

    @contextmanager
    def timeout_ctx(self) -> Iterator[None]:
        """Around the reading of a head, as gunicorn asks for it."""
        client: Client = _connection.client
        with client.head(self.cfg.keepalive):
            yield
        if client.begun:  # and not finished in time
            _write_problem(self._public_url, client, 408, "", "")

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """Log and answer what went wrong outside the application."""
        from common.kit import log

        if req is None:
            log.clear()  # what is bound belongs to the request before, on the same connection
        super().handle_error(req, client, addr, exc)


def polite(app: WsgiApp) -> WsgiApp:
    """`app` with a deadline on bodies, and connections closed whose next request could not be found."""

    def call(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            if status.startswith(_CLOSING) or "joyfull.close" in environ:
                start_response.__self__.force_close()  # type: ignore[attr-defined]
            return start_response(status, headers, exc_info)

        environ["wsgi.input"] = Arriving(environ["wsgi.input"])
        return app(environ, start)

    return call


class Arriving(io.RawIOBase):
    """A request body with a deadline over all of its reads. Raises OSError: TimeoutError when it is too slow."""

    def __init__(self, body: Any) -> None:
        self._body = body
        self._deadline = time.monotonic() + BODY_SECONDS

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            with gevent.Timeout(max(0.001, self._deadline - time.monotonic()), TimeoutError):
                data = self._body.read(len(buffer))
        except ParseException as error:
            raise OSError("the body is badly framed") from error
        buffer[: len(data)] = data
        return len(data)


def _write_problem(public_url: str, sock: Any, status: int, _reason: str, _message: str) -> None:
    """What gunicorn says to a client without asking the application (stands in for `gunicorn.util.write_error`)."""
    from web.http import problems

    _tell(public_url, sock, problems.kind_of(400 if status == 501 else status)())


def _refuse_connection(public_url: str, sock: Any) -> None:
    """One too many: it is told so and closed, whatever it was going to ask."""
    from common.errors import RateLimited

    try:
        sock.setblocking(0)
        _tell(public_url, sock, RateLimited("Too many connections at once come from your network."))
    except OSError:
        pass
    finally:
        util.close(sock)


def _tell(public_url: str, sock: Any, error: Any) -> None:
    from common.kit import clock, log
    from web.http import problems, request_hooks

    occurrence = clock.uuid7()  # names it in the place of a path, which may be what could not be read
    request_id = occurrence.hex
    body = problems.encode(problems.members(error, public_url, request_id=request_id, instance=occurrence.urn))
    headers = {
        "Connection": "close",
        "Content-Type": problems.MEDIA_TYPE,
        "Content-Length": len(body),
        "X-Request-ID": request_id,
        **problems.headers_of(error),
        **request_hooks.SECURITY_HEADERS,
    }
    first = f"HTTP/1.1 {problems.status_of(type(error))} {error.title}"
    head = "\r\n".join([first, *(f"{name}: {value}" for name, value in headers.items()), "", ""])
    log.get(__name__).warning("refused before the application", code=error.code, request_id=request_id)
    util.write_nonblock(sock, head.encode("latin-1") + body)

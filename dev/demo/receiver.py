"""A webhook receiver on loopback that verifies every signature with the Standard Webhooks library."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from joyfull import models
from joyfull.wire import Json


class Receiver:
    """Keeps the invocation of every webhook with a valid signature, and counts those with an invalid one."""

    def __init__(self) -> None:
        self.secret = ""
        self.ended: dict[str, models.Invocation] = {}
        self.refused = 0
        self.sample: tuple[bytes, dict[str, str]] | None = None
        self._arrived = threading.Condition()
        self._server = _Server(self)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/hook"

    @contextmanager
    def listening(self) -> Iterator[Receiver]:
        thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()

    def accept(self, body: bytes, headers: dict[str, str]) -> bool:
        """Verify a webhook and keep its invocation. Returns whether the signature is valid."""
        payload = self.verified(body, headers)
        with self._arrived:
            if payload is None:
                self.refused += 1
            else:
                self.sample = (body, headers)
                ended = models.Invocation.of(payload["data"])
                self.ended[ended.id] = ended
            self._arrived.notify_all()
        return payload is not None

    def verified(self, body: bytes, headers: dict[str, str]) -> Json | None:
        """The payload; None if the signature is invalid."""
        try:
            payload: Json = Webhook(self.secret).verify(body, headers)
        except (WebhookVerificationError, ValueError):  # ValueError: the library's reaction to a malformed signature
            return None
        return payload

    def wait_for(self, invocation_id: str, timeout: float) -> models.Invocation:
        """The invocation as received by webhook. Raises `TimeoutError`."""
        with self._arrived:
            if not self._arrived.wait_for(lambda: invocation_id in self.ended, timeout):
                raise TimeoutError(f"no webhook received for {invocation_id} within {timeout:.0f} s")
            return self.ended[invocation_id]

    def accepts_forgeries(self) -> bool:
        """Whether a copy of a real webhook with one byte changed passes verification."""
        if self.sample is None:
            return True
        body, headers = self.sample
        return self.verified(bytes([body[0] ^ 1]) + body[1:], headers) is not None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        known = self.server.receiver.accept(body, {name.lower(): value for name, value in self.headers.items()})
        self.send_response(204 if known else 400)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_args: object) -> None:
        """Log nothing: the demo shows what was received."""

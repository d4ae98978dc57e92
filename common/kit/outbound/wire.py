"""A connection, held to our rules: where it connects, when it counts as sent, how much of a head it reads.

The exchange under way is a context variable, because between the outbound client and a connection lie requests and
urllib3, which have no place to pass it.
"""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from typing import Any

import certifi
from urllib3.connection import HTTPConnection, HTTPSConnection

from common.kit.outbound.addresses import Address, Target
from common.kit.outbound.errors import Unreachable
from common.kit.outbound.watch import Call

MAX_HEAD = 64 * 1024
#: Of the many addresses of a name, so many are tried.
MAX_TRIES = 4


@dataclass(slots=True)
class Exchange:
    """`dial` gives the checked addresses of the target, and may block until the call's deadline."""

    target: Target
    call: Call
    dial: Callable[[Target, Call], Sequence[Address]]
    began: float
    reused: bool = False


current: ContextVar[Exchange] = ContextVar("exchange")


def connect(exchange: Exchange) -> socket.socket:
    """Connect to one of the target's checked addresses, in turn, sharing the time that is left among them."""
    call, port = exchange.call, exchange.target.port
    addresses = exchange.dial(exchange.target, call)[:MAX_TRIES]
    for tries_left, address in zip(range(len(addresses), 0, -1), addresses, strict=True):
        sock = socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6, socket.SOCK_STREAM)
        try:
            call.hold(sock)
            call.check()
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.settimeout(call.remaining / tries_left)
            sock.connect((str(address), port))
            sock.settimeout(call.remaining)
        except OSError:
            sock.close()
            call.check()
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise Unreachable


class _Head:
    """Hands out whole lines until there were too many bytes of them.

    http.client alone takes a hundred lines of 64 kB, and a head that breaks off for a complete one.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._left = MAX_HEAD
        self.close, self.flush = stream.close, stream.flush

    def readline(self, limit: int = -1) -> bytes:
        line: bytes = self._stream.readline(limit)
        self._left -= len(line)
        if self._left < 0 or not line.endswith(b"\n"):
            raise http.client.HTTPException("the head is too large, or breaks off")
        return line


class _Response(http.client.HTTPResponse):
    """Interim answers (1xx) are skipped, all of them within one head's allowance; a changed protocol is refused."""

    fp: Any

    def begin(self) -> None:
        stream, self.fp = self.fp, _Head(self.fp)
        try:
            super().begin()
            while 100 <= self.status < 200 and self.status != http.HTTPStatus.SWITCHING_PROTOCOLS:
                self.headers = self.msg = None  # type: ignore[assignment]  # `begin` asks this whether it has begun
                super().begin()
        finally:
            if self.fp is not None:
                self.fp = stream
        if not _is_length(self.headers.get_all("Content-Length", [])):
            raise http.client.HTTPException("the length of the body is none")
        if self.status == http.HTTPStatus.SWITCHING_PROTOCOLS:
            raise http.client.HTTPException("nobody asked to switch protocols")

    def _read_and_discard_trailer(self) -> None:
        self.fp = _Head(self.fp)
        super()._read_and_discard_trailer()  # type: ignore[misc]


def _is_length(given: Sequence[str]) -> bool:
    """One number, however often it is said (RFC 9110 §8.6); http.client takes a negative one for none."""
    lengths = {part.strip() for line in given for part in line.split(",")}
    return not given or (len(lengths) == 1 and all(each.isascii() and each.isdigit() for each in lengths))


class Connection(HTTPConnection):
    """Connects where the exchange says, and sends head and body in one write."""

    response_class = _Response
    idle_since = 0.0
    _held: list[bytes] | None = None

    def _new_conn(self) -> socket.socket:
        return connect(current.get())

    def request(self, *args: Any, **kwargs: Any) -> None:
        if self.sock is None:
            self.connect()
        self._held = []
        super().request(*args, **kwargs)
        data, self._held = b"".join(self._held), None
        self._write(data)

    def send(self, data: Any) -> None:
        if self._held is None:
            super().send(data)
        else:
            self._held.append(data)

    def _write(self, data: bytes) -> None:
        """Until the first byte is accepted, the peer surely has not executed anything."""
        call = current.get().call
        try:
            count = self.sock.send(data)
        except ConnectionError as error:
            call.check()
            raise Unreachable from error
        call.sent = True
        if count < len(data):
            self.sock.sendall(memoryview(data)[count:])


class TlsConnection(Connection, HTTPSConnection):
    pass


class _TlsSocket(ssl.SSLSocket):
    """Wrapping takes the descriptor away from the plain socket: the call must hold this one before the handshake."""

    def do_handshake(self, *args: Any) -> None:
        call = current.get().call
        call.hold(self)
        call.check()
        self.settimeout(call.remaining)
        super().do_handshake(*args)


@cache
def tls_context(ca_file: str | None = None) -> ssl.SSLContext:
    """Verifying, TLS 1.2 or later; trusts the public roots and whatever the operator added to this machine's."""
    context = ssl.create_default_context(cafile=certifi.where())
    context.load_default_certs()
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.sslsocket_class = _TlsSocket
    return context

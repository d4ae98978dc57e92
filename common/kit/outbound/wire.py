"""HTTP connections with our rules: which address to dial, when a request counts as sent, how large a head may be.

The current exchange is a context variable, because requests and urllib3, which lie between the outbound client and the
connection, have no parameter for it.
"""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from io import BufferedReader
from typing import Any

import certifi
from urllib3.connection import HTTPConnection, HTTPSConnection

from common.kit.outbound.addresses import Address, Target
from common.kit.outbound.errors import PeerUnreachable
from common.kit.outbound.watch import Call

MAX_HEAD = 64 * 1024
#: Maximum number of addresses tried per connection.
MAX_TRIES = 4


@dataclass(slots=True)
class Exchange:
    """The exchange under way. `dial` returns the checked addresses of the target; it may block until the deadline."""

    target: Target
    call: Call
    dial: Callable[[Target, Call], Sequence[Address]]
    began: float
    reused: bool = False


current: ContextVar[Exchange] = ContextVar("exchange")


def connect(exchange: Exchange) -> socket.socket:
    """Try the target's checked addresses in turn, dividing the remaining time among them. Raises `PeerUnreachable`."""
    call, port = exchange.call, exchange.target.port
    addresses = exchange.dial(exchange.target, call)[:MAX_TRIES]
    for tries_left, address in zip(range(len(addresses), 0, -1), addresses, strict=True):
        sock = socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6, socket.SOCK_STREAM)
        with ExitStack() as unconnected:
            unconnected.callback(sock.close)
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
            else:
                unconnected.pop_all()
                return sock
    raise PeerUnreachable


class _Head:
    """A reader of whole lines up to `MAX_HEAD` bytes in total.

    http.client by itself accepts a hundred lines of 64 kB, and takes a truncated head for a complete one.
    """

    def __init__(self, stream: BufferedReader) -> None:
        self._stream = stream
        self._left = MAX_HEAD
        self.close, self.flush = stream.close, stream.flush

    def readline(self, limit: int = -1) -> bytes:
        line: bytes = self._stream.readline(limit)
        self._left -= len(line)
        if self._left < 0 or not line.endswith(b"\n"):
            raise http.client.HTTPException("the head is too large or truncated")
        return line


class _Response(http.client.HTTPResponse):
    """Skips interim responses (1xx), all within the limit of one head, and rejects a protocol switch."""

    fp: Any  # the connection's reader, or a `_Head` around it, which http.client does not foresee

    def begin(self) -> None:
        stream, self.fp = self.fp, _Head(self.fp)
        try:
            super().begin()
            while 100 <= self.status < 200 and self.status != http.HTTPStatus.SWITCHING_PROTOCOLS:
                self.headers = self.msg = None  # type: ignore[assignment]  # otherwise `begin` returns at once
                super().begin()
        finally:
            if self.fp is not None:
                self.fp = stream
        if not _is_length(self.headers.get_all("Content-Length", [])):
            raise http.client.HTTPException("invalid Content-Length")
        if self.status == http.HTTPStatus.SWITCHING_PROTOCOLS:
            raise http.client.HTTPException("unsolicited protocol switch")

    def _read_and_discard_trailer(self) -> None:
        self.fp = _Head(self.fp)
        super()._read_and_discard_trailer()  # type: ignore[misc]


def _is_length(given: Sequence[str]) -> bool:
    """Whether Content-Length is absent or one number, possibly repeated (RFC 9110 §8.6).

    http.client treats a negative length as absent.
    """
    lengths = {part.strip() for line in given for part in line.split(",")}
    return not given or (len(lengths) == 1 and all(each.isascii() and each.isdigit() for each in lengths))


class Connection(HTTPConnection):
    """Connects to the exchange's addresses, and sends head and body in one write."""

    response_class = _Response
    idle_since = 0.0
    _held: list[bytes] | None = None

    def _new_conn(self) -> socket.socket:
        return connect(current.get())

    def request(self, *args: Any, **kwargs: Any) -> None:  # Any: handed on to urllib3 as they are
        if self.sock is None:
            self.connect()
        self._held = []
        super().request(*args, **kwargs)
        data, self._held = b"".join(self._held), None
        self._write(data)

    def send(self, data: Any) -> None:  # Any: http.client also foresees files and iterables, which nobody sends here
        if self._held is None:
            super().send(data)
        else:
            self._held.append(data)

    def _write(self, data: bytes) -> None:
        """Send the request; until the first byte is accepted, the peer cannot have executed anything."""
        call = current.get().call
        try:
            count = self.sock.send(data)
        except ConnectionError as error:
            call.check()
            raise PeerUnreachable from error
        call.sent = True
        if count < len(data):
            self.sock.sendall(memoryview(data)[count:])


class TlsConnection(Connection, HTTPSConnection):
    pass


class _TlsSocket(ssl.SSLSocket):
    """Registers itself with the call before the handshake: wrapping detaches the descriptor from the plain socket."""

    def do_handshake(self, *args: bool, **kwargs: bool) -> None:  # gevent's has no `block`
        call = current.get().call
        call.hold(self)
        call.check()
        self.settimeout(call.remaining)
        super().do_handshake(*args, **kwargs)


@cache
def tls_context(ca_file: str | None = None) -> ssl.SSLContext:
    """A verifying context for TLS 1.2 or later; trusts certifi's roots and those installed on this machine."""
    context = ssl.create_default_context(cafile=certifi.where())
    context.load_default_certs()
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.sslsocket_class = _TlsSocket
    return context

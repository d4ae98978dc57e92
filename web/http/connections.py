"""Protection against slow and idle clients, below HTTP and in front of gunicorn's parser.

- A request head must arrive within `HEAD_SECONDS` of its first byte; the first head, within that time of connecting.
- A client must accept each chunk of a response within `SEND_SECONDS`.
- Others are served between the receives of a client that sends much at once.
- The number of connections per client network is limited, where clients connect to us directly.

`has_left` tells whether a client still waits for its answer.

gunicorn loads this module before monkey-patching: do not import our own modules at the top.
"""

from __future__ import annotations

import errno
import select
import socket
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from ipaddress import ip_address, ip_network
from typing import Any, Final

import gevent
from gevent import monkey

HEAD_SECONDS = 10.0
SEND_SECONDS = 30.0
#: Bytes of a response that a client must accept within `SEND_SECONDS`.
CHUNK: Final = 64 * 1024
#: After so many bytes of a client that wait to be received, others run.
_TURN: Final = 128 * 1024
#: As in `common/kit/pieces.py`.
_MOMENT: Final = 1e-9
#: Not gevent's, which knows nothing of a half-closed connection.
_poll: Final = monkey.get_original("select", "poll")
_CLOSED: Final = getattr(select, "POLLRDHUP", 0) | select.POLLHUP | select.POLLERR


class FieldsTooLarge(OSError):
    """The trailers of a body exceed what the fields of a request may have in all (`web/http/framing.py`)."""


class ClientSocket:
    """A client's socket for gunicorn, with deadlines on receiving and sending."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._timer: gevent.Timeout | None = None
        self._served = False
        self._held: list[bytes] | None = None
        #: Whether part of a head has arrived, but not all of it.
        self.head_begun = False
        #: Bytes since the client connected.
        self.received = 0

    def __getattr__(self, name: str) -> Any:  # whatever gunicorn asks of a socket
        return getattr(self._socket, name)

    @contextmanager
    def head(self, idle: float) -> Iterator[None]:
        """Deadline around the reading of one head. `idle`: seconds to wait for the next request on the connection.

        A timeout ends the block silently; the caller then has no request.
        """
        self.head_begun = False
        self._start(idle if self._served else HEAD_SECONDS)
        try:
            yield
        except gevent.Timeout as timeout:
            if timeout is not self._timer:
                raise
        else:
            self._served, self.head_begun = True, False
        finally:
            self._stop()

    def _start(self, seconds: float) -> None:
        self._timer = gevent.Timeout.start_new(seconds)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.close()
            self._timer = None

    def recv(self, *arguments: int) -> bytes:
        if self.head_begun and self._timer is None:  # most heads arrive whole
            self._start(HEAD_SECONDS)
        data = self._socket.recv(*arguments)
        if data and self._timer is not None and not self.head_begun:
            self.head_begun = True
            self._stop()
        before, self.received = self.received, self.received + len(data)
        if before // _TURN != self.received // _TURN:
            let_others_run()
        return data

    @contextmanager
    def in_one_piece(self) -> Iterator[None]:
        """What is sent in the block goes out at its end."""
        self._held = held = list[bytes]()
        try:
            yield
        finally:
            self._held = None
            if held:
                self.sendall(b"".join(held))

    def sendall(self, data: bytes | bytearray | memoryview, *arguments: int) -> None:
        if self._held is not None:
            self._held.append(bytes(data))
            return
        view = memoryview(data)
        for start in range(0, len(view), CHUNK):
            self._send(view[start : start + CHUNK], *arguments)

    def _send(self, chunk: memoryview, *arguments: int) -> None:
        """Most chunks are accepted at once; only for others there need be a deadline."""
        if left := chunk[self._accepted(chunk, *arguments) :]:
            slow = ConnectionResetError(errno.ECONNRESET, "the client does not accept the response")
            with gevent.Timeout(SEND_SECONDS, slow):
                self._socket.sendall(left, *arguments)

    def _accepted(self, chunk: memoryview, flags: int = 0) -> int:
        """How many bytes of it the kernel takes now."""
        try:
            return self._socket.send(chunk, flags, timeout=0.0)  # type: ignore[call-arg]  # a socket of gevent
        except BlockingIOError:
            return 0


def let_others_run() -> None:
    """Those greenlets that can, and those for which something has arrived."""
    gevent.sleep(_MOMENT)


class ConnectionCounter:
    """Counts open connections per client network. `most`: the limit per network; 0 disables counting."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._connected: Counter[str] = Counter()

    def enter(self, address: object) -> str | None:
        """Count a new connection; returns its network, for `leave`, or None if the network has too many."""
        network = _network(address)
        if self._most and self._connected[network] >= self._most:
            return None
        self._connected[network] += 1
        return network

    def leave(self, network: str) -> None:
        """A connection of that network was closed."""
        self._connected[network] -= 1
        if not self._connected[network]:
            del self._connected[network]


def _network(address: object) -> str:
    """The client network: an IPv4 address or an IPv6 /64; empty for a local socket."""
    try:
        found = ip_address(str(address[0]).partition("%")[0]) if isinstance(address, tuple) else None
    except (IndexError, ValueError):
        found = None
    if found is None:
        return ""
    if found.version == 4:
        return str(found)
    return str(found.ipv4_mapped or ip_network((found, 64), strict=False))


def has_left(environ: Mapping[str, object]) -> bool:
    """Whether the client of a request has closed the connection; False where the server does not say which it is."""
    fileno = getattr(environ.get("gunicorn.socket") or environ.get("werkzeug.socket"), "fileno", None)
    if fileno is None:
        return False
    poll = _poll()
    poll.register(fileno(), _CLOSED)
    return bool(poll.poll(0))

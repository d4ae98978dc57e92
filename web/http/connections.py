"""Connections that give nothing and take nothing, kept from those who do: below HTTP, in front of gunicorn's parser.

- The head of a request has `HEAD_SECONDS` to arrive once it has begun, and so has the first one after connecting.
- An answer goes on as long as its client takes a piece of it within `SEND_SECONDS`.
- One network has so many connections at a time, where clients connect to us themselves.

gunicorn loads this module before monkey-patching: import nothing of ours at the top.
"""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address, ip_network
from typing import Any, Final

import gevent

HEAD_SECONDS = 10.0
SEND_SECONDS = 30.0
#: Pieces of an answer that a client has `SEND_SECONDS` for, each.
PIECE: Final = 64 * 1024


class Client:
    """A connected socket, as gunicorn sees it: its own, but for deadlines on what is received and sent."""

    def __init__(self, sock: Any) -> None:
        self._socket = sock
        self._timer: Any = None
        self._served = False
        #: Whether something of a head has come that is not complete yet.
        self.begun = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)

    @contextmanager
    def head(self, idle: float) -> Iterator[None]:
        """Around the reading of one head: no longer than it may take. `idle`: seconds until the next may begin.

        What is late ends the block, which the caller sees by having nothing in its hands.
        """
        self.begun = False
        self._start(idle if self._served else HEAD_SECONDS)
        try:
            yield
        except gevent.Timeout as late:
            if late is not self._timer:
                raise
        else:
            self._served, self.begun = True, False
        finally:
            self._stop()

    def _start(self, seconds: float) -> None:
        self._timer = gevent.Timeout.start_new(seconds)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.close()
            self._timer = None

    def recv(self, *arguments: Any) -> bytes:
        data: bytes = self._socket.recv(*arguments)
        if data and self._timer is not None and not self.begun:
            self.begun = True
            self._stop()
            self._start(HEAD_SECONDS)
        return data

    def sendall(self, data: Any, *arguments: Any) -> None:
        view = memoryview(data)
        for start in range(0, len(view), PIECE):
            slow = ConnectionResetError(errno.ECONNRESET, "the client takes nothing of its answer")
            with gevent.Timeout(SEND_SECONDS, slow):
                self._socket.sendall(view[start : start + PIECE], *arguments)


class Networks:
    """How many connections each network has; `most` 0: nobody counts."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._connected: Counter[str] = Counter()

    def enter(self, address: Any) -> str | None:
        """Count a connection in; its network, to be counted out again. None: there are too many."""
        network = _network(address)
        if self._most and self._connected[network] >= self._most:
            return None
        self._connected[network] += 1
        return network

    def leave(self, network: str) -> None:
        self._connected[network] -= 1
        if not self._connected[network]:
            del self._connected[network]


def _network(address: Any) -> str:
    """An IPv4 address, or the /64 that one IPv6 customer has; a local socket has no name."""
    try:
        found = ip_address(address[0].partition("%")[0])
    except (IndexError, TypeError, ValueError, AttributeError):
        return ""
    if found.version == 4:
        return str(found)
    return str(found.ipv4_mapped or ip_network((found, 64), strict=False))

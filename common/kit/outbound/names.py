"""Names to addresses within a deadline. `getaddrinfo` cannot be interrupted: it runs in a thread that is left behind.

One look-up per name at a time, shared by all who wait for it: a name that hangs costs one thread, not one per call.
Answers are not kept: a kept-alive connection needs none, a new one must see the present.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Sequence

from common.kit.outbound.addresses import Address, addresses_of
from common.kit.outbound.errors import Unreachable
from common.kit.outbound.watch import TICK, Call

#: (host, port) → addresses as text; raises `OSError` when there are none.
Resolver = Callable[[str, int], Sequence[str]]

MAX_LOOKUPS = 256


def system_resolver(host: str, port: int) -> list[str]:
    """What this machine says: hosts file, resolver, in its order of preference."""
    return [str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


class _Lookup:
    def __init__(self) -> None:
        self.done = threading.Event()
        self.addresses: list[Address] = []


class Names:
    def __init__(self, resolve: Resolver) -> None:
        self._resolve = resolve
        self._lock = threading.Lock()
        self._running: dict[tuple[str, int], _Lookup] = {}

    def addresses(self, host: str, port: int, call: Call) -> list[Address]:
        """Everything the name resolves to. Raises `Unreachable`, or what cut the call off."""
        lookup = self._lookup(host, port)
        while not lookup.done.wait(min(call.remaining, TICK)):
            call.check()
        if not lookup.addresses:
            raise Unreachable
        return lookup.addresses

    def _lookup(self, host: str, port: int) -> _Lookup:
        with self._lock:
            lookup = self._running.get((host, port))
            if lookup is None:
                if len(self._running) >= MAX_LOOKUPS:
                    raise Unreachable
                lookup = self._running[host, port] = _Lookup()
                threading.Thread(target=self._run, args=(host, port, lookup), name="outbound-dns", daemon=True).start()
            return lookup

    def _run(self, host: str, port: int, lookup: _Lookup) -> None:
        try:
            lookup.addresses = addresses_of(self._resolve(host, port))
        except (OSError, ValueError):  # no such name, no answer, an answer that is no address: all alike to users
            lookup.addresses = []
        finally:
            with self._lock:
                del self._running[host, port]
            lookup.done.set()

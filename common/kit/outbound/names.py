"""Names to addresses within a deadline, and nobody's names in the way of others'.

A name whose servers never answer is the cheapest of all attacks, so look-ups are few: one per name at a time, shared by
all who wait for it, and so many of one domain and of one account. Whoever finds no room waits for it. Answers are not
kept: a kept-alive connection needs none, a new one must see the present.
"""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

from common.kit.outbound.addresses import Address, addresses_of
from common.kit.outbound.errors import Unreachable
from common.kit.outbound.watch import TICK, Call

#: (host, port) → addresses as text; raises `OSError` when there are none.
Resolver = Callable[[str, int], Sequence[str]]

MAX_LOOKUPS: Final = 256
PER_DOMAIN: Final = 8
PER_ACCOUNT: Final = 8
#: Seconds that a look-up may take, and that one may wait for its turn.
LOOKUP_SECONDS: Final = 5.0
#: `co.uk`, `com.au`: what is registered there has one label more.
_REGISTRY = re.compile(r"[a-z0-9]{1,3}\.[a-z]{2}")


def domain_of(host: str) -> str:
    """What somebody has registered, as far as the form of a name tells: whose name servers are asked."""
    labels = host.split(".")
    last = ".".join(labels[-2:])
    return ".".join(labels[-3:]) if _REGISTRY.fullmatch(last) else last


class _Lookup:
    def __init__(self) -> None:
        self.done = threading.Event()
        self.addresses: list[Address] = []


class Names:
    """The look-ups of one process. Thread-safe; under gevent its threads are greenlets."""

    def __init__(self, resolve: Resolver) -> None:
        self._resolve = resolve
        self._room = threading.Condition()
        self._running: dict[tuple[str, int], _Lookup] = {}
        self._domains: Counter[str] = Counter()
        self._accounts: Counter[str] = Counter()

    def addresses(self, host: str, port: int, call: Call, account: str | None = None) -> list[Address]:
        """Everything the name resolves to; `account`: whose wish this is. Raises `Unreachable`, or what cut the call
        off.
        """
        lookup = self._joined(host, port, call, account)
        while not lookup.done.wait(min(call.remaining, TICK)):
            call.check()
        if not lookup.addresses:
            raise Unreachable
        return lookup.addresses

    def _joined(self, host: str, port: int, call: Call, account: str | None) -> _Lookup:
        """The look-up of this name that is under way, or a new one as soon as there is room for it."""
        give_up = time.monotonic() + LOOKUP_SECONDS
        with self._room:
            while (lookup := self._running.get((host, port))) is None and not self._has_room(host, account):
                call.check()
                if time.monotonic() >= give_up:
                    raise Unreachable
                self._room.wait(min(call.remaining, TICK))
            return lookup or self._start(host, port, account)

    def _has_room(self, host: str, account: str | None) -> bool:
        return (
            len(self._running) < MAX_LOOKUPS
            and self._domains[domain_of(host)] < PER_DOMAIN
            and (account is None or self._accounts[account] < PER_ACCOUNT)
        )

    def _start(self, host: str, port: int, account: str | None) -> _Lookup:
        lookup = self._running[host, port] = _Lookup()
        self._domains[domain_of(host)] += 1
        if account is not None:
            self._accounts[account] += 1
        arguments = (host, port, account, lookup)
        threading.Thread(target=self._run, args=arguments, name="outbound-dns", daemon=True).start()
        return lookup

    def _run(self, host: str, port: int, account: str | None, lookup: _Lookup) -> None:
        try:
            lookup.addresses = addresses_of(self._resolve(host, port))
        except (OSError, ValueError):  # no such name, no answer, an answer that is no address: all alike to users
            lookup.addresses = []
        finally:
            self._ended(host, port, account)
            lookup.done.set()

    def _ended(self, host: str, port: int, account: str | None) -> None:
        with self._room:
            del self._running[host, port]
            _less(self._domains, domain_of(host))
            if account is not None:
                _less(self._accounts, account)
            self._room.notify_all()


def _less(counter: Counter[str], name: str) -> None:
    counter[name] -= 1
    if not counter[name]:
        del counter[name]

"""Resolve names within a deadline, with limits so that slow names do not block the resolution of others.

A name whose servers never answer is a very cheap attack, so concurrent look-ups are limited: one per name, shared by
all callers, and a maximum per domain and per account. Callers beyond a limit wait. Answers are not cached: a kept-alive
connection needs none, and a new connection must see the current addresses.
"""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

from common.kit.outbound.addresses import Address, addresses_of
from common.kit.outbound.errors import PeerUnreachable
from common.kit.outbound.watch import TICK, Call

#: (host, port) → addresses as text; raises `OSError` when there are none.
Resolver = Callable[[str, int], Sequence[str]]

MAX_LOOKUPS: Final = 256
PER_DOMAIN: Final = 8
PER_ACCOUNT: Final = 8
#: Time limit for a look-up, and for waiting for its turn.
LOOKUP_SECONDS: Final = 5.0
#: Registries such as `co.uk` and `com.au`, whose registered domains have one more label.
_REGISTRY = re.compile(r"[a-z0-9]{1,3}\.[a-z]{2}")


def domain_of(host: str) -> str:
    """The registered domain of a host, guessed from the form of the name; its name servers are the ones queried."""
    labels = host.split(".")
    last = ".".join(labels[-2:])
    return ".".join(labels[-3:]) if _REGISTRY.fullmatch(last) else last


class _Lookup:
    def __init__(self) -> None:
        self.done = threading.Event()
        self.addresses: list[Address] = []


class Names:
    """Name look-ups of one process. Thread-safe; under gevent its threads are greenlets."""

    def __init__(self, resolve: Resolver) -> None:
        self._resolve = resolve
        self._room = threading.Condition()
        self._running: dict[tuple[str, int], _Lookup] = {}
        self._domains: Counter[str] = Counter()
        self._accounts: Counter[str] = Counter()

    def addresses(self, host: str, port: int, call: Call, account: str | None = None) -> list[Address]:
        """All addresses of the name. `account`: the account that chose it, if a user did.

        Raises:
            PeerUnreachable: the name has no address, or resolution timed out.
            TimedOut, Aborted: the call ended meanwhile.
        """
        lookup = self._joined(host, port, call, account)
        while not lookup.done.wait(min(call.remaining, TICK)):
            call.check()
        if not lookup.addresses:
            raise PeerUnreachable
        return lookup.addresses

    def _joined(self, host: str, port: int, call: Call, account: str | None) -> _Lookup:
        """The look-up of this name that is under way, or a new one as soon as the limits allow it."""
        give_up = time.monotonic() + LOOKUP_SECONDS
        with self._room:
            while (lookup := self._running.get((host, port))) is None and not self._has_room(host, account):
                call.check()
                if time.monotonic() >= give_up:
                    raise PeerUnreachable
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
        except (OSError, ValueError):  # no such name, no answer, or an invalid address: the same to users
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

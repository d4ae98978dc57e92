"""Resolve names through this machine's hosts file and name servers, with an enforced deadline.

`getaddrinfo` cannot be interrupted: a slow name server blocks the calling thread indefinitely. This resolver waits on
sockets, so under gevent other greenlets run meanwhile. `nsswitch.conf` is ignored.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import chain, zip_longest
from pathlib import Path
from typing import Final

from dns.exception import DNSException
from dns.nameserver import Do53Nameserver
from dns.resolver import NXDOMAIN, Resolver

from common.kit.outbound.names import LOOKUP_SECONDS

HOSTS: Final = Path("/etc/hosts")
RESOLV_CONF: Final = Path("/etc/resolv.conf")
#: Minimum time for the second query, however late the first was answered.
LEAST_SECONDS: Final = 0.5


class SystemResolver:
    """`resolver(host, port)`: a `names.Resolver`. `servers` (address, port) replace the machine's name servers."""

    def __init__(self, servers: Sequence[tuple[str, int]] = ()) -> None:
        self._servers = tuple(servers)

    def __call__(self, host: str, _port: int) -> list[str]:
        """Addresses with IPv4 and IPv6 alternating, so that the first few include both. Raises `OSError`."""
        if known := _hosts(_changed(HOSTS)).get(host):
            return list(known)
        try:
            resolver = _resolver(_changed(RESOLV_CONF), self._servers)
            return _alternating(*_answers(resolver, host))
        except DNSException as error:
            raise OSError(type(error).__name__) from error


def _answers(resolver: Resolver, host: str) -> Iterator[list[str]]:
    """The answers for A, then AAAA; one of them suffices. Raises `DNSException` when both fail."""
    deadline, found, failure = time.monotonic() + LOOKUP_SECONDS - LEAST_SECONDS, False, None
    for kind in ("A", "AAAA"):
        left = max(LEAST_SECONDS, deadline - time.monotonic())
        try:
            answer = resolver.resolve(host, kind, search=True, lifetime=left, raise_on_no_answer=False)
        except NXDOMAIN:
            raise
        except DNSException as error:
            failure = error
            continue
        if answer.rrset is not None:
            found = True
            yield [record.to_text() for record in answer.rrset]
    if failure is not None and not found:
        raise failure


def _alternating(*families: list[str]) -> list[str]:
    return [address for address in chain.from_iterable(zip_longest(*families)) if address is not None]


def _changed(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


@lru_cache(maxsize=4)
def _resolver(_changed: int, servers: tuple[tuple[str, int], ...]) -> Resolver:
    """The configured resolver. Raises `DNSException` if no name server is configured."""
    if not servers:
        return Resolver(str(RESOLV_CONF))
    resolver = Resolver(configure=False)
    resolver.nameservers = [Do53Nameserver(address, port) for address, port in servers]
    return resolver


@lru_cache(maxsize=1)
def _hosts(_changed: int) -> dict[str, list[str]]:
    """The hosts file by name, in lower case."""
    known: dict[str, list[str]] = {}
    try:
        lines = HOSTS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return known
    for line in lines:
        address, *names = line.partition("#")[0].split() or [""]
        for name in names:
            known.setdefault(name.lower().removesuffix("."), []).append(address)
    return known

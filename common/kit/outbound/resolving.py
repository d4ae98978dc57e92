"""What this machine says of a name, by its hosts file and its name servers, with a deadline that holds.

Not `getaddrinfo`: nothing can interrupt it, and a thread that waits in it is lost for as long as a name server likes.
This one waits on sockets, so that under gevent others run meanwhile. Of `nsswitch.conf` nothing is read.
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
#: The second question has at least so long, however late the first was answered.
LEAST_SECONDS: Final = 0.5


class SystemResolver:
    """`resolver(host, port)`: a `names.Resolver`. `servers` (address, port) are asked in place of the machine's own."""

    def __init__(self, servers: Sequence[tuple[str, int]] = ()) -> None:
        self._servers = tuple(servers)

    def __call__(self, host: str, _port: int) -> list[str]:
        """IPv4 and IPv6 in turn, so that whoever tries only the first few tries both. Raises `OSError`."""
        if known := _hosts(_changed(HOSTS)).get(host):
            return list(known)
        try:
            resolver = _resolver(_changed(RESOLV_CONF), self._servers)
            return _alternating(*_answers(resolver, host))
        except DNSException as error:
            raise OSError(type(error).__name__) from error


def _answers(resolver: Resolver, host: str) -> Iterator[list[str]]:
    """One family after the other; whichever has an answer will do. Raises `DNSException` when neither has."""
    give_up, found, trouble = time.monotonic() + LOOKUP_SECONDS - LEAST_SECONDS, False, None
    for kind in ("A", "AAAA"):
        left = max(LEAST_SECONDS, give_up - time.monotonic())
        try:
            answer = resolver.resolve(host, kind, search=True, lifetime=left, raise_on_no_answer=False)
        except NXDOMAIN:
            raise
        except DNSException as error:
            trouble = error
            continue
        if answer.rrset is not None:
            found = True
            yield [record.to_text() for record in answer.rrset]
    if trouble is not None and not found:
        raise trouble


def _alternating(*families: list[str]) -> list[str]:
    return [address for address in chain.from_iterable(zip_longest(*families)) if address is not None]


def _changed(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


@lru_cache(maxsize=4)
def _resolver(_changed: int, servers: tuple[tuple[str, int], ...]) -> Resolver:
    """Raises `DNSException`: there is nobody to ask."""
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

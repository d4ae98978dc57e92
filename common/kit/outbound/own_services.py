"""Where our own servers listen, which no tool and no webhook may name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from urllib.parse import SplitResult, parse_qs, urlsplit

from common.kit import redis_urls
from common.kit.outbound.addresses import ANYWHERE, PORTS

_SERVICE_PORTS = PORTS | {
    "postgresql": 5432,
    "postgres": 5432,
    "redis": 6379,
    "rediss": 6379,
    "amqp": 5672,
    "amqps": 5671,
}
_WEB = frozenset(("http", "https"))
_HERE = frozenset(("localhost", "127.0.0.1", "::1", "0.0.0.0", "::"))


def own_services(*urls: str | None) -> frozenset[tuple[str, int]]:
    """(host, port) of our own servers (PUBLIC_URL, DATABASE_URL, …) for `AddressPolicy.forbid`.

    A server on this machine is listed under each local name. The port of a database or broker is refused on every
    host: such servers have more names and addresses than the configured one, and these change.
    """
    found: set[tuple[str, int]] = set()
    for url in _single(urls):
        if redis_urls.has_hosts(url):
            # Sentinels say which servers there are, and these others: their usual port stands for them.
            found.update((ANYWHERE, port) for _, port in redis_urls.parse(url).addresses)
            found.add((ANYWHERE, _SERVICE_PORTS["redis"]))
            continue
        parts = urlsplit(url)
        usual = _SERVICE_PORTS.get(parts.scheme.partition("+")[0])
        if parts.scheme not in _WEB:
            found.update((ANYWHERE, port) for port in _ports(parts, usual))
        elif parts.hostname and (port := parts.port or usual):
            hosts = _HERE if parts.hostname in _HERE else {parts.hostname}
            found.update((host, port) for host in hosts)
    return frozenset(found)


def _single(urls: Iterable[str | None]) -> Iterator[str]:
    """Those that there are; of several brokers (`amqp://…;amqp://…`) each."""
    for url in filter(None, urls):
        yield from url.split(";") if url.startswith("amqp") else [url]


def _ports(parts: SplitResult, usual: int | None) -> Iterator[int]:
    """The ports of a server's URL, which may name several hosts, each with its own (libpq)."""
    hosts = parts.netloc.rpartition("@")[2].split(",")
    listed = parse_qs(parts.query).get("port", [""])[0].split(",")
    ports = {urlsplit(f"//{host}").port for host in hosts} | {int(port) for port in listed if port.isdigit()}
    yield from filter(None, (port or usual for port in ports))

"""URLs of Redis: one server, the primary that Sentinels name, or a cluster.

    redis://…, rediss://…, unix://…                                       one server, as redis-py reads them
    redis+sentinel://[user:password@]host[:26379],host…/NAME[/db]         the primary of NAME, according to Sentinels
    redis+cluster://[user:password@]host[:6379],host…                     a cluster, found by any of these nodes
    rediss+sentinel://…, rediss+cluster://…                               the same over TLS, to the Sentinels too

The user and password are those of the servers; `?sentinel_username=…&sentinel_password=…` those of the Sentinels.
With TLS: `ssl_ca_certs=FILE` (default: the system's), `ssl_certfile=FILE&ssl_keyfile=FILE` (a client certificate), and
`ssl_check_hostname=false` for certificates that do not name the addresses which Sentinels or nodes announce.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

SENTINEL: Final = "redis+sentinel"
CLUSTER: Final = "redis+cluster"
TLS_SENTINEL: Final = "rediss+sentinel"
TLS_CLUSTER: Final = "rediss+cluster"
#: Schemes of settings whose server is one Redis, or one that Sentinels name; and of those that take a cluster too.
ONE_PRIMARY: Final = ("redis", "rediss", "unix", SENTINEL, TLS_SENTINEL)
ANY: Final = (*ONE_PRIMARY, CLUSTER, TLS_CLUSTER)
PORTS: Final = {SENTINEL: 26379, TLS_SENTINEL: 26379, CLUSTER: 6379, TLS_CLUSTER: 6379}
_OF_SENTINELS: Final = {"sentinel_username", "sentinel_password"}
_OF_TLS: Final = {"ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname"}
_OPTIONS: Final = {
    SENTINEL: _OF_SENTINELS,
    TLS_SENTINEL: _OF_SENTINELS | _OF_TLS,
    CLUSTER: set[str](),
    TLS_CLUSTER: _OF_TLS,
}


@dataclass(frozen=True, slots=True)
class Hosts:
    """What a URL with several hosts says.

    `service`: Sentinels' name of the primary; empty for a cluster. `tls`: redis-py's `ssl_…` options of a connection;
    None without TLS.
    """

    scheme: str
    addresses: tuple[tuple[str, int], ...]
    username: str | None
    password: str | None
    service: str
    db: int
    sentinel_username: str | None
    sentinel_password: str | None
    tls: Mapping[str, str | bool] | None

    @property
    def tls_options(self) -> dict[str, str | bool]:
        """Options of a connection; empty without TLS."""
        return {} if self.tls is None else {"ssl": True, **self.tls}


def scheme_of(url: str) -> str:
    """The scheme of a URL, in lower case."""
    return url.partition(":")[0].lower()


def has_hosts(url: str) -> bool:
    """Whether it is a URL of Sentinels or of a cluster, for `parse`."""
    return scheme_of(url).endswith(("+sentinel", "+cluster"))


def is_cluster(url: str) -> bool:
    """Whether it is the URL of a cluster."""
    return scheme_of(url) in (CLUSTER, TLS_CLUSTER)


def parse(url: str) -> Hosts:
    """Read a URL of Sentinels or of a cluster. Raises `ValueError`, whose message says what is expected."""
    scheme = scheme_of(url)
    rest, _, query = url.partition("://")[2].partition("?")
    authority, _, path = rest.partition("/")
    user, _, hosts = authority.rpartition("@")
    username, _, password = user.partition(":")
    options = parse_qs(query)
    if unknown := options.keys() - _OPTIONS[scheme]:
        raise ValueError(f"does not know {', '.join(sorted(unknown))}")
    service, db = _path(scheme, path)
    return Hosts(
        scheme,
        tuple(_addresses(hosts, PORTS[scheme])),
        unquote(username) or None,
        unquote(password) or None,
        service,
        db,
        options.get("sentinel_username", [None])[0],
        options.get("sentinel_password", [None])[0],
        _tls(options) if scheme in (TLS_SENTINEL, TLS_CLUSTER) else None,
    )


def _tls(options: Mapping[str, list[str]]) -> dict[str, str | bool]:
    found: dict[str, str | bool] = {name: options[name][0] for name in sorted(_OF_TLS & options.keys())}
    check = found.setdefault("ssl_check_hostname", "true")
    if check not in ("true", "false"):
        raise ValueError("must have ssl_check_hostname=true or false")
    return {**found, "ssl_check_hostname": check == "true"}


def _path(scheme: str, path: str) -> tuple[str, int]:
    """The name of the primary, and the database."""
    if scheme in (CLUSTER, TLS_CLUSTER):
        if path.strip("/"):
            raise ValueError("must have no path: a cluster has one database")
        return "", 0
    service, _, db = path.partition("/")
    if not service or (db and not db.isdigit()):
        raise ValueError("must end in the name of the primary, such as /mymaster or /mymaster/0")
    return unquote(service), int(db or 0)


def _addresses(hosts: str, port: int) -> Iterator[tuple[str, int]]:
    for host in hosts.split(","):
        parts = urlsplit(f"//{host.strip()}")
        if not parts.hostname:
            raise ValueError("must list hosts such as host:port,host:port")
        yield parts.hostname, parts.port or port

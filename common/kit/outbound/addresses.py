"""Allowed targets: parse a URL once, and check every address its name resolves to against explicit networks.

`ipaddress.is_global` is not usable: it treats NAT64, 6to4, `::127.0.0.1` and multicast as global, and differs between
Python versions. The networks are those of the IANA special-purpose registries (RFC 6890 and its updates).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from urllib3.exceptions import LocationParseError
from urllib3.util import Url, parse_url

from common.kit.outbound.errors import Refused

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

MAX_URL = 2_048
MAX_HOST = 253
PORTS = {"http": 80, "https": 443}
PUBLIC_PORTS = frozenset(PORTS.values())
#: In `AddressPolicy.forbid`: any host.
ANYWHERE = "*"
LOOPBACK: tuple[Address, ...] = (IPv4Address("127.0.0.1"), IPv6Address("::1"))


def _networks(text: str) -> tuple[Network, ...]:
    return tuple(map(ip_network, text.split()))


#: Always denied, whatever the operator allows: cloud metadata services, which hand out a machine's credentials.
METADATA = _networks(
    "169.254.169.0/24 169.254.170.0/24 100.100.100.200 168.63.129.16 192.0.0.192 fd00:ec2::/32 fd20:ce::254"
    " fe80::a9fe:a9fe"
)
#: Not public. Of IPv6 only 2000::/3 is global unicast (RFC 4291), so all the rest is listed in three pieces.
DENIED = METADATA + _networks(
    """
    0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24
    192.31.196.0/24 192.52.193.0/24 192.88.99.0/24 192.168.0.0/16 192.175.48.0/24 198.18.0.0/15 198.51.100.0/24
    203.0.113.0/24 224.0.0.0/4 240.0.0.0/4
    ::/3 4000::/2 8000::/1 2001::/23 2001:db8::/32 2002::/16 2620:4f:8000::/48 3ffe::/16 3fff::/20
    """
)
#: IPv6 that carries an IPv4 address in its last 32 bits: IPv4-compatible, NAT64 and SIIT (RFC 4291, 6052, 8215, 2765).
_CARRIERS = _networks("::/96 64:ff9b::/96 64:ff9b:1::/96 ::ffff:0:0:0/96")
#: Names that are only meaningful inside a private network (RFC 6761, 6762, 8375; ICANN for `.internal`).
_PRIVATE_NAME = re.compile(r"[^.]+|.*\.(?:localhost|local|localdomain|internal|intranet|lan|home\.arpa|onion)")
#: Cloud metadata services, by name.
_METADATA_NAMES = frozenset(
    ("metadata.google.internal", "metadata.goog", "metadata", "instance-data", "instance-data.ec2.internal")
)
_HOST = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
#: Numeric hosts such as `127.1`, `0x7f.1` and `2130706433`: libc reads them as addresses, other parsers differ.
_NUMERIC = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)")
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f\\\ud800-\udfff]")
_AUTHORITY = re.compile(r"https?://([^/?#]+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Target:
    """A parsed URL. `host` is ASCII, lower-case, without brackets; `path` includes the query; `url` is normalized."""

    url: str
    scheme: str
    host: str
    port: int
    path: str
    literal: Address | None

    @property
    def public(self) -> bool:
        """Whether it has the form required of public targets: https, port 443 or 80, no private name."""
        return self.scheme == "https" and self.port in PUBLIC_PORTS and not self.private_name

    @property
    def private_name(self) -> bool:
        """Whether its name is only meaningful inside a private network."""
        return self.literal is None and _PRIVATE_NAME.fullmatch(self.host) is not None

    @property
    def local(self) -> bool:
        """Whether the host is `localhost`, which is always this machine, whatever a resolver says (RFC 6761)."""
        return self.host == "localhost" or self.host.endswith(".localhost")

    def with_query(self, query: str) -> Target:
        """The same target with this appended to its query."""
        mark = "&" if "?" in self.path else "?"
        return replace(self, path=f"{self.path}{mark}{query}") if query else self


@lru_cache(maxsize=1_024)
def parse(url: str) -> Target:
    """Parse a URL with the same parser that the connection uses, and only once. Raises `Refused`."""
    if len(url) > MAX_URL:
        raise Refused(f"The URL is longer than {MAX_URL} characters.")
    authority = None if _FORBIDDEN.search(url) else _AUTHORITY.match(url)
    if authority is None:
        raise Refused("The URL is not a valid http or https URL.")
    if "@" in authority[1] or "%" in authority[1]:
        raise Refused("The URL must not have credentials or escapes in its host.")
    try:
        parts = parse_url(url)
    except (LocationParseError, ValueError) as error:
        raise Refused("The URL is not a valid http or https URL.") from error
    return _target(parts)


def authority_of(url: str) -> str:
    """The host and port of a URL. Raises `Refused`."""
    target = parse(url)
    return f"{target.host}:{target.port}"


def _target(parts: Url) -> Target:
    scheme, host = parts.scheme or "", (parts.host or "").removesuffix(".")
    port = PORTS[scheme] if parts.port is None else parts.port
    literal = _literal(host)
    if port == 0 or (literal is None and not _is_name(host)):
        raise Refused("The URL does not name a valid host and port.")
    usual = port == PORTS[scheme]
    path = Url(path=parts.path or "/", query=parts.query).url
    netloc = host if usual else f"{host}:{port}"
    return Target(f"{scheme}://{netloc}{path}", scheme, host.strip("[]"), port, path, literal)


def _literal(host: str) -> Address | None:
    try:
        return IPv6Address(host[1:-1]) if host.startswith("[") and "%" not in host else IPv4Address(host)
    except ValueError:
        return None


def _is_name(host: str) -> bool:
    return len(host) <= MAX_HOST and bool(_HOST.fullmatch(host)) and not _NUMERIC.fullmatch(host)


@dataclass(frozen=True, slots=True)
class AddressPolicy:
    """Rules for targets.

    `allow`: private networks that may be reached, on any port and over plain http. `forbid`: (host, address or
    `ANYWHERE`, port) of our own services, which are always refused.
    """

    allow: tuple[Network, ...] = ()
    forbid: frozenset[tuple[str, int]] = frozenset()

    def check(self, target: Target, addresses: Iterable[Address]) -> None:
        """Check a target and every address its name resolved to. Raises `Refused`.

        A single forbidden address refuses the target: a mix of allowed and forbidden addresses suggests probing.
        """
        if self._is_ours(target.host, target.port) or not all(self.permits(target, a) for a in addresses):
            raise Refused("The URL leads to an address that is not allowed as a target.")

    def check_name(self, target: Target, *, operator: bool) -> None:
        """Check a target by its URL alone, without resolving it. Raises `Refused`.

        If networks are allowed, a private name may resolve into one of them; for an operator any name may.
        """
        if self._is_ours(target.host, target.port) or target.host in _METADATA_NAMES:
            raise Refused("The URL leads to an address that is not allowed as a target.")
        if not target.public and not (self.allow and (target.private_name or operator)):
            raise Refused("Only https URLs of public hosts, on port 443 or 80, are allowed as targets.")

    def permits(self, target: Target, address: Address) -> bool:
        """Whether this address may be connected to for the target."""
        plain = _unwrapped(address)
        if _within(_carried(plain), METADATA) or self._is_ours(str(plain), target.port):
            return False
        return _within(plain, self.allow) or (target.public and not _within(plain, DENIED))

    def _is_ours(self, host: str, port: int) -> bool:
        return (host, port) in self.forbid or (ANYWHERE, port) in self.forbid


def _within(address: Address, networks: Iterable[Network]) -> bool:
    return any(address in network for network in networks)


def _unwrapped(address: Address) -> Address:
    """The IPv4 address of an IPv4-mapped IPv6 address such as `::ffff:127.0.0.1`, which is what the kernel dials."""
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address


def _carried(address: Address) -> Address:
    """The IPv4 address to which a translator (6to4, NAT64, SIIT) would forward."""
    if isinstance(address, IPv6Address):
        if address.sixtofour is not None:
            return address.sixtofour
        if _within(address, _CARRIERS):
            return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


def addresses_of(answers: Iterable[str]) -> list[Address]:
    """The addresses in a resolver's answers, in order, without duplicates and scope ids."""
    return list(dict.fromkeys(ip_address(answer.partition("%")[0]) for answer in answers))

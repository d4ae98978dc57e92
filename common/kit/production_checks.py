"""Checks of production settings: guessable keys and passwords, unauthenticated servers, plain-http links."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network, IPv6Network, ip_address
from itertools import pairwise
from typing import Final
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from common.kit import redis_urls

#: Shannon entropy of the key's characters, in bits; 16 random bytes in hex have about 115.
MIN_BITS: Final = 96
#: Distinct differences between neighbouring characters: a random key has dozens, an alphabet has one.
MIN_STEPS: Final = 10
MIN_PASSWORD: Final = 10
SERVERS: Final = ("DATABASE_URL", "DATABASE_REPLICA_URL", "REDIS_URL", "BROKER_URL", "STREAM_URL")
MIN_CHARACTERS: Final = 5
#: Words that no random generator produces.
WORDS: Final = (
    "admin", "changeme", "change-me", "change_me", "default", "development", "example", "insecure", "letmein",
    "password", "passwort", "placeholder", "postgres", "qwerty", "rabbitmq", "replace", "secret", "12345678",
    "00000000",
)  # fmt: skip
#: Shortest prefix length, by IP version, that counts as a private network.
NARROW: Final = {4: 8, 6: 7}


def key_fault(key: str) -> bool:
    """Whether a key does not look random."""
    counts = Counter(key)
    bits = -sum(count * math.log2(count / len(key)) for count in counts.values())
    steps = {ord(after) - ord(before) for before, after in pairwise(key)}
    return bits < MIN_BITS or len(steps) < MIN_STEPS or _repeats(key) or _word_in(key)


def password_fault(user: str, password: str) -> str | None:
    """Why a password is guessable; None if no rule applies."""
    if len(password) < MIN_PASSWORD:
        return f"has a password shorter than {MIN_PASSWORD} characters"
    named = bool(user) and user.lower() in password.lower()
    if len(set(password)) < MIN_CHARACTERS or _repeats(password) or named or _word_in(password):
        return "has a password that is easy to guess"
    return None


def _repeats(text: str) -> bool:
    return text in (text + text)[1:-1]


def _word_in(text: str) -> bool:
    return any(word in text.lower() for word in WORDS)


def url_faults(name: str, url: str) -> Iterator[str]:
    """Problems of a server's URL or of PUBLIC_URL."""
    if name in SERVERS:
        nodes = url.split(";") if url.startswith("amqp") else [url]  # of RabbitMQ, as kombu reads them
        yield from dict.fromkeys(fault for node in nodes for fault in _server_faults(name, node))
    elif name == "PUBLIC_URL" and (fault := _public_fault(url)):
        yield f"{name} {fault}"


def _server_faults(name: str, url: str) -> Iterator[str]:
    """A guessable password, or a missing one where the server has no other way to authenticate clients."""
    if redis_urls.has_hosts(url):
        hosts = redis_urls.parse(url)
        user, password = hosts.username or "", hosts.password or ""
        wanted = "ssl_certfile" not in (hosts.tls or {})
    else:
        parts = urlsplit(url)
        (user, password), wanted = _credentials(parts), _wants_password(parts)
    if password:
        if fault := password_fault(user, password):
            yield f"{name} {fault}"
    elif wanted:
        yield f"{name} needs a password in production (or a Unix socket)"


def _credentials(parts: SplitResult) -> tuple[str, str]:
    query = parse_qs(parts.query)
    user, password = (unquote(given or "") for given in (parts.username, parts.password))
    return user or query.get("user", query.get("username", [""]))[0], password or query.get("password", [""])[0]


def _wants_password(parts: SplitResult) -> bool:
    """Whether the URL must contain a password. PostgreSQL has other ways (client certificates, a password file)."""
    scheme = parts.scheme.split("+")[0]
    return scheme in {"redis", "amqp", "amqps"} or (scheme == "rediss" and "ssl_certfile" not in parts.query)


def pair_faults(name: str, pairs: str) -> Iterator[str]:
    """Problems of `user:password`, or several of these, comma-separated."""
    for pair in pairs.split(","):
        user, _, password = pair.partition(":")
        if fault := password_fault(user, password):
            yield f"{name} {fault}"


def _public_fault(url: str) -> str | None:
    """Links contain tokens, so they must not be sent over plain http."""
    parts = urlsplit(url)
    if parts.scheme == "https" or _is_loopback(parts.hostname or ""):
        return None
    return "must start with https:// in production"


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def networks_fault(networks: Iterable[IPv4Network | IPv6Network]) -> str | None:
    """What is wrong with networks that may be called although they are private; None when nothing is."""
    wide = [str(network) for network in networks if network.prefixlen < NARROW[network.version]]
    return f"includes more than private networks: {', '.join(wide)}" if wide else None

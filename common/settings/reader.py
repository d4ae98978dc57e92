"""Read single settings from the environment, collecting every problem instead of stopping at the first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import TypeVar
from urllib.parse import SplitResult, urlsplit

from common.kit import production_checks, redis_urls

T = TypeVar("T")
Network = IPv4Network | IPv6Network

#: Default secrets for development. Production refuses to start with any of them.
DEVELOPMENT_SECRETS = {
    "JWT_SECRET_KEY": "development-only-jwt-secret-do-not-deploy",
    "SECRETS_KEYS": "development-only-secrets-key-do-not-deploy",
    "FLOWER_BASIC_AUTH": "flower:development-only",
}
_NOTHING = SplitResult("", "", "", "", "")
MIN_SECRET_BYTES = 32
MIN_PASSWORD = 10


class Reader:
    """Parses values from the environment; `problems` has a line for each one that is missing or invalid."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self.env = env
        self.problems: list[str] = []
        self.production = env.get("ENV", "development") == "production"

    def text(self, name: str, default: str) -> str:
        """The value of a setting, or of the file named by `<NAME>_FILE`, without surrounding white space."""
        file = self.env.get(f"{name}_FILE")
        if file and name in self.env:
            self.problems.append(f"{name} and {name}_FILE are both set; set one")
        if file:
            try:
                return Path(file).read_text(encoding="utf-8").strip() or default
            except OSError as error:
                self.problems.append(f"{name}_FILE cannot be read: {error.strerror}")
                return default
        return self.env.get(name, "").strip() or default

    def required(self, development_default: str) -> str:
        """The development default; empty in production, which `url` reports as a problem."""
        return "" if self.production else development_default

    def parsed(self, name: str, default: T, parse: Callable[[str], T], expected: str) -> T:
        """The value as parsed; `parse` raises `ValueError` for one that is not `expected`."""
        raw = self.text(name, "")
        if not raw:
            return default
        try:
            return parse(raw)
        except ValueError:
            self.problems.append(f"{name} must be {expected}, not {raw!r}")
            return default

    def integer(self, name: str, default: int, low: int, high: int) -> int:
        """A whole number within both bounds."""

        def parse(raw: str) -> int:
            number = int(raw)
            if not low <= number <= high:
                raise ValueError
            return number

        return self.parsed(name, default, parse, f"a whole number from {low} to {high}")

    def boolean(self, name: str, default: bool) -> bool:
        """true or false; also 1, 0, yes and no."""
        words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}

        def parse(raw: str) -> bool:
            if raw.lower() not in words:
                raise ValueError
            return words[raw.lower()]

        return self.parsed(name, default, parse, "true or false")

    def choice(self, name: str, default: str, options: tuple[str, ...]) -> str:
        """One of the options."""
        value = self.text(name, default)
        if value not in options:
            self.problems.append(f"{name} must be one of {', '.join(options)}, not {value!r}")
        return value

    def url(self, value: str, name: str, schemes: tuple[str, ...]) -> str:
        """A URL with one of these schemes; where they may have several hosts, also a list of them."""
        if not value:
            if name in {"DATABASE_URL", "REDIS_URL"}:
                self.problems.append(f"{name} is required in production")
            return value
        scheme = redis_urls.scheme_of(value)
        if (scheme if redis_urls.has_hosts(value) else scheme.split("+")[0]) not in schemes:
            self.problems.append(f"{name} must start with {' or '.join(s + '://' for s in schemes)}")
            return value
        try:
            redis_urls.parse(value) if redis_urls.has_hosts(value) else None
        except ValueError as fault:
            self.problems.append(f"{name} {fault}")
            return value
        if not redis_urls.has_hosts(value) and _split(value) == _NOTHING:
            self.problems.append(f"{name} is not a valid URL (brackets in a password are written %5B and %5D)")
            return value
        if self.production:
            self.problems += production_checks.url_faults(name, value)
        return value

    def optional_url(self, name: str, schemes: tuple[str, ...]) -> str | None:
        """Like `url`, or None if it is not set."""
        return self.url(self.text(name, ""), name, schemes) or None

    def collector(self, name: str) -> str | None:
        """Where traces are sent (OTLP over HTTP), or None."""
        value = self.optional_url(name, ("http", "https"))
        if value and find_spec("opentelemetry") is None:
            self.problems.append(f"{name} needs the packages of requirements-tracing.txt")
        return value

    def origins(self, name: str) -> tuple[str, ...]:
        """Origins (RFC 6454), comma-separated, without wildcards."""
        origins = tuple(o.strip().rstrip("/") for o in self.text(name, "").split(",") if o.strip())
        for origin in origins:
            parts = _split(origin)
            if parts.scheme not in {"http", "https"} or not parts.netloc or parts.path or "*" in origin:
                self.problems.append(f"{name} must list exact origins such as https://app.example.com, not {origin!r}")
        return origins

    def issuers(self, name: str) -> tuple[str, ...]:
        """Issuer identifiers (RFC 8414 §2), as written: clients compare them character by character."""
        issuers = tuple(issuer.strip() for issuer in self.text(name, "").split(",") if issuer.strip())
        for issuer in issuers:
            parts = _split(issuer)
            secure = parts.scheme == "https" or (parts.scheme == "http" and not self.production)
            if not secure or not parts.netloc or parts.query or parts.fragment:
                self.problems.append(f"{name} must list issuers such as https://login.example.com, not {issuer!r}")
        return issuers

    def networks(self, name: str, default: str) -> tuple[Network, ...]:
        """Networks in CIDR notation, comma-separated."""

        def parse(raw: str) -> tuple[Network, ...]:
            return tuple(ip_network(part.strip()) for part in raw.split(",") if part.strip())

        networks = self.parsed(name, parse(default), parse, "a comma-separated list of CIDR networks")
        if self.production and (fault := production_checks.networks_fault(networks)):
            self.problems.append(f"{name} {fault}")
        return networks

    def servers(self, name: str) -> tuple[tuple[str, int], ...]:
        """Addresses of DNS servers, comma-separated; port 53 unless one is given."""

        def parse(raw: str) -> tuple[tuple[str, int], ...]:
            parts = [urlsplit(f"//{part.strip()}") for part in raw.split(",") if part.strip()]
            return tuple((str(ip_address(part.hostname or "")), part.port or 53) for part in parts)

        return self.parsed(name, (), parse, "a comma-separated list of addresses, with or without a port")

    # -- secrets ---------------------------------------------------------------------------------------------

    def secrets(self, name: str) -> tuple[str, ...]:
        """Keys, comma-separated: the first one is used, the others are accepted. Required in production."""
        default = DEVELOPMENT_SECRETS[name]
        keys = tuple(k.strip() for k in self.text(name, "" if self.production else default).split(",") if k.strip())
        if not keys:
            self.problems.append(f"{name} is required in production (32 bytes or more; `openssl rand -hex 32`)")
        for key in keys:
            if len(key.encode()) < MIN_SECRET_BYTES:
                self.problems.append(f"{name} has a key shorter than {MIN_SECRET_BYTES} bytes")
            elif self.production and key == default:
                self.problems.append(f"{name} is the development secret; production needs its own")
            elif self.production and production_checks.key_fault(key):
                self.problems.append(f"{name} has a guessable key; production needs a random one")
        if len(set(keys)) != len(keys):
            self.problems.append(f"{name} lists the same key twice")
        return keys

    def password(self, name: str) -> str | None:
        """A password of at least ten characters, or None."""
        value = self.text(name, "") or None
        if value is not None and len(value) < MIN_PASSWORD:
            self.problems.append(f"{name} must have at least {MIN_PASSWORD} characters")
        return value

    def flower_auth(self) -> str:
        """Who may use Flower: `user:password`, comma-separated. Required in production."""
        name = "FLOWER_BASIC_AUTH"
        value = self.text(name, "" if self.production else DEVELOPMENT_SECRETS[name])
        if not value:
            self.problems.append(f"{name} is required in production (user:password)")
        elif not all(user and password for user, _, password in (pair.partition(":") for pair in value.split(","))):
            self.problems.append(f"{name} must be user:password (or several, comma-separated)")
        elif self.production and value == DEVELOPMENT_SECRETS[name]:
            self.problems.append(f"{name} is the development secret; production needs its own")
        elif self.production:
            self.problems += production_checks.pair_faults(name, value)
        return value

    def failpoints(self) -> str:
        """Failpoints to set off, for tests; refused in production."""
        value = self.text("FAILPOINTS", "")
        if value and self.production:
            self.problems.append("FAILPOINTS must not be set in production")
        return value


def _split(url: str) -> SplitResult:
    """The parts of a URL; all are empty if it is none."""
    try:
        return urlsplit(url)
    except ValueError:
        return _NOTHING

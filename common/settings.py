"""One frozen `Settings`, read once from the environment, complaining about everything that is wrong at once.

Each name is explained in `.env.example`. A secret may also come from a file: `<NAME>_FILE` names it. A `.env`
file in the working directory is read first; the real environment wins over it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from common.kit import guessing
from common.kit.dotenv import over, read_dotenv

T = TypeVar("T")
Network = IPv4Network | IPv6Network

#: Secrets that development falls back to. Production refuses to start with any of them.
DEVELOPMENT_SECRETS = {
    "JWT_SECRET_KEY": "development-only-jwt-secret-do-not-deploy",
    "SECRETS_KEYS": "development-only-secrets-key-do-not-deploy",
    "FLOWER_BASIC_AUTH": "flower:development-only",
}
MIN_SECRET_BYTES = 32
MIN_PASSWORD = 10


class SettingsError(Exception):
    """Everything that is wrong with the environment, one line each."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("settings are not usable:\n" + "\n".join(f"  - {p}" for p in problems))


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole configuration of one process. Durations are seconds, sizes bytes."""

    env: str
    database_url: str
    redis_url: str
    broker_url: str
    jwt_secret_keys: tuple[str, ...] = field(repr=False)
    secrets_keys: tuple[str, ...] = field(repr=False)
    admin_email: str | None
    admin_password: str | None = field(repr=False)
    host: str
    port: int
    flower_port: int
    tools_port: int
    flower_basic_auth: str = field(repr=False)
    data_dir: Path
    public_url: str
    cors_origins: tuple[str, ...]
    smtp_url: str | None = field(repr=False)
    mail_from: str
    outbound_allow: tuple[Network, ...]
    outbound_dns: tuple[tuple[str, int], ...]
    web_processes: int
    worker_processes: int
    worker_threads: int
    log_level: str
    log_format: str
    otel_endpoint: str | None
    trusted_proxies: int
    max_body_bytes: int
    max_connections_per_address: int
    max_streams: int
    max_stored_bytes: int
    expose_docs: bool
    expose_metrics: bool
    metrics_port: int | None
    email_verification_required: bool
    queue_messages_max: int
    usage_retention_months: int
    payload_retention_days: int
    failpoints: str

    @property
    def production(self) -> bool:
        return self.env == "production"


def load(environ: Mapping[str, str] | None = None, *, dotenv: Path | None = Path(".env")) -> Settings:
    """Read the settings. Raises `SettingsError` with every problem found, not just the first."""
    env = dict(os.environ if environ is None else environ)
    if environ is None and dotenv is not None and dotenv.is_file():
        env = over(read_dotenv(dotenv.read_text(encoding="utf-8")), env)
    return _Reader(env).settings()


def load_or_exit() -> Settings:
    """For processes: they end with what is wrong in so many words, and no traceback around it."""
    try:
        return load()
    except SettingsError as error:
        sys.exit(str(error))


class _Reader:
    """Takes values from the environment and remembers what was wrong with them."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self.env = env
        self.problems: list[str] = []
        self.production = env.get("ENV", "development") == "production"

    def settings(self) -> Settings:
        database_url = self.text("DATABASE_URL", self.required("postgresql://localhost/joyfull"))
        redis_url = self.text("REDIS_URL", self.required("redis://localhost:6379/0"))
        port = self.integer("PORT", 8000, 1, 65535)
        worker_processes = self.integer("WORKER_PROCESSES", 2, 1, 256)
        worker_threads = self.integer("WORKER_THREADS", 200, 1, 2000)
        data_dir = Path(self.text("DATA_DIR", "./var")).absolute()
        settings = Settings(
            env=self.choice("ENV", "development", ("development", "production")),
            database_url=self.url(database_url, "DATABASE_URL", ("postgresql", "postgres")),
            redis_url=self.url(redis_url, "REDIS_URL", ("redis", "rediss", "unix")),
            broker_url=self.url(self.text("BROKER_URL", ""), "BROKER_URL", ("redis", "rediss", "unix", "amqp", "amqps"))
            or redis_url,
            jwt_secret_keys=self.secrets("JWT_SECRET_KEY"),
            secrets_keys=self.secrets("SECRETS_KEYS"),
            admin_email=self.text("ADMIN_EMAIL", "") or None,
            admin_password=self.password("ADMIN_PASSWORD"),
            host=self.text("HOST", "127.0.0.1"),
            port=port,
            flower_port=self.integer("FLOWER_PORT", 5555, 1, 65535),
            tools_port=self.integer("TOOLS_PORT", 8100, 1, 65535),
            flower_basic_auth=self.flower_auth(),
            data_dir=data_dir,
            public_url=self.url(
                self.text("PUBLIC_URL", f"http://localhost:{port}"), "PUBLIC_URL", ("http", "https")
            ).rstrip("/"),
            cors_origins=self.origins("CORS_ORIGINS"),
            smtp_url=self.url(self.text("SMTP_URL", ""), "SMTP_URL", ("smtp", "smtps")) or None,
            mail_from=self.text("MAIL_FROM", "Joyfull Hub <no-reply@localhost>"),
            outbound_allow=self.networks("OUTBOUND_ALLOW", "" if self.production else "127.0.0.0/8"),
            outbound_dns=self.servers("OUTBOUND_DNS"),
            web_processes=self.integer("WEB_PROCESSES", 2, 1, 256),
            worker_processes=worker_processes,
            worker_threads=worker_threads,
            log_level=self.choice("LOG_LEVEL", "INFO", ("DEBUG", "INFO", "WARNING", "ERROR")),
            log_format=self.choice("LOG_FORMAT", "json", ("json", "console")),
            otel_endpoint=self.collector("OTEL_EXPORTER_OTLP_ENDPOINT"),
            trusted_proxies=self.integer("TRUSTED_PROXIES", 0, 0, 10),
            max_body_bytes=self.integer("MAX_BODY_BYTES", 1024 * 1024, 1024, 64 * 1024 * 1024),
            max_connections_per_address=self.integer("MAX_CONNECTIONS_PER_ADDRESS", 1000, 0, 1_000_000),
            max_streams=self.integer("MAX_STREAMS", 200, 1, 100_000),
            max_stored_bytes=self.integer("MAX_STORED_BYTES", 10 * 1024**3, 0, 2**53 - 1),
            expose_docs=self.boolean("EXPOSE_DOCS", not self.production),
            expose_metrics=self.boolean("EXPOSE_METRICS", not self.production),
            metrics_port=self.integer("METRICS_PORT", 0, 0, 65535) or None,
            email_verification_required=self.boolean("EMAIL_VERIFICATION_REQUIRED", False),
            queue_messages_max=self.integer("QUEUE_MESSAGES_MAX", worker_processes * worker_threads, 1, 1_000_000),
            usage_retention_months=self.integer("USAGE_RETENTION_MONTHS", 0, 0, 1_200),
            payload_retention_days=self.integer("PAYLOAD_RETENTION_DAYS", 0, 0, 36_500),
            failpoints=self.failpoints(),
        )
        if set(settings.jwt_secret_keys) & set(settings.secrets_keys):
            self.problems.append("JWT_SECRET_KEY and SECRETS_KEYS have a key in common")
        if self.problems:
            raise SettingsError(self.problems)
        return settings

    # -- single values ---------------------------------------------------------------------------------------

    def text(self, name: str, default: str) -> str:
        file = self.env.get(f"{name}_FILE")
        if file and name in self.env:
            self.problems.append(f"{name} and {name}_FILE are both set; set one")
        if file:
            try:
                return Path(file).read_text(encoding="utf-8").strip()
            except OSError as error:
                self.problems.append(f"{name}_FILE cannot be read: {error.strerror}")
                return default
        return self.env.get(name, "").strip() or default

    def required(self, development_default: str) -> str:
        """In production nothing is guessed: an empty default is reported by `url`."""
        return "" if self.production else development_default

    def parsed(self, name: str, default: T, parse: Callable[[str], T], expected: str) -> T:
        raw = self.text(name, "")
        if not raw:
            return default
        try:
            return parse(raw)
        except ValueError:
            self.problems.append(f"{name} must be {expected}, not {raw!r}")
            return default

    def integer(self, name: str, default: int, low: int, high: int) -> int:
        def parse(raw: str) -> int:
            number = int(raw)
            if not low <= number <= high:
                raise ValueError
            return number

        return self.parsed(name, default, parse, f"a whole number from {low} to {high}")

    def boolean(self, name: str, default: bool) -> bool:
        words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}

        def parse(raw: str) -> bool:
            if raw.lower() not in words:
                raise ValueError
            return words[raw.lower()]

        return self.parsed(name, default, parse, "true or false")

    def choice(self, name: str, default: str, options: tuple[str, ...]) -> str:
        value = self.text(name, default)
        if value not in options:
            self.problems.append(f"{name} must be one of {', '.join(options)}, not {value!r}")
        return value

    def url(self, value: str, name: str, schemes: tuple[str, ...]) -> str:
        if not value:
            if name in {"DATABASE_URL", "REDIS_URL"}:
                self.problems.append(f"{name} is required in production")
            return value
        if urlsplit(value).scheme.split("+")[0] not in schemes:
            self.problems.append(f"{name} must start with {' or '.join(s + '://' for s in schemes)}")
        if self.production:
            self.problems += guessing.url_faults(name, value)
        return value

    def collector(self, name: str) -> str | None:
        value = self.url(self.text(name, ""), name, ("http", "https")) or None
        if value and find_spec("opentelemetry") is None:
            self.problems.append(f"{name} needs the packages of requirements-tracing.txt")
        return value

    def origins(self, name: str) -> tuple[str, ...]:
        origins = tuple(o.strip().rstrip("/") for o in self.text(name, "").split(",") if o.strip())
        for origin in origins:
            parts = urlsplit(origin)
            if parts.scheme not in {"http", "https"} or not parts.netloc or parts.path or "*" in origin:
                self.problems.append(f"{name} must list exact origins such as https://app.example.com, not {origin!r}")
        return origins

    def networks(self, name: str, default: str) -> tuple[Network, ...]:
        def parse(raw: str) -> tuple[Network, ...]:
            return tuple(ip_network(part.strip()) for part in raw.split(",") if part.strip())

        networks = self.parsed(name, parse(default), parse, "a comma-separated list of CIDR networks")
        if self.production and (fault := guessing.networks_fault(networks)):
            self.problems.append(f"{name} {fault}")
        return networks

    def servers(self, name: str) -> tuple[tuple[str, int], ...]:
        def parse(raw: str) -> tuple[tuple[str, int], ...]:
            parts = [urlsplit(f"//{part.strip()}") for part in raw.split(",") if part.strip()]
            return tuple((str(ip_address(part.hostname or "")), part.port or 53) for part in parts)

        return self.parsed(name, (), parse, "a comma-separated list of addresses, with or without a port")

    # -- secrets ---------------------------------------------------------------------------------------------

    def secrets(self, name: str) -> tuple[str, ...]:
        default = DEVELOPMENT_SECRETS[name]
        keys = tuple(k.strip() for k in self.text(name, "" if self.production else default).split(",") if k.strip())
        if not keys:
            self.problems.append(f"{name} is required in production (32 bytes or more; `openssl rand -hex 32`)")
        for key in keys:
            if len(key.encode()) < MIN_SECRET_BYTES:
                self.problems.append(f"{name} has a key shorter than {MIN_SECRET_BYTES} bytes")
            elif self.production and key == default:
                self.problems.append(f"{name} is the development secret; production needs its own")
            elif self.production and guessing.key_fault(key):
                self.problems.append(f"{name} has a key that can be guessed; production needs one by chance")
        if len(set(keys)) != len(keys):
            self.problems.append(f"{name} lists the same key twice")
        return keys

    def password(self, name: str) -> str | None:
        value = self.text(name, "") or None
        if value is not None and len(value) < MIN_PASSWORD:
            self.problems.append(f"{name} must have at least {MIN_PASSWORD} characters")
        return value

    def flower_auth(self) -> str:
        name = "FLOWER_BASIC_AUTH"
        value = self.text(name, "" if self.production else DEVELOPMENT_SECRETS[name])
        if not value:
            self.problems.append(f"{name} is required in production (user:password)")
        elif not all(user and password for user, _, password in (pair.partition(":") for pair in value.split(","))):
            self.problems.append(f"{name} must be user:password (or several, comma-separated)")
        elif self.production and value == DEVELOPMENT_SECRETS[name]:
            self.problems.append(f"{name} is the development secret; production needs its own")
        elif self.production:
            self.problems += guessing.pair_faults(name, value)
        return value

    def failpoints(self) -> str:
        value = self.text("FAILPOINTS", "")
        if value and self.production:
            self.problems.append("FAILPOINTS must not be set in production")
        return value

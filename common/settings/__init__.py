"""One frozen `Settings`, read once from the environment; all problems are reported at once.

`.env.example` documents every setting. Any of them may also be read from a file named by `<NAME>_FILE`. A `.env` file
in the working directory is read first; the process environment takes precedence over it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from common.kit import redis_urls
from common.kit.dotenv import over, read_dotenv
from common.settings.reader import DEVELOPMENT_SECRETS, Network, Reader

__all__ = ["DEVELOPMENT_SECRETS", "Reader", "Settings", "SettingsError", "load", "load_or_exit", "read_from"]

POSTGRESQL = ("postgresql", "postgres")


class SettingsError(Exception):
    """All problems of the environment, one line each."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("invalid settings:\n" + "\n".join(f"  - {p}" for p in problems))


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole configuration of one process. Durations are seconds, sizes bytes."""

    env: str
    database_url: str
    database_replica_url: str | None
    database_pooling: str
    redis_url: str
    broker_url: str
    stream_url: str
    stream_max_bytes: int
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
    oauth_issuers: tuple[str, ...]
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
    def shares_connections(self) -> bool:
        """Whether `database_url` is that of a pooler which gives a connection for one transaction at a time."""
        return self.database_pooling == "transaction"

    @property
    def production(self) -> bool:
        """Whether unsafe defaults are refused."""
        return self.env == "production"


def load(environ: Mapping[str, str] | None = None, *, dotenv: Path | None = Path(".env")) -> Settings:
    """Read the settings. Raises `SettingsError` with all problems found, not just the first."""
    env = dict(os.environ if environ is None else environ)
    if environ is None and dotenv is not None and dotenv.is_file():
        env = over(read_dotenv(dotenv.read_text(encoding="utf-8")), env)
    return read_from(Reader(env))


def load_or_exit() -> Settings:
    """Read the settings, or exit with the list of problems and no traceback."""
    try:
        return load()
    except SettingsError as error:
        sys.exit(str(error))


def read_from(read: Reader) -> Settings:
    """Build `Settings` from the reader's environment. Raises `SettingsError`."""
    database_url = read.text("DATABASE_URL", read.required("postgresql://localhost/joyfull"))
    redis_url = read.text("REDIS_URL", read.required("redis://localhost:6379/0"))
    port = read.integer("PORT", 8000, 1, 65535)
    worker_processes = read.integer("WORKER_PROCESSES", 2, 1, 256)
    worker_threads = read.integer("WORKER_THREADS", 200, 1, 2000)
    settings = Settings(
        env=read.choice("ENV", "development", ("development", "production")),
        database_url=read.url(database_url, "DATABASE_URL", POSTGRESQL),
        database_replica_url=read.optional_url("DATABASE_REPLICA_URL", POSTGRESQL),
        database_pooling=read.choice("DATABASE_POOLING", "session", ("session", "transaction")),
        redis_url=read.url(redis_url, "REDIS_URL", redis_urls.ANY),
        broker_url=read.optional_url("BROKER_URL", (*redis_urls.ONE_PRIMARY, "amqp", "amqps")) or redis_url,
        stream_url=read.optional_url("STREAM_URL", redis_urls.ONE_PRIMARY) or redis_url,
        stream_max_bytes=read.integer("STREAM_MAX_BYTES", 256 * 1024**2, 0, 2**53 - 1),
        jwt_secret_keys=read.secrets("JWT_SECRET_KEY"),
        secrets_keys=read.secrets("SECRETS_KEYS"),
        admin_email=read.text("ADMIN_EMAIL", "") or None,
        admin_password=read.password("ADMIN_PASSWORD"),
        host=read.text("HOST", "127.0.0.1"),
        port=port,
        flower_port=read.integer("FLOWER_PORT", 5555, 1, 65535),
        tools_port=read.integer("TOOLS_PORT", 8100, 1, 65535),
        flower_basic_auth=read.flower_auth(),
        data_dir=Path(read.text("DATA_DIR", "./var")).absolute(),
        public_url=read.url(
            read.text("PUBLIC_URL", f"http://localhost:{port}"), "PUBLIC_URL", ("http", "https")
        ).rstrip("/"),
        cors_origins=read.origins("CORS_ORIGINS"),
        oauth_issuers=read.issuers("OAUTH_ISSUERS"),
        smtp_url=read.optional_url("SMTP_URL", ("smtp", "smtps")),
        mail_from=read.text("MAIL_FROM", "Joyfull Hub <no-reply@localhost>"),
        outbound_allow=read.networks("OUTBOUND_ALLOW", "" if read.production else "127.0.0.0/8"),
        outbound_dns=read.servers("OUTBOUND_DNS"),
        web_processes=read.integer("WEB_PROCESSES", 2, 1, 256),
        worker_processes=worker_processes,
        worker_threads=worker_threads,
        log_level=read.choice("LOG_LEVEL", "INFO", ("DEBUG", "INFO", "WARNING", "ERROR")),
        log_format=read.choice("LOG_FORMAT", "json", ("json", "console")),
        otel_endpoint=read.collector("OTEL_EXPORTER_OTLP_ENDPOINT"),
        trusted_proxies=read.integer("TRUSTED_PROXIES", 0, 0, 10),
        max_body_bytes=read.integer("MAX_BODY_BYTES", 1024 * 1024, 1024, 64 * 1024 * 1024),
        max_connections_per_address=read.integer("MAX_CONNECTIONS_PER_ADDRESS", 1000, 0, 1_000_000),
        max_streams=read.integer("MAX_STREAMS", 200, 1, 100_000),
        max_stored_bytes=read.integer("MAX_STORED_BYTES", 10 * 1024**3, 0, 2**53 - 1),
        expose_docs=read.boolean("EXPOSE_DOCS", not read.production),
        expose_metrics=read.boolean("EXPOSE_METRICS", not read.production),
        metrics_port=read.integer("METRICS_PORT", 0, 0, 65535) or None,
        email_verification_required=read.boolean("EMAIL_VERIFICATION_REQUIRED", False),
        queue_messages_max=read.integer("QUEUE_MESSAGES_MAX", worker_processes * worker_threads, 1, 1_000_000),
        usage_retention_months=read.integer("USAGE_RETENTION_MONTHS", 0, 0, 1_200),
        payload_retention_days=read.integer("PAYLOAD_RETENTION_DAYS", 0, 0, 36_500),
        failpoints=read.failpoints(),
    )
    read.problems += _faults_together(read, settings)
    if read.problems:
        raise SettingsError(read.problems)
    return settings


def _faults_together(read: Reader, settings: Settings) -> Iterator[str]:
    """What is wrong with settings that are right by themselves."""
    for name in ("BROKER_URL", "STREAM_URL"):
        if redis_urls.is_cluster(settings.redis_url) and not read.text(name, ""):
            yield f"{name} is required: REDIS_URL is a cluster, which carries neither messages nor logs of streams"
    if set(settings.jwt_secret_keys) & set(settings.secrets_keys):
        yield "JWT_SECRET_KEY and SECRETS_KEYS have a key in common"

"""Process start-up: configure logging, keys, servers and clients once per process."""

from __future__ import annotations

from common import subscriptions
from common.identity import signatures
from common.invocations import streams
from common.kit import crypto, db, failpoints, log, mail, memory, metrics, redis, tracing
from common.kit.outbound import OutboundClient, SystemResolver, own_services
from common.operations import instance
from common.queueing import messages
from common.settings import Settings
from common.settings.version import VERSION

USER_AGENT = f"joyfull-hub/{VERSION}"


class _BootState:
    outbound: OutboundClient | None = None


def connect(settings: Settings, *, process: str, pool_size: int, in_order: bool = False) -> None:
    """Configure logs, keys, PostgreSQL, Redis, the broker and the outbound client for this process.

    `in_order`: it takes rows from queues, in their order.

    Opens no connection, so a server may be down. Call it after forking, never before.
    """
    log.configure(settings.log_level, settings.log_format, process)
    metrics.fold()
    tracing.configure(settings.otel_endpoint, process)
    failpoints.configure(settings.failpoints, production=settings.production)
    crypto.configure(settings.secrets_keys)
    name, shared = f"joyfull-{process}", settings.shares_connections
    replica = settings.database_replica_url
    db.connect(
        settings.database_url,
        pool_size=pool_size,
        application_name=name,
        shared=shared,
        replica_url=replica,
        planning=db.IN_ORDER if in_order else db.PLANNING,
    )
    redis.connect(settings.redis_url)
    streams.connect(settings.stream_url, shared=settings.stream_url == settings.redis_url)
    memory.forget()
    messages.configure(settings.broker_url, settings.queue_messages_max)
    instance.forget()
    signatures.configure(settings.public_url)
    subscriptions.configure(settings.max_stored_bytes or None)
    mail.configure(settings.smtp_url, settings.mail_from, settings.data_dir / "mail")
    servers = (settings.database_url, replica, settings.redis_url, settings.broker_url, settings.stream_url)
    ours = own_services(settings.public_url, *servers)
    resolve = SystemResolver(settings.outbound_dns)
    _BootState.outbound = OutboundClient(settings.outbound_allow, user_agent=USER_AGENT, forbid=ours, resolve=resolve)


def outbound() -> OutboundClient:
    """This process's outbound client. Raises `RuntimeError` before `connect`."""
    if _BootState.outbound is None:
        raise RuntimeError("common.boot.connect(settings) has not been called in this process")
    return _BootState.outbound


def disconnect() -> None:
    """Close what `connect` opened."""
    if _BootState.outbound is not None:
        _BootState.outbound.close()
        _BootState.outbound = None
    db.dispose()
    streams.dispose()
    redis.dispose()
    tracing.stop()

"""What every process does once, before its first piece of work."""

from __future__ import annotations

from common import subscriptions
from common.kit import crypto, db, failpoints, log, mail, metrics, redis, tracing
from common.kit.outbound import Door, SystemResolver, own_services
from common.operations import instance
from common.queueing import messages
from common.settings import Settings

USER_AGENT = "joyfull-hub/0.1"


class _State:
    door: Door | None = None


def connect(settings: Settings, *, process: str, pool_size: int) -> None:
    """Configure logs, keys, PostgreSQL, Redis, the broker and the door outwards for this process.

    Opens no connection: a server may be down now. Call it after forking, never before.
    """
    log.configure(settings.log_level, settings.log_format, process)
    metrics.fold()
    tracing.configure(settings.otel_endpoint, process)
    failpoints.configure(settings.failpoints, production=settings.production)
    crypto.configure(settings.secrets_keys)
    db.connect(settings.database_url, pool_size=pool_size, application_name=f"joyfull-{process}")
    redis.connect(settings.redis_url)
    messages.configure(settings.broker_url, settings.doorbells_max)
    instance.forget()
    subscriptions.configure(settings.max_stored_bytes or None)
    mail.configure(settings.smtp_url, settings.mail_from, settings.data_dir / "mail")
    ours = own_services(settings.public_url, settings.database_url, settings.redis_url, settings.broker_url)
    resolve = SystemResolver(settings.outbound_dns)
    _State.door = Door(settings.outbound_allow, user_agent=USER_AGENT, forbid=ours, resolve=resolve)


def door() -> Door:
    """This process's one way out of the platform."""
    if _State.door is None:
        raise RuntimeError("common.boot.connect(settings) has not been called in this process")
    return _State.door


def disconnect() -> None:
    """Close what `connect` opened."""
    if _State.door is not None:
        _State.door.close()
        _State.door = None
    db.dispose()
    redis.dispose()
    tracing.stop()

"""The only producer of queue messages. A message only says "there is work"; the work itself is in the tables.

Publishing is best effort and bounded: an unresponsive broker costs two seconds once and is then skipped for a moment.
The sweep finds the work whose message was not sent.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from functools import cache, partial
from typing import Final
from urllib.parse import quote
from uuid import UUID

from celery import Celery
from kombu.exceptions import OperationalError
from kombu.messaging import Producer

from common.kit import log, memory, metrics, rabbit, redis, redis_urls
from common.kit.pause import Pause
from common.queueing import templates, wakeups

logger = log.get(__name__)

RUN_INVOCATION: Final = "invocations.run"
DELIVER: Final = "webhooks.deliver"
SWEEP: Final = "sweeps.run"
SEND_MAILS: Final = "mails.send"
QUEUES: Final = {RUN_INVOCATION: "invocations", DELIVER: "webhooks", SWEEP: "sweeps", SEND_MAILS: "sweeps"}
#: After a failed publish the broker is skipped for this long; the sweep notifies meanwhile.
BACKOFF_SECONDS = 2.0
#: Threads that may publish at once: fewer than the connections of Celery's pool, which is waited for without a limit.
AT_ONCE: Final = 8
MESSAGES = metrics.Counter("joyfull_queue_messages", "Messages published to the broker", ["queue", "outcome"])
_pause = memory.Part(lambda: Pause(BACKOFF_SECONDS))
_publishing = threading.BoundedSemaphore(AT_ONCE)


class _MessagesState:
    broker_url = ""
    queue_messages_max = 0


def configure(broker_url: str, queue_messages_max: int) -> None:
    """Set the broker, and the number of waiting messages above which none is sent (all worker threads together)."""
    if broker_url != _MessagesState.broker_url:
        app.cache_clear()
        _broker.cache_clear()
        _rabbit.cache_clear()
        _template.cache_clear()
    _MessagesState.broker_url = broker_url
    _MessagesState.queue_messages_max = queue_messages_max


def connection_url(broker_url: str) -> str:
    """The broker URL in Celery's form: `redis+socket://` instead of `unix://`, and a URL for each Sentinel."""
    if redis_urls.has_hosts(broker_url):
        return ";".join(_of_sentinel(redis_urls.parse(broker_url)))
    return broker_url.replace("unix://", "redis+socket://", 1) if broker_url.startswith("unix://") else broker_url


def _of_sentinel(hosts: redis_urls.Hosts) -> Iterator[str]:
    user = f"{quote(hosts.username or '', safe='')}:{quote(hosts.password or '', safe='')}@"
    for host, port in hosts.addresses:
        address = f"[{host}]" if ":" in host else host
        yield f"sentinel://{user if hosts.password else ''}{address}:{port}/{hosts.db}"


def _transport_options(broker_url: str, given: Mapping[str, object]) -> dict[str, object]:
    """Celery's options for the connection, and for Sentinels what their URL cannot say."""
    if not redis_urls.has_hosts(broker_url):
        return dict(given)
    hosts = redis_urls.parse(broker_url)
    limits = {name: given[name] for name in ("socket_timeout", "socket_connect_timeout")}
    own = {"username": hosts.sentinel_username, "password": hosts.sentinel_password}
    return {**given, "master_name": hosts.service, "sentinel_kwargs": {**limits, **own, **hosts.tls_options}}


@cache
def app() -> Celery:
    """The Celery application, for publishing; `worker/app.py` adds the tasks to it."""
    celery = Celery("joyfull", broker=connection_url(_MessagesState.broker_url), set_as_current=True)
    celery.config_from_object("celeryconfig")
    celery.conf.broker_transport_options = _transport_options(
        _MessagesState.broker_url, celery.conf.broker_transport_options
    )
    if redis_urls.has_hosts(_MessagesState.broker_url) and (tls := redis_urls.parse(_MessagesState.broker_url).tls):
        celery.conf.broker_use_ssl = dict(tls)
    return celery


def notify(task: str, subject: UUID | None = None) -> bool:
    """Wake a waiting worker thread, or send one message for `subject`, unless enough are waiting.

    Call it after the commit, never before. Returns whether either was done. Never raises when the broker fails.
    """
    queue = QUEUES[task]
    if _pause().active():
        return False
    try:
        return _send(task, queue, subject, _MessagesState.queue_messages_max, wake=True)
    except _ERRORS as error:
        _back_off(queue, error)
        return False


def notify_times(task: str, wanted: int) -> int:
    """Send up to `wanted` messages, within the limit of waiting ones; for the sweep. Returns how many.

    No thread is woken instead: those that are registered may be what died.
    """
    queue, sent = QUEUES[task], 0
    try:
        enough = min(wanted, _MessagesState.queue_messages_max)
        while sent < enough and _send(task, queue, None, enough, wake=False):
            sent += 1
    except _ERRORS as error:
        _back_off(queue, error)
    return sent


def waiting(queue: str) -> int:
    """The number of messages waiting in the broker; 0 when it is unavailable."""
    return waiting_or_none(queue) or 0


def waiting_or_none(queue: str) -> int | None:
    """The number of messages waiting in the broker; None when it is unavailable."""
    try:
        return _count(queue)
    except _ERRORS:
        return None


def on_rabbitmq() -> bool:
    """Whether the broker is RabbitMQ; otherwise it is Redis."""
    return _MessagesState.broker_url.startswith("amqp")


def broker_on_redis() -> redis.Client | None:
    """The client of a broker on Redis, to check which platform it belongs to; None for RabbitMQ."""
    return None if on_rabbitmq() else _broker()


def broker_is_apart() -> bool:
    """Whether the broker is another server, or another database of it, than the Redis with the budgets."""
    return not redis.is_connected_to(_MessagesState.broker_url)


# -- publishing --------------------------------------------------------------------------------------------------

_SENT: Final = 1
_ERRORS: Final = (OperationalError, OSError, redis.RedisUnreachable, rabbit.RabbitUnreachable)


def _back_off(queue: str, error: Exception) -> None:
    _pause().begin()
    MESSAGES.labels(queue, "failed").inc()
    logger.warning("message not published; the sweep will notify", queue=queue, reason=type(error).__name__)


def _send(task: str, queue: str, subject: UUID | None, enough: int, *, wake: bool) -> bool:
    """Send unless `enough` messages are waiting, or other threads are blocked in publishing. Returns whether sent."""
    done = _publish(task, queue, subject, enough) if on_rabbitmq() else _push(task, queue, subject, enough, wake=wake)
    if done:
        MESSAGES.labels(queue, "sent" if done == _SENT else "woken").inc()
    return bool(done)


def _push(task: str, queue: str, subject: UUID | None, enough: int, *, wake: bool) -> int:
    """Wake a thread, or push onto the list in Redis unless it is full, in one round trip. Answers as `notify.lua`."""
    message = _template(task).write(str(subject) if subject else None)
    return int(redis.run("notify", [queue, wakeups.register(queue)], [enough, message, int(wake)], _broker()))


def _publish(task: str, queue: str, subject: UUID | None, enough: int) -> bool:
    """Publish to RabbitMQ."""
    if _rabbit().waiting(queue, enough) >= enough or not _publishing.acquire(timeout=BACKOFF_SECONDS):
        return False
    try:
        if _pause().active():
            return False
        _rabbit().send(queue, partial(_send_task, task, [str(subject)] if subject else []))
    finally:
        _publishing.release()
    return True


def _send_task(task: str, args: list[str], producer: Producer) -> None:
    options = {"queue": QUEUES[task], "ignore_result": True, "delivery_mode": 1}
    app().send_task(task, args=args, producer=producer, retry=False, **options)


def _count(queue: str) -> int:
    if on_rabbitmq():
        return _rabbit().waiting(queue, _MessagesState.queue_messages_max)
    with redis.reachable():
        return int(_broker().llen(queue))


@cache
def _template(task: str) -> templates.MessageTemplate:
    return templates.MessageTemplate(partial(_send_task, task), QUEUES[task])


@cache
def _broker() -> redis.Client:
    url = _MessagesState.broker_url.replace("redis+socket://", "unix://", 1).replace("virtual_host=", "db=", 1)
    return redis.make_client(url)


@cache
def _rabbit() -> rabbit.Publisher:
    return rabbit.Publisher(app().connection_for_write())

"""The only producer of messages. A message is a doorbell: "there is work"; the work itself is in the tables.

Ringing is best effort and bounded (a silent broker costs two seconds, once, then is left alone for a moment):
whatever is not rung now is found by the sweep.
"""

from __future__ import annotations

import threading
from functools import cache, partial
from typing import Any, Final
from uuid import UUID

from celery import Celery
from kombu.exceptions import OperationalError

from common.kit import clock, log, metrics, rabbit, redis
from common.queueing import templates

logger = log.get(__name__)

RUN_INVOCATION: Final = "invocations.run"
DELIVER: Final = "webhooks.deliver"
SWEEP: Final = "sweeps.run"
SEND_MAILS: Final = "mails.send"
QUEUES: Final = {RUN_INVOCATION: "invocations", DELIVER: "webhooks", SWEEP: "sweeps", SEND_MAILS: "sweeps"}
#: After a failed publish the broker is left alone so long: the sweep rings meanwhile.
QUIET_SECONDS = 2.0
#: Threads that may ring at once: fewer than Celery's pool has connections, because that one is waited for without end.
AT_ONCE: Final = 8
MESSAGES = metrics.Counter(
    "joyfull_queue_messages", "Doorbells rung; the sweep finds what the failed ones were for", ["queue", "outcome"]
)
_ringing = threading.BoundedSemaphore(AT_ONCE)


class _State:
    broker_url = ""
    queue_messages_max = 0
    quiet_until = 0.0


def configure(broker_url: str, queue_messages_max: int) -> None:
    """Where to ring, and how many unheard bells are enough (the number of all worker threads)."""
    if broker_url != _State.broker_url:
        app.cache_clear()
        _broker.cache_clear()
        _wire.cache_clear()
        _template.cache_clear()
    _State.broker_url = broker_url
    _State.queue_messages_max = queue_messages_max
    _State.quiet_until = 0.0


def connection_url(broker_url: str) -> str:
    """Celery's spelling of the broker URL (`unix://` is `redis+socket://` there)."""
    return broker_url.replace("unix://", "redis+socket://", 1) if broker_url.startswith("unix://") else broker_url


@cache
def app() -> Celery:
    """The Celery application, for publishing; `worker/app.py` adds the tasks to it."""
    celery = Celery("joyfull", broker=connection_url(_State.broker_url), set_as_current=True)
    celery.config_from_object("celeryconfig")
    return celery


def notify(task: str, subject: UUID | None = None) -> bool:
    """Ring once for `subject`, unless enough bells wait unheard. After the commit, never before it.

    Returns whether a message was sent. Never raises for a broker in trouble.
    """
    queue = QUEUES[task]
    if _quiet():
        return False
    try:
        return _send(task, queue, subject, _State.queue_messages_max)
    except _TROUBLES as error:
        _leave_alone(queue, error)
        return False


def notify_times(task: str, wanted: int) -> int:
    """Ring so often that `wanted` bells wait in all, at most the limit. For the sweep; returns how many were sent."""
    queue, sent = QUEUES[task], 0
    try:
        enough = min(wanted, _State.queue_messages_max)
        while sent < enough and _send(task, queue, None, enough):
            sent += 1
    except _TROUBLES as error:
        _leave_alone(queue, error)
    return sent


def waiting(queue: str) -> int:
    """How many bells wait unheard; 0 when the broker is away."""
    return unheard(queue) or 0


def unheard(queue: str) -> int | None:
    """How many bells wait; None when the broker is away."""
    try:
        return _count(queue)
    except _TROUBLES:
        return None


def on_rabbitmq() -> bool:
    """Whether the broker is RabbitMQ; else it is Redis."""
    return _State.broker_url.startswith("amqp")


def broker_on_redis() -> redis.Client | None:
    """The broker, when it is a Redis: for whoever asks whose it is."""
    return None if on_rabbitmq() else _broker()


# -- ringing -----------------------------------------------------------------------------------------------------

_TROUBLES: Final = (OperationalError, OSError, redis.Unreachable, rabbit.Unreachable)


def _quiet() -> bool:
    return clock.monotonic() < _State.quiet_until


def _leave_alone(queue: str, error: Exception) -> None:
    _State.quiet_until = clock.monotonic() + QUIET_SECONDS
    MESSAGES.labels(queue, "failed").inc()
    logger.warning("message not published; the sweep will notify", queue=queue, reason=type(error).__name__)


def _send(task: str, queue: str, subject: UUID | None, enough: int) -> bool:
    """False: so many wait already, or others ring and the broker does not answer them."""
    sent = _publish(task, queue, subject, enough) if on_rabbitmq() else _push(task, queue, subject, enough)
    if sent:
        MESSAGES.labels(queue, "sent").inc()
    return sent


def _push(task: str, queue: str, subject: UUID | None, enough: int) -> bool:
    """Onto the list in Redis: one round trip, together with the look at how many wait."""
    message = _template(task).write(str(subject) if subject else None)
    return bool(redis.run("notify", [queue], [enough, message], _broker()))


def _publish(task: str, queue: str, subject: UUID | None, enough: int) -> bool:
    """To RabbitMQ."""
    if _wire().waiting(queue, enough) >= enough or not _ringing.acquire(timeout=QUIET_SECONDS):
        return False
    try:
        if _quiet():
            return False
        _wire().send(queue, partial(_send_task, task, [str(subject)] if subject else []))
    finally:
        _ringing.release()
    return True


def _send_task(task: str, args: list[str], producer: Any) -> None:
    options = {"queue": QUEUES[task], "ignore_result": True, "delivery_mode": 1}
    app().send_task(task, args=args, producer=producer, retry=False, **options)


def _count(queue: str) -> int:
    if on_rabbitmq():
        return _wire().waiting(queue, _State.queue_messages_max)
    with redis.reachable():
        return int(_broker().llen(queue))


@cache
def _template(task: str) -> templates.MessageTemplate:
    return templates.MessageTemplate(partial(_send_task, task), QUEUES[task])


@cache
def _broker() -> redis.Client:
    url = _State.broker_url.replace("redis+socket://", "unix://", 1).replace("virtual_host=", "db=", 1)
    return redis.make_client(url)


@cache
def _wire() -> rabbit.Wire:
    return rabbit.Wire(app().connection_for_write())

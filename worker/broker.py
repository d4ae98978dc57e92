"""Celery's way to its broker, except for three things.

On Redis a message that is none does not end the worker. kombu takes a message apart where nothing catches what goes
wrong: garbage in the queue stops the whole process, and one process for each such message. Here the message is logged
and dropped. It can only be a mistake or ill will; whatever is due is found by its row, so dropping it loses nothing.

On Redis a bell is gone when it is read. kombu would write each down as unacknowledged and strike it out a moment later:
two transactions for each bell, kept for a redelivery that nobody wants. (On RabbitMQ bells are acknowledged: without
that the server hands all of them out at once.)

What Flower is shown goes out once a second, not at every turn of Celery's loop.
"""

from __future__ import annotations

from typing import Any, Final

from celery.worker import consumer
from kombu import transport
from kombu.transport import redis
from kombu.utils import json

from common.kit import clock, log

logger = log.get(__name__)

EVENT_SECONDS: Final = 1.0
#: What reading a message raises when it is none: no JSON, no UTF-8, not the fields that Celery writes.
_UNREADABLE: Final = (ValueError, TypeError, LookupError, AttributeError)


def _read(text: str) -> Any:
    """The message, or None, which `Channel` drops."""
    try:
        return json.loads(text)
    except _UNREADABLE:
        return None


class Channel(redis.Channel):
    """Drops what cannot be read, and keeps nothing of what was."""

    def basic_consume(self, queue: str, no_ack: bool, callback: Any, consumer_tag: str, **options: Any) -> None:  # noqa: ARG002
        super().basic_consume(queue, True, callback, consumer_tag, **options)
        callbacks = self.connection._callbacks
        deliver = callbacks[queue]

        def take(message: Any) -> Any:
            try:
                return deliver(message)
            except _UNREADABLE as error:
                logger.warning("message dropped: it is none", queue=queue, reason=type(error).__name__)
            return None

        callbacks[queue] = take

    def basic_ack(self, delivery_tag: str, multiple: bool = False) -> None:
        """There is nothing to strike out."""

    def basic_reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Neither here, nor anything to bring back."""


class Transport(redis.Transport):
    Channel = Channel


class Consumer(consumer.Consumer):  # type: ignore[misc]
    """Sends its events together."""

    _next_flush = 0.0

    def on_send_event_buffered(self) -> None:
        now = clock.monotonic()
        if self.hub and now >= self._next_flush:
            self._next_flush = now + EVENT_SECONDS
            self.hub.call_later(EVENT_SECONDS, self._flush_events)


def install() -> None:
    """Connections that this process makes from here on use it. (RabbitMQ's frames are not ours to read.)"""
    redis.loads = _read  # type: ignore[assignment]
    for scheme in ("redis", "rediss"):
        transport.TRANSPORT_ALIASES[scheme] = f"{__name__}:{Transport.__name__}"

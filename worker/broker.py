"""Celery's broker transport with three changes.

On Redis a malformed message does not stop the worker. kombu parses messages outside any error handling, so each one
would end a worker process. Here it is logged and dropped, which loses nothing: due work is found by its row.

On Redis a message is removed when it is read. kombu would record each one as unacknowledged and delete that record a
moment later: two transactions per message, for a redelivery that is not needed. (On RabbitMQ messages are acknowledged:
otherwise the server would deliver all of them at once.)

Events for Flower are sent once a second, not at every iteration of Celery's loop.
"""

from __future__ import annotations

from typing import Final

from celery.worker import consumer
from kombu import transport
from kombu.transport import redis
from kombu.utils import json

from common.kit import clock, log

logger = log.get(__name__)

EVENT_SECONDS: Final = 1.0
#: Errors of parsing a malformed message: invalid JSON or UTF-8, missing fields.
_MALFORMED: Final = (ValueError, TypeError, LookupError, AttributeError)


def _read(text: str) -> object:
    """The parsed message; None if it is malformed, which `Channel` then drops."""
    try:
        return json.loads(text)
    except _MALFORMED:
        return None


class Channel(redis.Channel):
    """Drops malformed messages, and does not track unacknowledged ones."""

    def basic_consume(self, queue: str, no_ack: bool, *args: object, **options: object) -> None:  # noqa: ARG002
        """Consume without acknowledgements, and skip malformed messages."""
        super().basic_consume(queue, True, *args, **options)
        callbacks = self.connection._callbacks
        deliver = callbacks[queue]

        def consume(message: object) -> object:
            try:
                return deliver(message)
            except _MALFORMED as error:
                logger.warning("malformed message dropped", queue=queue, reason=type(error).__name__)
            return None

        callbacks[queue] = consume

    def basic_ack(self, delivery_tag: str, multiple: bool = False) -> None:
        """Do nothing: unacknowledged messages are not tracked."""

    def basic_reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Do nothing: unacknowledged messages are not tracked."""


class SentinelChannel(Channel, redis.SentinelChannel):
    """The same, on the primary that Sentinels name."""


class Transport(redis.Transport):
    """Redis, without unacknowledged messages."""

    Channel = Channel


class SentinelTransport(redis.SentinelTransport):
    """The same behind Sentinel."""

    Channel = SentinelChannel


class Consumer(consumer.Consumer):  # type: ignore[misc]
    """Sends buffered events once per `EVENT_SECONDS`."""

    _next_flush = 0.0

    def on_send_event_buffered(self) -> None:
        """Send buffered events soon, if that is not planned yet."""
        now = clock.monotonic()
        if self.hub and now >= self._next_flush:
            self._next_flush = now + EVENT_SECONDS
            self.hub.call_later(EVENT_SECONDS, self._flush_events)


def install() -> None:
    """Use this transport for all further Redis connections of this process. RabbitMQ's transport is unchanged."""
    redis.loads = _read  # type: ignore[assignment]
    for scheme in ("redis", "rediss"):
        transport.TRANSPORT_ALIASES[scheme] = f"{__name__}:{Transport.__name__}"
    transport.TRANSPORT_ALIASES["sentinel"] = f"{__name__}:{SentinelTransport.__name__}"

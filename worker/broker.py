"""Celery's transport for Redis, except that a message that is none does not end the worker.

kombu takes a letter apart where nothing catches what goes wrong: garbage in the queue stops the whole process, and one
process for each such letter. Here the letter is logged and dropped. It can only be a mistake or ill will; whatever is
due is found by its row, so dropping it loses nothing.
"""

from __future__ import annotations

from typing import Any, Final

from kombu import transport
from kombu.transport import redis
from kombu.utils import json

from common.kit import log

logger = log.get(__name__)

#: What reading a letter raises when it is none: no JSON, no UTF-8, not the fields that Celery writes.
_UNREADABLE: Final = (ValueError, TypeError, LookupError, AttributeError)


def _read(text: str) -> Any:
    """The letter, or None, which `Channel` drops."""
    try:
        return json.loads(text)
    except _UNREADABLE:
        return None


class Channel(redis.Channel):
    """Drops what cannot be read."""

    def basic_consume(self, queue: str, no_ack: bool, callback: Any, consumer_tag: str, **options: Any) -> None:
        super().basic_consume(queue, no_ack, callback, consumer_tag, **options)
        callbacks = self.connection._callbacks
        deliver = callbacks[queue]

        def take(letter: Any) -> Any:
            tag = None
            try:
                tag = self.Message(letter, channel=self).delivery_tag
                return deliver(letter)
            except _UNREADABLE as error:
                logger.warning("message dropped: it is none", queue=queue, reason=type(error).__name__)
            if tag is not None and not no_ack:
                self.basic_reject(tag, requeue=False)
            return None

        callbacks[queue] = take


class Transport(redis.Transport):
    Channel = Channel


def install() -> None:
    """Connections that this process makes from here on use it. (RabbitMQ's frames are not ours to read.)"""
    redis.loads = _read  # type: ignore[assignment]
    for scheme in ("redis", "rediss"):
        transport.TRANSPORT_ALIASES[scheme] = f"{__name__}:{Transport.__name__}"

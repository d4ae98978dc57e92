"""Publishing to RabbitMQ: one connection per process, every wait bounded, no retries.

kombu's pools and channels wait forever for an unresponsive server (a stopped process, a network that drops packets).
Here the socket has a timeout, and the connection is closed after any error; if its URL names several nodes
(`amqp://…;amqp://…`), the next connection is to the next node. There are no publisher confirms: a message may be lost,
and a confirm from a quorum queue costs a disk sync.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from kombu.connection import Connection
from kombu.exceptions import KombuError
from kombu.messaging import Producer

from common.kit import clock, seam

SECONDS: Final = 2.0
#: How long a message count is cached (this process's own messages are added to it); shorter when it prevents sending.
CACHE_SECONDS: Final = 0.25
FULL_CACHE_SECONDS: Final = 0.02
NO_SUCH_QUEUE: Final = 404


class RabbitUnreachable(Exception):
    """RabbitMQ did not answer in time, or refused."""


class Publisher:
    """This process's connection, used by one thread at a time. Takes ownership of `connection`, which may be closed."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._errors = (KombuError, OSError, *connection.connection_errors, *connection.channel_errors)
        self._lock = threading.Lock()
        self._failed_at = 0.0
        self._producer: Producer | None = None
        self._counted: dict[str, tuple[float, int]] = {}
        self._sent: Counter[str] = Counter()

    def send(self, queue: str, publish: Callable[[Producer], object]) -> None:
        """Call `publish` to send one message to `queue`.

        Raises `RabbitUnreachable`: the message may or may not have been sent.
        """
        with self._bounded():
            producer = self._open()
            seam.passing("rabbitmq", queue, self._connection, lambda: publish(producer))
            self._sent[queue] += 1

    def waiting(self, queue: str, enough: int) -> int:
        """The number of messages waiting in a queue; 0 when the queue does not exist. Cached briefly.

        `enough`: a count of at least this many is cached for a shorter time. Raises `RabbitUnreachable`.
        """
        at, counted = self._counted.get(queue, (0.0, 0))
        known = counted + self._sent[queue]
        if clock.monotonic() - at < (CACHE_SECONDS if known < enough else FULL_CACHE_SECONDS):
            return known
        with self._bounded():
            counted = self._count(queue)
            self._counted[queue], self._sent[queue] = (clock.monotonic(), counted), 0
        return counted

    @contextmanager
    def _bounded(self) -> Iterator[None]:
        """Exclusive use of the connection. Threads that waited for a call that failed fail at once."""
        began = clock.monotonic()
        if not self._lock.acquire(timeout=SECONDS):
            raise RabbitUnreachable("other threads are waiting for it")
        try:
            if self._failed_at > began:
                raise RabbitUnreachable("it has just failed for another thread")
            yield
        except self._errors as error:
            self._failed_at = clock.monotonic()
            self._drop()
            self._connection.maybe_switch_next()
            raise RabbitUnreachable(f"{type(error).__name__}: {error}") from error
        finally:
            self._lock.release()

    def _open(self) -> Producer:
        if self._producer is None:
            self._connection.ensure_connection(max_retries=0)
            self._connection.connection.sock.settimeout(SECONDS)
            self._producer = Producer(self._connection, auto_declare=False)
        return self._producer

    def _count(self, queue: str) -> int:
        channel = self._open().channel
        try:
            return int(channel.queue_declare(queue, passive=True).message_count)
        except self._connection.channel_errors as error:
            if getattr(error, "reply_code", None) != NO_SUCH_QUEUE:
                raise
            self._drop()  # the server closed the channel; the next message declares the queue again
            return 0

    def _drop(self) -> None:
        self._producer = None
        self._connection.collect()

"""RabbitMQ for those that ring: one connection per process, every wait on it bounded, no retries.

kombu's pools and channels wait for ever for a server that is silent (a stopped process, a network that swallows
bytes). Here the socket itself has a time limit, and after any trouble the connection is dropped. There are no
publisher confirms: a doorbell may be lost, and a confirm from a quorum queue costs a disk's sync.
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
#: A count is believed for so long, plus what this process has sent since; when it forbids something, for less.
BELIEVED: Final = 0.25
DOUBTED: Final = 0.02
NO_SUCH_QUEUE: Final = 404


class Unreachable(Exception):
    """RabbitMQ did not answer in time, or refused."""


class Wire:
    """This process's connection, used by one thread at a time. `connection` need not be open yet; it becomes ours."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._troubles = (KombuError, OSError, *connection.connection_errors, *connection.channel_errors)
        self._lock = threading.Lock()
        self._failed_at = 0.0
        self._producer: Producer | None = None
        self._counted: dict[str, tuple[float, int]] = {}
        self._sent: Counter[str] = Counter()

    def send(self, queue: str, publish: Callable[[Producer], object]) -> None:
        """Have `publish` send one message to `queue`. Raises `Unreachable`: whether it was sent is unknown then."""
        with self._bounded():
            producer = self._open()
            seam.passing("rabbitmq", queue, self._connection, lambda: publish(producer))
            self._sent[queue] += 1

    def waiting(self, queue: str, enough: int) -> int:
        """How many messages wait in a queue; 0 when there is no such queue. Asked a few times a second at most.

        `enough`: a count of so many is not believed for long. Raises `Unreachable`.
        """
        at, counted = self._counted.get(queue, (0.0, 0))
        known = counted + self._sent[queue]
        if clock.monotonic() - at < (BELIEVED if known < enough else DOUBTED):
            return known
        with self._bounded():
            counted = self._count(queue)
            self._counted[queue], self._sent[queue] = (clock.monotonic(), counted), 0
        return counted

    @contextmanager
    def _bounded(self) -> Iterator[None]:
        """Alone on the connection. Whoever waited for one that failed does not wait once more for himself."""
        began = clock.monotonic()
        if not self._lock.acquire(timeout=SECONDS):
            raise Unreachable("others wait for it already")
        try:
            if self._failed_at > began:
                raise Unreachable("it has just failed another")
            yield
        except self._troubles as error:
            self._failed_at = clock.monotonic()
            self._drop()
            raise Unreachable(f"{type(error).__name__}: {error}") from error
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

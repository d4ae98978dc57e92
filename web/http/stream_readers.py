"""The readers of streamed answers in this process, registered in Redis every two seconds, where workers see them.

A stream may be one that is canceled once nobody reads it any more (`cancels`); who decides that is its worker
(`worker/stream_publisher.py`), which sees the readers of all processes.
"""

from __future__ import annotations

import threading
from collections import Counter
from typing import Final
from uuid import UUID

from common.invocations import Invocation, streams
from common.kit import apart, log, redis

logger = log.get(__name__)

#: Seconds between two times at which workers are told.
EVERY: Final = 2.0


class StreamReaders:
    """The readers of this process. The first one starts its thread (a greenlet under gevent)."""

    def __init__(self) -> None:
        self._readers: Counter[UUID] = Counter()
        self._cancels: set[UUID] = set()
        self._lock = threading.Lock()
        self._started = False
        self._next = threading.Event()  # never set: a wait by no clock that a test sets

    def enter(self, invocation_id: UUID, *, cancels: bool) -> None:
        """Somebody begins to read."""
        with self._lock:
            self._readers[invocation_id] += 1
            if cancels:
                self._cancels.add(invocation_id)
            started, self._started = self._started, True
        if not started:
            threading.Thread(target=self._keep, name="stream-readers", daemon=True).start()
        if cancels:
            self._tell([invocation_id])

    def leave(self, invocation_id: UUID) -> None:
        """They do not any more."""
        with self._lock:
            self._readers[invocation_id] -= 1
            if self._readers[invocation_id]:
                return
            del self._readers[invocation_id]
            self._cancels.discard(invocation_id)
        try:
            streams.forget_reader(invocation_id)
        except redis.RedisUnreachable:
            logger.warning("stream reader not deregistered: redis unreachable")

    def _keep(self) -> None:
        while True:
            self._next.wait(EVERY)
            with self._lock:
                read = list(self._readers)
            with apart.logged(logger, "registering stream readers failed"):
                self._tell(read)

    def _tell(self, read: list[UUID]) -> None:
        try:
            streams.note_readers(read, [each for each in read if each in self._cancels])
        except redis.RedisUnreachable:
            logger.warning("stream readers not registered: redis unreachable", streams=len(read))


readers = StreamReaders()


class StreamReader:
    """One reader of one invocation, whatever it reads; only one whose answer is streamed counts."""

    def __init__(self, *, cancels: bool = False) -> None:
        self._cancels = cancels
        self._read: UUID | None = None

    def begin(self, invocation: Invocation) -> None:
        """It reads this; does nothing if it did before."""
        if self._read is None and invocation.stream and not invocation.ended:
            self._read = invocation.id
            readers.enter(invocation.id, cancels=self._cancels)

    def end(self) -> None:
        """It does not any more; does nothing if it never did."""
        if self._read is not None:
            readers.leave(self._read)
            self._read = None

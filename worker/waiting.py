"""Threads that wait a moment for a wake-up when their work is done: the next call then needs no Celery message.

A message costs a worker process more than the claim and the end of a quick call together: Celery's loop, its request,
its events, its pool. Celery stays the way in: nobody waits on a quiet platform, and few do on any.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Final
from uuid import UUID

from common.kit import log, redis
from common.kit.pause import Pause
from common.queueing import messages, wakeups

logger = log.get(__name__)

#: How many threads of a process wait at once. The one that began last is woken, so of too many the others leave.
MOST: Final = 8
#: How long (seconds) one waits: less than the time limit of an answer from Redis.
SECONDS: Final = 1.0
#: Shorter waits are not begun.
SHORTEST: Final = 0.05
#: No thread begins to wait for so long (seconds) after the broker was away for one.
AWAY_SECONDS: Final = 2.0
_QUEUE: Final = messages.QUEUES[messages.RUN_INVOCATION]


class WaitingThreads:
    """Those of one process. `stopping`: set when its shutdown begins. Thread-safe."""

    def __init__(self, stopping: threading.Event) -> None:
        self._stopping = stopping
        self._names: set[str] = set()
        self._away = Pause(AWAY_SECONDS)
        self._lock = threading.Lock()

    def begin(self) -> None:
        """Start the thread that ends all waits when the process stops."""
        threading.Thread(target=self._stop, name="wake-ups", daemon=True).start()

    def wait(self, process: UUID, threads: int, seconds: float) -> bool:
        """Wait for a wake-up, unless enough of the process's `threads` do. Returns whether there is work for this one.

        With RabbitMQ as the broker no thread waits.
        """
        broker, name = messages.broker_on_redis(), f"{process}:{threading.get_ident()}"
        if broker is None or seconds < SHORTEST or not self._enter(name, min(MOST, threads // 2)):
            return False
        try:
            woken = wakeups.wait(broker, _QUEUE, name, min(seconds, SECONDS))
        except redis.RedisUnreachable:
            self._away.begin()
            woken = True  # perhaps: to look once costs little
        finally:
            with self._lock:
                self._names.discard(name)
        if woken and self._stopping.is_set():
            messages.notify(messages.RUN_INVOCATION)
        return woken and not self._stopping.is_set()

    def _enter(self, name: str, most: int) -> bool:
        with self._lock:
            if self._stopping.is_set() or self._away.active() or len(self._names) >= most:
                return False
            self._names.add(name)
            return True

    def _stop(self) -> None:
        self._stopping.wait()
        if (broker := messages.broker_on_redis()) is None:
            return
        with self._lock:
            names = list(self._names)
        with suppress(redis.RedisUnreachable):  # they leave by themselves within `SECONDS`
            for name in names:
                wakeups.stop(broker, _QUEUE, name)

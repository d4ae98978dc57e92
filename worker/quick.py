"""Which tools answer at once: several of their calls are claimed together, until one of them has to wait."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from uuid import UUID

from cachetools import FIFOCache

from common.kit import checker
from common.tools import Version
from worker.concurrency import ConcurrencyLimiter
from worker.running import STORING, Running

REMEMBERED: Final = 64


class Quick:
    """Tool versions of which this process claims several calls at once. Thread-safe.

    They may be repeated, which they are if the process dies, also when they had only been waiting for their turn; they
    stream nothing; and they usually answer within milliseconds.
    """

    def __init__(self, limiter: ConcurrencyLimiter) -> None:
        self._limiter = limiter
        self._tools: FIFOCache[UUID, UUID] = FIFOCache(REMEMBERED)
        self._lock = threading.Lock()

    def note(self, version: Version) -> None:
        """A call of this version has been made."""
        if version.id not in self._tools and version.idempotent and version.max_attempts > 1 and not version.streaming:
            with self._lock:
                self._tools[version.id] = version.tool_id

    def let_wait(self, running: Running) -> None:
        """A call has to wait for more than its tool, as other calls of its account may: nothing of its batch waits for
        it, and calls of its version are not claimed together with others until one has not had to.
        """
        running.is_alone = True
        running.go_on(STORING)
        with self._lock:
            self._tools.pop(running.task.tool_version_id, None)
        if running.batch is not None:
            running.batch.set_free()

    @contextmanager
    def checked_elsewhere(self, running: Running) -> Iterator[None]:
        """Around the check of its output by another process."""
        self.let_wait(running)
        running.go_on(checker.LONGEST_SECONDS)
        with self._limiter.released():
            yield
        running.go_on()

    def versions(self) -> tuple[UUID, ...]:
        """Versions of tools that usually answer at once."""
        with self._lock:
            known = list(self._tools.items())
        return tuple(version for version, tool in known if self._limiter.is_quick(tool))

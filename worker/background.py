"""Work that a thread hands over because it must not wait for it: it is done in another, one piece at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Final

from common.kit import apart, clock, db, log

logger = log.get(__name__)

#: The thread, and its connections, end when nothing has been handed over for so many seconds.
IDLE_SECONDS: Final = 5.0
Work = Callable[[], object]


class Background:
    """One thread with database connections of its own, for one piece of work at a time. Used by one thread."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._given = SimpleQueue[Work | None]()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._since: float | None = None

    @property
    def seconds(self) -> float:
        """For how long it has been at the piece of work that it has; 0: it has none."""
        since = self._since
        return 0.0 if since is None else clock.monotonic() - since

    def begin(self, work: Work) -> bool:
        """Have it done, unless it is still at the previous piece. Returns whether it is. What fails is logged."""
        with self._lock:
            if self._since is not None:
                return False
            if self._thread is None:
                thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                thread.start()  # which may fail: then there is none
                self._thread = thread
            self._since = clock.monotonic()
        self._given.put(work)
        return True

    def end(self, seconds: float) -> None:
        """Begin nothing more; wait so long for what has been begun. A thread that hangs does not keep the process."""
        with self._lock:
            thread = self._thread
        if thread is not None:
            self._given.put(None)
            thread.join(seconds)

    def _run(self) -> None:
        with db.private(f"joyfull-{self._name}"):
            while work := self._next():
                with apart.logged(logger, f"{self._name} failed"):
                    work()
                self._since = None

    def _next(self) -> Work | None:
        try:
            return self._given.get(timeout=IDLE_SECONDS)
        except Empty:
            with self._lock:
                if self._since is None:
                    self._thread = None
                    return None
        return self._given.get()

"""Deadlines and aborts: both shut down the call's socket, which wakes the thread that waits on it.

Socket timeouts apply per read: a peer that sends one byte per second could hold a thread forever. So one thread per
outbound client checks all calls ten times a second and cuts off those past their deadline. A call costs one set entry.
"""

from __future__ import annotations

import contextlib
import math
import socket
import threading
import time
from collections.abc import Callable

from common.kit.outbound.errors import Aborted, OutboundError, TimedOut

TICK = 0.1
IDLE_TICK = 5.0


class Call:
    """A handle to one exchange for other threads: `abort()` ends it at once, in any phase."""

    __slots__ = ("_lock", "_socket", "_why", "deadline", "sent")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._why: type[OutboundError] | None = None
        self.deadline = math.inf
        self.sent = False

    def abort(self) -> None:
        """End the exchange with `Aborted`. If it has not begun, it will not; if it has ended, this has no effect."""
        self._cut(Aborted)

    def _cut(self, why: type[OutboundError]) -> None:
        with self._lock:
            self._why = self._why or why
            if self._socket is not None:
                # Not `self._socket.shutdown`: for a TLS socket that first drops the TLS layer, and a writer in another
                # thread could send plaintext before the connection is down.
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    # -- for the thread that runs the exchange -------------------------------------------------------------------

    def begin(self, deadline: float) -> None:
        """Start the exchange, to be over at `deadline` (monotonic). Raises as `check` does."""
        self.deadline = deadline
        self.check()

    def check(self) -> None:
        """Raise `TimedOut` or `Aborted` if this call has been cut off."""
        if self._why is None and time.monotonic() >= self.deadline:
            self._why = TimedOut
        if self._why is not None:
            raise self._why(sent=self.sent)

    @property
    def remaining(self) -> float:
        """Seconds until the deadline; never 0, which would make a socket non-blocking."""
        return max(self.deadline - time.monotonic(), 0.001)

    def hold(self, sock: socket.socket) -> None:
        """Set the socket to shut down."""
        with self._lock:
            self._socket = sock

    def limit_reads(self, seconds: float) -> None:
        """Let each read of the socket take `seconds` at most; the deadline holds as before."""
        with self._lock:
            if self._socket is not None:
                self._socket.settimeout(min(seconds, self.remaining))

    def let_go(self) -> None:
        """Release the socket: a late abort must not hit the next user of a pooled connection."""
        with self._lock:
            self._socket = None

    def tick(self, now: float) -> None:
        """Cut off the call if it is past its deadline; again if it was cut off before and has a new socket."""
        if self._why is not None or now >= self.deadline:
            self._cut(TimedOut)


class DeadlineWatchdog:
    """A thread that cuts off overdue calls, and runs `chore` every `IDLE_TICK` seconds. Starts when first needed."""

    def __init__(self, chore: Callable[[], None]) -> None:
        self._chore = chore
        self._calls: set[Call] = set()
        self._busy = threading.Event()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False

    def watch(self, call: Call) -> None:
        self._calls.add(call)
        if self._thread is None or not self._thread.is_alive():  # threads do not survive a fork
            self._start()
        if not self._busy.is_set():
            self._busy.set()

    def forget(self, call: Call) -> None:
        self._calls.discard(call)

    def close(self) -> None:
        self._closed = True
        self._busy.set()

    def _start(self) -> None:
        with self._starting:
            if self._thread is None or not self._thread.is_alive():
                self._closed = False
                self._thread = threading.Thread(target=self._run, name="outbound-watchdog", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        chore_at = time.monotonic() + IDLE_TICK
        while not self._closed:
            now = time.monotonic()
            for call in self._calls.copy():
                call.tick(now)
            if now >= chore_at:
                self._chore()
                chore_at = now + IDLE_TICK
            self._sleep()

    def _sleep(self) -> None:
        if self._calls:
            time.sleep(TICK)
            return
        self._busy.clear()
        if not self._calls and not self._closed:  # otherwise `watch` or `close` has run since the clear
            self._busy.wait(IDLE_TICK)

"""Restart this process when it makes no progress: it may be connected, answer pings, send heartbeats, and do nothing.

* **Unresponsive**: messages wait in its queue and it has idle threads, but it consumes nothing in several checks.
* **Stuck**: a call does not end although its claim was lost long ago (an endless loop, a call into C), or the sweep
  does not, in which every wait is bounded.
* **Frozen**: one thread holds the GIL, so that no other thread runs, including this one. `faulthandler`, whose thread
  does not need the GIL, then dumps all stacks and ends the process.

An unresponsive or stuck process sends itself SIGTERM (a warm shutdown, after which the supervisor, compose or systemd
restarts it), and SIGKILL once no call is running that would be lost.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import threading
from collections.abc import Callable
from itertools import count
from typing import Final

from common import invocations, tools
from common.kit import apart, clock, db, log, metrics
from common.queueing import messages
from worker import task_events
from worker.heartbeat import WorkerProcess
from worker.running import Running

logger = log.get(__name__)

CHECK_SECONDS: Final = 1.0
#: At every so many checks only, `faulthandler` is put off, and the broker is asked while no message was waiting.
CHECKS_BETWEEN: Final = 5
#: More than the transport needs to detect a dead connection by itself (11 s on Redis).
UNRESPONSIVE_CHECKS: Final = 15
#: A call is aborted when its claim is lost; if it has not ended after this time, it is stuck.
STUCK_SECONDS: Final = 30.0
FROZEN_SECONDS: Final = 120.0
#: More than a sweep needs in which each statement and each command waits for as long as it may.
SWEEP_SECONDS: Final = 300.0
#: Time limit of a warm shutdown once no call is running that must not be repeated.
WARM_SECONDS: Final = 20.0
RECYCLED = metrics.Counter("joyfull_worker_recycled", "Worker processes stopped by their watchdog", ["kind", "reason"])


class Watchdog:
    """Checks the process once a second. `end` sends a signal to it; tests replace it."""

    def __init__(self, me: WorkerProcess, end: Callable[[signal.Signals], None] | None = None) -> None:
        self.me = me
        self.reason: str | None = None
        self._end = end or (lambda number: os.kill(os.getpid(), number))
        self._stopped = threading.Event()
        self._unresponsive_checks = self._empty_checks = self._jobs_started = 0
        self._since = 0.0

    def start(self) -> None:
        """Start checking once a second, in a thread of its own."""
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def stop(self) -> None:
        """Stop checking, before the process ends by itself."""
        self._stopped.set()
        faulthandler.cancel_dump_traceback_later()

    def _watch(self) -> None:
        for number in count():
            if self._stopped.wait(CHECK_SECONDS):
                return
            if not number % CHECKS_BETWEEN:  # it starts a thread each time
                faulthandler.dump_traceback_later(FROZEN_SECONDS, exit=True)
            with apart.logged(logger, "watchdog failed"):  # whatever went wrong, it checks again in a second
                self.check()
                task_events.events.flush()

    def check(self) -> None:
        """Check once; may start a shutdown of this process or kill it."""
        if self.reason is not None:
            self._kill_when_safe()
        elif not self.me.stopping.is_set():
            self.reason = "unresponsive" if self._is_unresponsive() else "stuck" if self._stuck() else None
            if self.reason is not None:
                self._recycle(self.reason)

    def _recycle(self, reason: str) -> None:
        self._since = clock.monotonic()
        RECYCLED.labels(self.me.kind, reason).inc()
        logger.error("watchdog restarts the worker", reason=reason, worker=str(self.me.id), kind=self.me.kind)
        self._end(signal.SIGTERM)

    def _kill_when_safe(self) -> None:
        """A warm shutdown does not complete when a worker thread or the consumer hangs."""
        if clock.monotonic() - self._since < WARM_SECONDS:
            return
        if not any(_must_complete(each) for each in self.me.running() if not self._hangs(each)):
            self._end(signal.SIGKILL)

    # -- unresponsive ----------------------------------------------------------------------------------------------

    def _is_unresponsive(self) -> bool:
        before, self._jobs_started = self._jobs_started, self.me.jobs_started
        if self.me.jobs_started != before or not self.me.idle:
            self._unresponsive_checks = self._empty_checks = 0
        elif self._empty_checks:
            self._empty_checks -= 1
        elif self._messages_waiting():
            self._unresponsive_checks += 1
        else:
            self._unresponsive_checks, self._empty_checks = 0, CHECKS_BETWEEN - 1
        return self._unresponsive_checks >= UNRESPONSIVE_CHECKS

    def _messages_waiting(self) -> bool:
        """Whether there is something to consume. An unavailable broker is not this process's fault."""
        waiting = [messages.waiting_or_none(queue) for queue in self.me.queues]
        if None in waiting:
            return False
        # RabbitMQ prefetches: messages delivered to a dead connection do not count as waiting.
        return any(waiting) or (messages.on_rabbitmq() and "invocations" in self.me.queues and _work_unclaimed())

    # -- stuck -----------------------------------------------------------------------------------------------------

    def _stuck(self) -> bool:
        return self.me.background.seconds > SWEEP_SECONDS or any(self._hangs(each) for each in self.me.running())

    @staticmethod
    def _hangs(running: Running) -> bool:
        now = clock.monotonic()
        return running.aborted_at is not None and now > max(running.aborted_at + STUCK_SECONDS, running.until)


def _work_unclaimed() -> bool:
    try:
        return invocations.sweeping.unheard(UNRESPONSIVE_CHECKS * CHECK_SECONDS)
    except db.Unreachable:
        return False


def _must_complete(running: Running) -> bool:
    """Whether the call must not be repeated, and so would be lost with this process."""
    if running.stream is not None and running.stream.started:
        return True
    try:
        return not tools.version(running.task.tool_version_id).idempotent
    except db.Unreachable:
        return True

"""Watches this process for progress, and has it started afresh when it makes none. Being alive is not enough: a worker
can be connected, answer pings, keep its pulse, and do nothing.

* **Deaf**: bells wait in its queue, threads of it are idle, and it hears nothing, look after look.
* **Stuck**: a call does not end although its row was given to somebody else long ago (a loop, a call into C).
* **Frozen**: one thread holds the interpreter, so that no other runs, this one included. `faulthandler` sees to that
  with a thread that needs no interpreter: it writes down where everybody is, and ends the process.

A unresponsive or stuck process sends SIGTERM to itself (a warm shutdown; supervisors, compose and systemd start it
again) and SIGKILL when nothing is left in it that would be lost by that.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import threading
from collections.abc import Callable
from typing import Final

from common import invocations, tools
from common.kit import clock, db, log, metrics
from common.queueing import messages
from worker import task_events
from worker.heartbeat import Process, Running

logger = log.get(__name__)

LOOK_SECONDS: Final = 1.0
#: Longer than the transport takes to notice a dead connection by itself (11 s on Redis).
UNRESPONSIVE_CHECKS: Final = 15
#: A call is aborted when its row is lost; whoever has not ended so long after that does not hear it.
STUCK_SECONDS: Final = 30.0
FROZEN_SECONDS: Final = 120.0
#: How long a warm shutdown may take once nothing is under way that must not be repeated.
WARM_SECONDS: Final = 20.0
RECYCLED = metrics.Counter("joyfull_worker_recycled", "Worker processes that ended themselves", ["kind", "reason"])


class Watchdog:
    """`look` once a second; `end` is what becomes of this process."""

    def __init__(self, me: Process, end: Callable[[signal.Signals], None] | None = None) -> None:
        self.me = me
        self.reason: str | None = None
        self._end = end or (lambda number: os.kill(os.getpid(), number))
        self._gone = threading.Event()
        self._unresponsive_checks = self._heard = 0
        self._since = 0.0

    def start(self) -> None:
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def stop(self) -> None:
        self._gone.set()
        faulthandler.cancel_dump_traceback_later()

    def _watch(self) -> None:
        while not self._gone.wait(LOOK_SECONDS):
            faulthandler.dump_traceback_later(FROZEN_SECONDS, exit=True)
            try:
                self.look()
                task_events.stage.flush()
            except Exception:
                # The process edge of this thread: whatever went wrong, the next second is another look.
                logger.exception("watchdog failed")

    def look(self) -> None:
        """One look; may begin or hasten the end of this process."""
        if self.reason is not None:
            self._hasten()
        elif not self.me.stopping.is_set():
            self.reason = "unresponsive" if self._is_unresponsive() else "stuck" if self._stuck() else None
            if self.reason is not None:
                self._recycle(self.reason)

    def _recycle(self, reason: str) -> None:
        self._since = clock.monotonic()
        RECYCLED.labels(self.me.kind, reason).inc()
        logger.error("worker recycles itself", reason=reason, worker=str(self.me.id), kind=self.me.kind)
        self._end(signal.SIGTERM)

    def _hasten(self) -> None:
        """The warm shutdown does not end by itself when a thread, or the one that listens, hangs."""
        if clock.monotonic() - self._since < WARM_SECONDS:
            return
        if not any(_must_end(each) for each in self.me.running() if not self._hangs(each)):
            self._end(signal.SIGKILL)

    # -- unresponsive
    # ------------------------------------------------------------------------------------------------------

    def _is_unresponsive(self) -> bool:
        heard, self._heard = self._heard, self.me.heard
        silent = self.me.heard == heard and self.me.idle
        self._unresponsive_checks = self._unresponsive_checks + 1 if silent and self._called() else 0
        return self._unresponsive_checks >= UNRESPONSIVE_CHECKS

    def _called(self) -> bool:
        """Whether something is there to be heard. A broker that does not answer says nothing about us."""
        waiting = [messages.unheard(queue) for queue in self.me.queues]
        if None in waiting:
            return False
        # RabbitMQ hands bells out beforehand: those that a dead connection holds are not seen waiting.
        return any(waiting) or (messages.on_rabbitmq() and "invocations" in self.me.queues and _nobody_hears())

    # -- stuck -----------------------------------------------------------------------------------------------------

    def _stuck(self) -> bool:
        return any(self._hangs(each) for each in self.me.running())

    @staticmethod
    def _hangs(running: Running) -> bool:
        return running.aborted_at is not None and clock.monotonic() - running.aborted_at > STUCK_SECONDS


def _nobody_hears() -> bool:
    try:
        return invocations.sweeping.unheard(UNRESPONSIVE_CHECKS * LOOK_SECONDS)
    except db.Unreachable:
        return False


def _must_end(running: Running) -> bool:
    """Whether a call would be lost with this process: others are made again."""
    try:
        return not tools.version(running.task.tool_version_id).idempotent
    except db.Unreachable:
        return True

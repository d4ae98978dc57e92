"""This worker process: who it is, what it is doing, and the keeper thread that speaks for it every second.

The keeper says that the process lives (`processes.pulse_at`), hears of cancels, cuts off calls whose row was lost to
somebody else, and (one process at a time, under an advisory lock) does the sweep. It has a connection of its own, so
that it is heard even when every pooled one is busy.
"""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from common import invocations
from common.invocations import Task
from common.kit import clock, db, log, metrics, redis
from common.kit.clock import uuid7
from common.kit.outbound import Call
from common.operations import instance
from worker import sweeper
from worker.concurrency import ConcurrencyLimiter

logger = log.get(__name__)

TICK_SECONDS = 1.0
#: Longer than it can take from a row's being taken to the call, with every server in between slow.
ORPHANED_SECONDS = 15.0
#: Answers of more bytes than this take memory that counts, many times their size while they are read.
LARGE = 128 * 1024
LARGE_AT_ONCE = 2
THREADS = metrics.level("joyfull_worker_threads", "Threads of worker processes", ("kind",))
BUSY = metrics.level("joyfull_worker_threads_busy", "Threads that have an invocation in hand")


@dataclass(slots=True)
class Running:
    """A call under way: what it is for, and the handle that ends it."""

    task: Task
    call: Call = field(default_factory=Call)
    aborted_at: float | None = None

    def abort(self) -> None:
        """Cut the call off; `aborted_at` says since when it should be over."""
        if self.aborted_at is None:
            self.aborted_at = clock.monotonic()
        self.call.abort()


class Process:
    """One worker process. `id` is its name in the books; nothing is claimed before its pulse is known there."""

    def __init__(self) -> None:
        self.id: UUID = uuid7()
        self.kind = "invocations"
        self.threads = 1
        self.name = ""
        self.limiter = ConcurrencyLimiter()
        self.stopping = threading.Event()
        self.progress = threading.Event()
        self.heard = 0
        self._jobs = 0
        self._known = threading.Event()
        self._gone = threading.Event()
        self._running: dict[UUID, Running] = {}
        self._orphaned: dict[UUID, float] = {}
        self._lock = threading.Lock()
        self._large = threading.BoundedSemaphore(LARGE_AT_ONCE)
        self._keeper: threading.Thread | None = None

    # -- life ----------------------------------------------------------------------------------------------------

    def begin(self, name: str) -> None:
        self.name = name
        self._keeper = threading.Thread(target=self._keep, name="keeper", daemon=True)
        self._keeper.start()
        THREADS.labels(self.kind).set(self.threads)
        BUSY.set(0)

    def log_start(self) -> None:
        logger.info("worker ready", worker=str(self.id), kind=self.kind, threads=self.threads)

    def stop_taking(self) -> None:
        """The first moment of a shutdown: what runs may end, nothing new is taken."""
        self.stopping.set()

    def end(self) -> None:
        """The last moment: leave the books, so that nobody has to wait for a pulse that will not come."""
        self.stopping.set()
        self._gone.set()
        if self._keeper is not None:
            self._keeper.join(5)
        try:
            invocations.leave(self.id)
        except db.Unreachable:
            logger.warning("left without saying so: database away", worker=str(self.id))

    def known(self, timeout: float = 10.0) -> bool:
        """Whether the books know this process (a row taken by an unknown one counts as lost at once)."""
        return self._known.wait(timeout)

    # -- what runs -------------------------------------------------------------------------------------------------

    @property
    def queues(self) -> list[str]:
        return self.kind.split(",")

    @property
    def idle(self) -> bool:
        """Whether a thread is free to hear the next bell."""
        return self._jobs < self.threads

    def hear(self) -> None:
        """A job starts."""
        with self._lock:
            self.heard += 1
            self._jobs += 1
        self.progress.set()

    def done(self) -> None:
        """A job has ended, however it did."""
        with self._lock:
            self._jobs -= 1

    def enter(self, task: Task) -> Running:
        running = Running(task)
        with self._lock:
            self._running[task.token] = running
        BUSY.inc()
        return running

    def leave(self, running: Running) -> None:
        self.progress.set()
        BUSY.dec()
        with self._lock:
            self._running.pop(running.task.token, None)

    @contextmanager
    def room(self, size: int) -> Iterator[None]:
        """Around what is made of an answer of `size` bytes, until it is written down: few large ones at a time."""
        if size <= LARGE:
            yield
            return
        with self._large:
            yield

    def running(self) -> list[Running]:
        with self._lock:
            return list(self._running.values())

    def crowded(self, share: float = 0.8, leaving: Task | None = None) -> list[UUID]:
        """Tools that fill so much of this process's threads that they get no more of them; `leaving` counts no more."""
        counts = Counter(each.task.tool_id for each in self.running() if each.task is not leaving)
        most = max(1, int(self.threads * share))
        return [tool for tool, count in counts.items() if count >= most and self.threads > 1]

    # -- the keeper ------------------------------------------------------------------------------------------------

    def _keep(self) -> None:
        with db.private(f"joyfull-keeper-{self.kind}"):
            while not self._gone.wait(TICK_SECONDS if self._known.is_set() else 0.1):
                started = clock.monotonic()
                try:
                    if self._ends_elsewhere():
                        continue
                    self._beat()
                    sweeper.every_second(self.threads)
                except (db.Unreachable, redis.Unreachable) as error:
                    logger.warning("keeper waits for a server", reason=str(error) or type(error).__name__)
                except Exception:
                    # The process edge of this thread: whatever went wrong, the next second is another try.
                    logger.exception("keeper failed", seconds=round(clock.monotonic() - started, 3))

    def _ends_elsewhere(self) -> bool:
        """Nothing is taken, rung or swept on servers of another platform: a supervisor may try again later."""
        if instance.refusal() is None:
            return False
        if not self.stopping.is_set():
            self.stop_taking()
            os.kill(os.getpid(), signal.SIGTERM)
        return True

    def _beat(self) -> None:
        progressed = self.progress.is_set()
        self.progress.clear()
        invocations.heartbeat(self.id, name=self.name, progress=progressed, stopping=self.stopping.is_set())
        self._known.set()
        running = self.running()
        in_hand = {row.token: row for row in invocations.held_by(self.id)}
        for each in running:
            row = in_hand.get(each.task.token)
            if row is None or row.cancel_at is not None:
                each.abort()
        self._take_over_orphaned([token for token in in_hand if token not in self._running])

    def _take_over_orphaned(self, tokens: list[UUID]) -> None:
        """Rows that the books give us and no thread of ours works on: the answer that told of them was lost."""
        now = clock.monotonic()
        self._orphaned = {token: self._orphaned.get(token, now) for token in tokens}
        old = [token for token in tokens if now - self._orphaned[token] >= ORPHANED_SECONDS]
        if old and invocations.take_over(self.id, old):
            logger.warning("orphaned rows taken over", rows=len(old))


me = Process()


def describe(kind: str, threads: int) -> None:
    """What the command line says this process is for."""
    me.kind, me.threads = kind, threads


def bound(task: Task) -> Any:
    """Log context for everything that is done for this task."""
    return log.bound(
        request_id=task.request_id, invocation_id=str(task.id), user_id=str(task.user_id), attempt=task.attempt
    )

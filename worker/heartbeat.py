"""This worker process: its identity, its running calls, and its heartbeat thread.

Once a second the heartbeat thread records that the process is alive (`processes.heartbeat_at`), asks what it holds and
what is due, and aborts calls that were canceled or lost. It has its own database connection, for when the pool is
exhausted, and waits for nothing that may take long: another thread sweeps, in one process at a time under an advisory
lock, and recovers calls (`background`), and stalled batches get one each. How long it waits: docs/decisions/idle.md.
"""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from uuid import UUID

from common import invocations
from common.invocations import Heartbeat, Lease, Task
from common.kit import apart, clock, db, log, metrics, redis
from common.kit.clock import uuid7
from common.operations import instance, polling, readiness
from worker import sweeper
from worker.background import Background
from worker.concurrency import ConcurrencyLimiter
from worker.large_responses import LargeResponses
from worker.quick import Quick
from worker.running import Batches, Running, leases
from worker.stream_publisher import StreamPublisher
from worker.waiting import WaitingThreads

logger = log.get(__name__)

TICK_SECONDS = 1.0
#: For how long a statement of the heartbeat thread waits for a lock.
LOCK_TIMEOUT_MS = 2_000
#: More than the time between a claim and its call, even when every server in between is slow.
ORPHANED_SECONDS = 15.0
THREADS = metrics.live_gauge("joyfull_worker_threads", "Threads of worker processes", ("kind",))
BUSY = metrics.live_gauge("joyfull_worker_threads_busy", "Worker threads that are running an invocation")
WENT_BACK = metrics.Counter("joyfull_database_went_back", "Heartbeats that PostgreSQL had committed and has no more")


class WorkerProcess:
    """One worker process. `id` is its row in `processes`; it claims nothing before its first heartbeat is stored."""

    def __init__(self) -> None:
        self.id: UUID = uuid7()
        self.kind, self.name = "invocations", ""
        self.threads = 1
        self.limiter, self.publisher = ConcurrencyLimiter(), StreamPublisher()
        self.quick, self.batches = Quick(self.limiter), Batches()
        self.large_responses = LargeResponses(self.limiter)
        self.stopping = threading.Event()
        self.waiting, self.background = WaitingThreads(self.stopping), Background("sweep")
        self.progress, self._known, self._ended = threading.Event(), threading.Event(), threading.Event()
        self.jobs_started = self._jobs = 0
        self._beat_at: datetime | None = None
        self._running: dict[UUID, Running] = {}
        self._busy: Counter[int] = Counter()
        self._orphaned: dict[UUID, float] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    # -- start and stop ------------------------------------------------------------------------------------------

    def begin(self, name: str) -> None:
        """Start the heartbeat thread."""
        self.name = name
        self._thread = threading.Thread(target=self._heartbeats, name="heartbeat", daemon=True)
        self._thread.start()
        self.waiting.begin()
        THREADS.labels(self.kind).set(self.threads)
        BUSY.set(0)

    def log_start(self) -> None:
        """Log that this process is ready."""
        logger.info("worker ready", worker=str(self.id), kind=self.kind, threads=self.threads)

    def stop_claiming(self) -> None:
        """Begin a shutdown: running calls may complete, nothing new is claimed."""
        self.stopping.set()

    def end(self) -> None:
        """Complete a shutdown: delete the process's row, so that its claims are recovered without a timeout."""
        self.stopping.set()
        self.batches.end()
        self._ended.set()
        if self._thread is not None:
            self._thread.join(5)
        self.background.end(5)
        try:
            invocations.leave(self.id)
        except db.Unreachable:
            logger.warning("worker not deregistered: database unavailable", worker=str(self.id))

    def known(self, timeout: float = 10.0) -> bool:
        """Wait for the first heartbeat to be stored (claims of an unknown process count as lost immediately)."""
        return self._known.wait(timeout)

    # -- running jobs and calls --------------------------------------------------------------------------------------

    @property
    def queues(self) -> list[str]:
        """The Celery queues it consumes."""
        return self.kind.split(",")

    @property
    def idle(self) -> bool:
        """Whether a thread is free for the next message."""
        return self._jobs < self.threads

    def job_started(self) -> None:
        """A Celery job starts."""
        with self._lock:
            self.jobs_started += 1
            self._jobs += 1
        self.progress.set()

    def job_ended(self) -> None:
        """A Celery job has ended, successfully or not."""
        with self._lock:
            self._jobs -= 1

    def enter(self, task: Task) -> Running:
        """A thread begins to work on a task."""
        running = Running(task)
        with self._lock:
            self._running[task.token] = running
            self._busy[running.thread] += 1
            if self._busy[running.thread] == 1:
                BUSY.set(len(self._busy))
        return running

    def leave(self, running: Running) -> None:
        """A thread has ended its work on a task."""
        if not self.progress.is_set():  # to set it takes a lock and twenty times as long
            self.progress.set()
        with self._lock:
            if self._running.pop(running.task.token, None) is None:
                return
            self._busy[running.thread] -= 1
            if not self._busy[running.thread]:
                del self._busy[running.thread]
                BUSY.set(len(self._busy))

    def running(self) -> list[Running]:
        """The tasks that threads of this process work on now."""
        with self._lock:
            return list(self._running.values())

    def crowded(self, share: float = 0.8) -> list[UUID]:
        """Tools that use at least `share` of this process's threads and get no more; this thread is not counted."""
        mine, most = threading.get_ident(), max(1, int(self.threads * share))
        running = self.running() if len(self._busy) >= most else []  # no look at hundreds of calls for each claim
        by_thread = {(each.thread, each.task.tool_id) for each in running if each.thread != mine}
        counts = Counter(tool for _, tool in by_thread)
        return [tool for tool, count in counts.items() if count >= most and self.threads > 1]

    # -- the heartbeat thread --------------------------------------------------------------------------------------

    def _heartbeats(self) -> None:
        pause = 0.0
        with db.private(f"joyfull-heartbeat-{self.kind}", LOCK_TIMEOUT_MS):
            while not self._ended.wait(pause):
                started, pause = clock.monotonic(), TICK_SECONDS
                try:
                    if self._stops_on_foreign_servers():
                        continue
                    self.background.begin(partial(self._attend_to, self._heartbeat()))
                except (db.Unreachable, redis.RedisUnreachable, readiness.NotReady) as error:
                    logger.warning("heartbeat postponed", reason=str(error) or type(error).__name__)
                except Exception:  # the process edge of this thread: whatever went wrong, it tries again in a second
                    logger.exception("heartbeat failed", seconds=round(clock.monotonic() - started, 3))

    def _stops_on_foreign_servers(self) -> bool:
        """Shut down if the servers belong to another platform; the supervisor may start the process again later."""
        if instance.refusal() is None:
            return False
        if not self.stopping.is_set():
            self.stop_claiming()
            os.kill(os.getpid(), signal.SIGTERM)
        return True

    def _heartbeat(self) -> polling.Look:
        if not self._known.is_set():
            readiness.postgresql()  # or nothing is claimed: an older schema may lack what this code needs
        progressed = self.progress.is_set()
        self.progress.clear()
        going_on, stopping = self._going_on(self.running()), self.stopping.is_set()
        self._remember(
            invocations.heartbeat(self.id, name=self.name, progress=progressed, stopping=stopping, leases=going_on)
        )
        self._known.set()
        running = self.running()
        seen = polling.look(self.id)
        held = {*seen.held}.difference(seen.canceled)
        for each in running:
            if each.task.token not in held:
                each.abort()
        self.large_responses.wake()
        self.batches.relieve()
        return seen

    def _going_on(self, running: Sequence[Running]) -> list[Lease]:
        """How much longer calls may go on that have been answered."""
        self.large_responses.vouch(running)
        returning = self.limiter.returning
        for each in running:
            if each.thread in returning and not each.is_given_away:  # its turn comes: nobody holds a slot for long
                each.go_on()
        return leases(running)

    def _remember(self, beat: Heartbeat) -> None:
        """Report if the last heartbeat, which was committed, is not stored: then nothing that came after it is."""
        last, self._beat_at = self._beat_at, beat.at
        if last is not None and beat.before is not None and beat.before < last:
            WENT_BACK.inc()
            times = {"since": clock.rfc3339(beat.before), "until": clock.rfc3339(last)}
            logger.error("the database lacks what it had committed", **times)

    def _attend_to(self, seen: polling.Look) -> None:
        """In the background thread: what the heartbeat has found to do."""
        for step in (partial(self._recover, seen), partial(sweeper.every_second, seen, self.threads)):
            sweeper.attempt(step)

    def _recover(self, seen: polling.Look) -> None:
        """Cancel streams that nobody reads, and recover calls that no thread works on."""
        readers, held = self.publisher.readers, {*seen.held}.difference(seen.canceled)
        unread = [it.task for it in self.running() if it.task.token in held and readers.is_unread(it.task.id)]
        apart.in_turn("cancel-unread", unread, invocations.cancel_unread, lambda task: task.id)
        self._recover_orphaned([token for token in seen.held if token not in self._running])

    def _recover_orphaned(self, tokens: list[UUID]) -> None:
        """Recover claims of this process that no thread works on: the database's answer to the claim was lost."""
        now = clock.monotonic()
        self._orphaned = {token: self._orphaned.get(token, now) for token in tokens}
        old = [token for token in tokens if now - self._orphaned[token] >= ORPHANED_SECONDS]
        if old and invocations.take_over(self.id, old):
            logger.warning("orphaned claims recovered", rows=len(old))


me = WorkerProcess()


def describe(kind: str, threads: int) -> None:
    """Set the queues and the number of threads from the command line."""
    me.kind, me.threads = kind, threads

"""The calls that a thread has in hand: usually one, or a batch of quick ones whose results are stored together.

A batch saves most of what a quick call costs besides the call itself: eight of them are stored, and eight more claimed,
in one statement. What may go wrong with it is bounded: its results are stored when they have waited for `LONGEST`
seconds, and when a call takes unexpectedly long, a thread that the heartbeat starts stores those that wait for it and
hands back the calls that were not begun.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from common import invocations
from common.invocations import GRACE_SECONDS, PERSIST_SECONDS, ClaimOptions, Completion, Lease, Task
from common.kit import apart, clock, db, log
from common.kit.outbound import Call
from common.queueing import messages
from worker.stream_publisher import LiveStream

logger = log.get(__name__)

#: How long (seconds) results wait for the next call of their batch to begin.
LONGEST: Final = 0.02
#: How long (seconds) they wait for a call that has begun, until the next heartbeat relieves them.
STALLED: Final = 0.5
#: How many batches are relieved at once, in threads of their own.
RELIEVING: Final = 8
#: How long (seconds) storing a result may take: as long as it is tried, and the last try.
STORING: Final = PERSIST_SECONDS + GRACE_SECONDS


@dataclass(slots=True)
class Running:
    """A running call: its task, the handle to abort it, and what it has shown if it is streamed.

    `is_large`: so is its response. `is_kept`: its result is to be stored with those of its batch. `is_alone`: it has
    had to wait for more than its tool. `is_in_line`: it waits for large responses of others. `is_given_away`: another
    thread than its batch's stores its result or hands it back, and leaves it.

    `until`: until when (monotonic) its lease is renewed, because its tool has answered and the result waits to be read
    or stored, or because it waits behind such results to be handed back; a wait or a step that takes longer hangs. 0:
    it has the lease that it was claimed with.
    """

    task: Task
    call: Call = field(default_factory=Call)
    stream: LiveStream | None = None
    aborted_at: float | None = None
    thread: int = field(default_factory=threading.get_ident)
    is_large: bool = False
    is_kept: bool = False
    is_alone: bool = False
    is_in_line: bool = False
    is_given_away: bool = False
    until: float = 0.0
    batch: Batch | None = None

    def go_on(self, seconds: float = GRACE_SECONDS) -> None:
        """Its tool has answered, and what this thread does next takes at most so long."""
        self.until = clock.monotonic() + seconds

    def abort(self) -> None:
        """Abort the call; `aborted_at` is when this was first tried."""
        if self.aborted_at is None:
            self.aborted_at = clock.monotonic()
        self.call.abort()


class Batch:
    """Quick calls that one thread makes one after the other. Each is in the hands of whoever takes it out."""

    def __init__(self, calls: Sequence[Running], leave: Callable[[Running], None]) -> None:
        self._leave = leave
        self._waiting, self._done = deque(calls), list[tuple[Running, Completion]]()
        self._began = self._begun = clock.monotonic()
        self._lock = threading.Lock()

    def next(self) -> Running | None:
        """The next call to make, if any is left."""
        with self._lock:
            self._begun = clock.monotonic()
            return self._waiting.popleft() if self._waiting else None

    def put(self, running: Running, end: Completion) -> None:
        """A call has been made; its result is to be stored with the others."""
        with self._lock:
            running.is_kept = True
            self._done.append((running, end))

    @property
    def is_due(self) -> bool:
        """Whether results have waited long enough."""
        with self._lock:
            return bool(self._done) and clock.monotonic() - self._began > LONGEST

    def take_done(self) -> list[tuple[Running, Completion]]:
        """What has been called and waits to be stored; it is removed."""
        with self._lock:
            done, self._done, self._began = self._done, [], clock.monotonic()
            return done

    def take_waiting(self) -> list[Running]:
        """Calls that were not begun; they are removed."""
        with self._lock:
            waiting, self._waiting = list(self._waiting), deque()
            return waiting

    def set_free(self) -> None:
        """Store the results that wait in it, and hand back its calls that were not begun."""
        with self._lock:
            waiting, done = list(self._waiting), self._done
            self._waiting, self._done = deque(), []
            for running in (*waiting, *(running for running, _ in done)):
                running.is_given_away = True
                running.go_on(STORING)
        try:
            store(done, ClaimOptions(UUID(int=0), take_next=False), self._leave)
        finally:
            hand_back(waiting, self._leave)

    @property
    def is_stalled(self) -> bool:
        """Whether others wait for a call that takes long."""
        with self._lock:
            return bool(self._waiting or self._done) and clock.monotonic() - self._begun > STALLED


class Batches:
    """The batches of this process. Thread-safe."""

    def __init__(self) -> None:
        self._batches: set[Batch] = set()
        self._relieving: list[threading.Thread] = []
        self._lock = threading.Lock()

    @contextmanager
    def begin(self, calls: Sequence[Running], leave: Callable[[Running], None]) -> Iterator[Batch]:
        """Around a batch. Whatever is still in it at the end is recovered as orphaned."""
        batch = Batch(calls, leave)
        for running in calls:
            running.batch = batch
        with self._lock:
            self._batches.add(batch)
        try:
            yield batch
        finally:
            with self._lock:
                self._batches.discard(batch)
            for running in calls:
                if not running.is_given_away:
                    leave(running)

    def relieve(self) -> None:
        """For the heartbeat thread: nothing waits any longer for calls that take unexpectedly long.

        Each such batch gets a thread, since storing may take a minute; the heartbeat renews the leases meanwhile.
        """
        with self._lock:
            stalled = [batch for batch in self._batches if batch.is_stalled]
        self._relieving = [thread for thread in self._relieving if thread.is_alive()]
        for batch in stalled[: RELIEVING - len(self._relieving)]:
            with apart.logged(logger, "batch not split"):
                thread = threading.Thread(target=_set_free, args=(batch,), name="relieve", daemon=True)
                thread.start()
                self._relieving.append(thread)
                logger.warning("batch split: one of its calls takes long")

    def end(self) -> None:
        """Wait until what is taken out of batches is stored: for about a minute at most, as threads of jobs do."""
        for thread in self._relieving:
            thread.join(STORING)


def _set_free(batch: Batch) -> None:
    with apart.logged(logger, "batch not split"):
        batch.set_free()


def leases(running: Iterable[Running]) -> list[Lease]:
    """How much longer calls may go on that have been answered."""
    now = clock.monotonic()
    return [Lease(each.task.id, each.task.token, each.until - now) for each in running if each.until > now]


def store(
    done: Sequence[tuple[Running, Completion]], options: ClaimOptions, leave: Callable[[Running], None]
) -> list[Task]:
    """Store the results of a batch. Returns the next tasks."""
    for running, _ in done:
        running.go_on(STORING)
    try:
        return invocations.complete_together([(running.task, end) for running, end in done], options) if done else []
    finally:
        for running, _ in done:
            leave(running)


def hand_back(waiting: Sequence[Running], leave: Callable[[Running], None]) -> None:
    """Hand back calls that were not begun, and send word that there is work."""
    if not waiting:
        return
    try:
        invocations.give_back(*[running.task for running in waiting])
        messages.notify(messages.RUN_INVOCATION)
    except db.Unreachable:
        logger.warning("tasks not handed back: database unavailable; they are recovered as orphaned")
    finally:
        for running in waiting:
            leave(running)


def bound(task: Task) -> AbstractContextManager[None]:
    """Log context for the work on a task."""
    return log.bound(
        request_id=task.request_id, invocation_id=str(task.id), user_id=str(task.user_id), attempt=task.attempt
    )

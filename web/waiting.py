"""Waiting clients: thousands of long-polls and streams on one process, with one Redis subscription between them.

A waiter first makes itself known (`wait:{user}:{id}` in Redis, and here), and only then reads the row: an end that
comes in between is told, one that came before is read. An end publishes only where somebody is known to wait. A wiped
Redis, a lost message or a dead connection cost two seconds, because all waiters' rows are read again that often, in
one statement.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator
from uuid import UUID

from common import budgets, invocations
from common.invocations import Invocation
from common.kit import clock, db, log, redis

logger = log.get(__name__)

CHANNEL = "invocations"
REREAD_SECONDS = 2.0
FLAG_SECONDS = 90
HEARTBEAT_SECONDS = 10.0
STREAM_SECONDS = 3_600.0


class Waiter:
    """One client's place in the waiting room."""

    def __init__(self, user_id: UUID, invocation_id: UUID) -> None:
        self.user_id = user_id
        self.invocation_id = invocation_id
        self.rang = threading.Event()

    def wait(self, seconds: float) -> bool:
        """Sleep until something may have changed. False: nothing did for so long."""
        rang = self.rang.wait(max(0.0, seconds))
        self.rang.clear()
        return rang


class WaitingRoom:
    """All waiters of this process. Starts its two threads (greenlets under gevent) with the first of them."""

    def __init__(self) -> None:
        self._waiters: dict[UUID, set[Waiter]] = defaultdict(set)
        self._seen: dict[UUID, tuple[str, int]] = {}
        self._lock = threading.Lock()
        self._subscribed = threading.Event()
        self._started = False

    def enter(self, user_id: UUID, invocation_id: UUID) -> Waiter:
        """Make a client known; what it reads after this call misses nothing."""
        waiter = Waiter(user_id, invocation_id)
        with self._lock:
            self._start()
            self._waiters[invocation_id].add(waiter)
        self._raise_flags([waiter])
        self._subscribed.wait(0.5)
        return waiter

    def leave(self, waiter: Waiter) -> None:
        with self._lock:
            others = self._waiters[waiter.invocation_id]
            others.discard(waiter)
            if not others:
                del self._waiters[waiter.invocation_id]
                self._seen.pop(waiter.invocation_id, None)

    def __len__(self) -> int:
        return sum(len(waiters) for waiters in self._waiters.values())

    # -- the two threads -----------------------------------------------------------------------------------------

    def _start(self) -> None:
        if not self._started:
            self._started = True
            threading.Thread(target=self._listen, name="waiting-listen", daemon=True).start()
            threading.Thread(target=self._reread, name="waiting-reread", daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                with redis.reachable(), redis.subscriber() as client, client.pubsub() as pubsub:
                    pubsub.subscribe(CHANNEL)
                    for message in pubsub.listen():
                        if message["type"] == "subscribe":
                            self._subscribed.set()
                        elif message["type"] == "message":
                            self._hear(message["data"])
            except redis.Unreachable:
                self._subscribed.clear()
                clock.sleep(0.5)

    def _hear(self, word: str) -> None:
        try:
            self._ring(UUID(word))
        except ValueError:
            logger.warning("message dropped: it is none", channel=CHANNEL)

    def _reread(self) -> None:
        while True:
            clock.sleep(REREAD_SECONDS)
            self._look_after()

    def _look_after(self) -> None:
        try:
            self._look_again()
        except (db.Unreachable, redis.Unreachable) as error:
            logger.warning("waiting clients not looked after", reason=type(error).__name__)
        except Exception:
            # The process edge of this thread: whatever went wrong, the next look is another try.
            logger.exception("waiting room stumbled")

    def _look_again(self) -> None:
        with self._lock:
            waiting = [next(iter(waiters)) for waiters in self._waiters.values() if waiters]
        for invocation in invocations.get_many([waiter.invocation_id for waiter in waiting]).values():
            if self._is_news(invocation):
                self._ring(invocation.id)
        self._raise_flags(waiting)

    def _is_news(self, invocation: Invocation) -> bool:
        """Whether it has changed since the last look. Of one whose clients have left meanwhile nothing is kept."""
        now = (invocation.status, invocation.attempts)
        with self._lock:
            if invocation.id not in self._waiters or self._seen.get(invocation.id) == now:
                return False
            self._seen[invocation.id] = now
            return True

    def _raise_flags(self, waiters: list[Waiter]) -> None:
        if not waiters:
            return
        try:
            with redis.reachable():
                pipeline = redis.client().pipeline(transaction=False)
                for waiter in waiters:
                    pipeline.set(budgets.waiters_key(waiter.user_id, waiter.invocation_id), "1", ex=FLAG_SECONDS)
                pipeline.execute()
        except redis.Unreachable:
            logger.warning("waiters not announced: redis is away")

    def _ring(self, invocation_id: UUID) -> None:
        with self._lock:
            for waiter in self._waiters.get(invocation_id, ()):
                waiter.rang.set()


room = WaitingRoom()


def for_the_end(invocation_id: UUID, owner: UUID, seconds: float, *, fresh: bool = False) -> Invocation:
    """Long-poll: the invocation once it has ended, or as it is after `seconds`. Raises `NotFound`.

    `fresh`: it was accepted just now, so it is not looked at before the wait for it begins.
    """
    give_up = clock.monotonic() + seconds
    if not fresh or seconds <= 0:
        invocation = invocations.get(invocation_id, owner)
        if invocation.ended or seconds <= 0:
            return invocation
    waiter = room.enter(owner, invocation_id)
    try:
        while True:
            invocation = invocations.get(invocation_id, owner)
            if invocation.ended or not waiter.wait(give_up - clock.monotonic()):
                return invocation
    finally:
        room.leave(waiter)


def changes(invocation: Invocation, after: int | None) -> Iterator[Invocation | None]:
    """The invocation at each change of status that is seen, the end last; None is a heartbeat, so that something is
    said at once and every `HEARTBEAT_SECONDS`, also to who was woken for nothing.

    `after`: the sequence number a resuming client has seen already.
    """
    waiter = room.enter(invocation.user_id, invocation.id)
    give_up = clock.monotonic() + STREAM_SECONDS
    seen, due = after, clock.monotonic()
    try:
        while clock.monotonic() < give_up:
            invocation = invocations.get(invocation.id, invocation.user_id)
            news = invocation.sequence != seen
            if news or (clock.monotonic() >= due and not invocation.ended):
                seen, due = invocation.sequence, clock.monotonic() + HEARTBEAT_SECONDS
                yield invocation if news else None
            if invocation.ended:
                return
            waiter.wait(due - clock.monotonic())
    finally:
        room.leave(waiter)

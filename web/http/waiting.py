"""Waiting clients: thousands of long-polls and streams on one process, with one Redis subscription between them.

A waiter first makes itself known (`wait:{user}:{id}` in Redis, and here), and only then reads the row: an end that
comes in between is told, one that came before is read. An end publishes only where somebody is known to wait. A wiped
Redis, a lost message or a dead connection cost two seconds, because all waiters' rows are read again that often, in
one statement.
"""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from uuid import UUID

from flask import current_app

from common import budgets, invocations, subscriptions
from common.errors import RateLimited
from common.invocations import Invocation
from common.kit import clock, db, log, redis
from web.http import turns

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
        self._accounts: Counter[UUID] = Counter()
        self._lock = threading.Lock()
        self._subscribed = threading.Event()
        self._started = False

    def enter(self, user_id: UUID, invocation_id: UUID, most: int) -> Waiter:
        """Make a client known; what it reads after this call misses nothing. Raises `RateLimited`: the account has
        `most` already.
        """
        waiter = Waiter(user_id, invocation_id)
        with self._lock:
            if self._accounts[user_id] >= most:
                raise RateLimited(f"This account has {most} event streams and long-polls already.", retry_after=5)
            self._start()
            self._accounts[user_id] += 1
            self._waiters[invocation_id].add(waiter)
        self._raise_flags([waiter])
        self._subscribed.wait(0.5)
        return waiter

    def leave(self, waiter: Waiter) -> None:
        """Once or more often: a stream that is not even begun is left as well."""
        with self._lock:
            others = self._waiters.get(waiter.invocation_id, set())
            if waiter not in others:
                return
            others.remove(waiter)
            self._accounts[waiter.user_id] -= 1
            if not self._accounts[waiter.user_id]:
                del self._accounts[waiter.user_id]
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
            logger.exception("waiting room failed")

    def _look_again(self) -> None:
        with self._lock:
            waiting = [next(iter(waiters)) for waiters in self._waiters.values() if waiters]
        for invocation_id, state in invocations.states([waiter.invocation_id for waiter in waiting]).items():
            if self._is_news(invocation_id, state):
                self._ring(invocation_id)
        self._raise_flags(waiting)

    def _is_news(self, invocation_id: UUID, state: tuple[str, int]) -> bool:
        """Whether it has changed since the last look. Of one whose clients have left meanwhile nothing is kept."""
        with self._lock:
            if invocation_id not in self._waiters or self._seen.get(invocation_id) == state:
                return False
            self._seen[invocation_id] = state
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


def enter(owner: UUID, invocation_id: UUID) -> Waiter:
    """A place for one more client of this account: `room.leave` it. Raises `RateLimited`."""
    plan = subscriptions.limits(owner)
    most = plan.max_streams if plan and plan.max_streams else current_app.config["SETTINGS"].max_streams
    return room.enter(owner, invocation_id, most)


def for_the_end(invocation_id: UUID, owner: UUID, seconds: float, *, fresh: bool = False) -> Invocation:
    """Long-poll: the invocation once it has ended, or as it is after `seconds`. Raises `NotFound`, `RateLimited`.

    `fresh`: it was accepted just now, so it is not looked at before the wait for it begins.
    """
    give_up = clock.monotonic() + seconds
    if not fresh or seconds <= 0:
        invocation = _read(invocation_id, owner, final=seconds <= 0)
        if invocation.ended or seconds <= 0:
            return invocation
    waiter = enter(owner, invocation_id)
    try:
        while not (invocation := _read(invocation_id, owner, final=False)).ended:
            if not waiter.wait(give_up - clock.monotonic()):
                return _read(invocation_id, owner, final=True)
        return invocation
    finally:
        room.leave(waiter)


def _read(invocation_id: UUID, owner: UUID, *, final: bool) -> Invocation:
    """In its account's turn, which lasts until the answer is sent; of one that goes on waiting, only how it stands."""
    turns.begin()
    invocation = (invocations.get if final else invocations.get_ended)(invocation_id, owner)
    if not final and not invocation.ended:
        turns.end()
    return invocation


def changes(waiter: Waiter, invocation: Invocation, after: int | None) -> Iterator[Invocation | None]:
    """The invocation at each change of status that is seen, the end last; None is a heartbeat, so that something is
    said at once and every `HEARTBEAT_SECONDS`, also to who was woken for nothing.

    `waiter`: the client's place, left at the end; `after`: the sequence number a resuming client has seen already.
    """
    give_up = clock.monotonic() + STREAM_SECONDS
    seen, due = after, clock.monotonic()
    try:
        while clock.monotonic() < give_up:
            with turns.reads.of(invocation.user_id):  # until it has been sent
                invocation = _since(seen, invocation)
                news = invocation.sequence != seen
                if news:
                    seen, due = invocation.sequence, clock.monotonic() + HEARTBEAT_SECONDS
                    yield invocation
            if not news and not invocation.ended and clock.monotonic() >= due:
                due = clock.monotonic() + HEARTBEAT_SECONDS
                yield None
            if invocation.ended:
                return
            waiter.wait(due - clock.monotonic())
    finally:
        room.leave(waiter)


def _since(seen: int | None, known: Invocation) -> Invocation:
    """How it stands; input and output are read only if it has changed since."""
    invocation = invocations.get_ended(known.id, known.user_id)
    if invocation.sequence == seen or invocation.ended:
        return invocation
    return invocations.get(known.id, known.user_id)

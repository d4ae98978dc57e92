"""Long-polls and event streams: thousands of waiting clients per process, with one Redis subscription for all.

A waiter registers first (`wait:{user}:{id}` in Redis, and in this process) and reads the row afterwards, so no
completion is missed: an earlier one is read, a later one is published. Of an invocation that this request has made the
row is not read if its hold is still in the budget gate: the end is published in the step that removes the hold.
Completions are published only for invocations with waiters. A Redis wipe, a lost message or a broken connection delays
a waiter by up to two seconds, because the rows of all waiters are re-read at that interval, in one statement.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from contextlib import ExitStack
from uuid import UUID

from common import budgets, invocations
from common.invocations import Invocation, Submitted
from common.kit import apart, clock, db, log, redis
from web.http import large_reads, waiting_limits
from web.http.stream_readers import StreamReader
from web.http.waiting_limits import Places

logger = log.get(__name__)

#: The longest that a request waits for the end of its invocation, in seconds.
MAX_WAIT = 60
CHANNEL = "invocations"
REREAD_SECONDS = 2.0
FLAG_SECONDS = 90


class Waiter:
    """A client that waits for an invocation to change. `is_open`: its end is certainly published after now."""

    def __init__(self, user_id: UUID, invocation_id: UUID) -> None:
        self.user_id = user_id
        self.invocation_id = invocation_id
        self.changed = threading.Event()
        self.told = self.is_open = False

    def wait(self, seconds: float) -> bool:
        """Wait until the invocation may have changed; False after `seconds` without a change."""
        woken = self.changed.wait(max(0.0, seconds))
        self.changed.clear()
        return woken


class WaiterRegistry:
    """All waiters of this process. The first one starts its two threads (greenlets under gevent)."""

    def __init__(self, places: Places | None = None) -> None:
        self._places = places or Places()
        self._waiters: dict[UUID, set[Waiter]] = defaultdict(set)
        self._seen: dict[UUID, tuple[str, int]] = {}
        self._lock = threading.Lock()
        self._subscribed = threading.Event()
        self._started = False

    def add(self, user_id: UUID, invocation_id: UUID, most: int, period_id: UUID | None = None) -> Waiter:
        """Register a client: reads after this miss no change. Raises `RateLimited` for more than `most` per account.

        `period_id`: the period of the invocation's hold, to look for it too (`Waiter.is_open`).
        """
        waiter = Waiter(user_id, invocation_id)
        self._places.take(user_id, most)
        with self._lock:
            self._start()
            self._waiters[invocation_id].add(waiter)
        hold = () if period_id is None else (budgets.budget_key(user_id, period_id), budgets.hold_field(invocation_id))
        with ExitStack() as undo:
            undo.callback(self.remove, waiter)  # if the request fails here, nobody else would
            subscribed = self._subscribed.wait(0.5)
            waiter.is_open = self._set_flags([waiter], *hold) and subscribed
            undo.pop_all()
        return waiter

    def remove(self, waiter: Waiter) -> None:
        """Remove a waiter; does nothing if it was removed before."""
        with self._lock:
            others = self._waiters.get(waiter.invocation_id, set())
            if waiter not in others:
                return
            others.remove(waiter)
            if not others:
                del self._waiters[waiter.invocation_id]
                self._seen.pop(waiter.invocation_id, None)
        self._places.give_back(waiter.user_id)

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
                            self._on_message(message["data"])
            except redis.RedisUnreachable:
                self._subscribed.clear()
                clock.sleep(0.5)

    def _on_message(self, text: str) -> None:
        try:
            self._wake(UUID(text))
        except ValueError:
            logger.warning("malformed message dropped", channel=CHANNEL)

    def _reread(self) -> None:
        while True:
            clock.sleep(REREAD_SECONDS)
            self._reread_or_log()

    def _reread_or_log(self) -> None:
        with apart.logged(logger, "re-reading the rows of waiting clients failed"):
            try:
                self._reread_once()
            except (db.Unreachable, redis.RedisUnreachable) as error:
                logger.warning("rows of waiting clients not re-read", reason=type(error).__name__)

    def _reread_once(self) -> None:
        with self._lock:
            waiting = [next(iter(waiters)) for waiters in self._waiters.values() if waiters]
        for invocation_id, state in invocations.states([waiter.invocation_id for waiter in waiting]).items():
            if self._is_news(invocation_id, state):
                self._wake(invocation_id)
        self._set_flags(waiting)

    def _is_news(self, invocation_id: UUID, state: tuple[str, int]) -> bool:
        """Whether the state has changed since the last read; records it only while the invocation has waiters."""
        with self._lock:
            if invocation_id not in self._waiters or self._seen.get(invocation_id) == state:
                return False
            self._seen[invocation_id] = state
            return True

    def _set_flags(self, waiters: list[Waiter], *hold: str) -> bool:
        """`hold`: a budget gate, and the field of a hold in it. Returns whether it was there afterwards."""
        keys = [budgets.waiters_key(waiter.user_id, waiter.invocation_id) for waiter in waiters]

        def add(pipeline: redis.Pipeline, key: str) -> None:
            pipeline.set(key, "1", ex=FLAG_SECONDS)
            if hold:
                pipeline.hexists(*hold)

        try:
            answers = redis.each(keys, add)
        except redis.RedisUnreachable:
            logger.warning("waiters not registered in redis: unreachable")
            return False
        if away := sum(not isinstance(answer, list) for answer in answers):
            logger.warning("waiters not registered in redis: their node is unreachable", several=away)
        return bool(hold) and any(isinstance(answer, list) and bool(answer[-1]) for answer in answers)

    def _wake(self, invocation_id: UUID) -> None:
        with self._lock:
            for waiter in self._waiters.get(invocation_id, ()):
                waiter.told = True
                waiter.changed.set()


registry = WaiterRegistry(waiting_limits.places)


def register(owner: UUID, invocation_id: UUID, period_id: UUID | None = None) -> Waiter:
    """Register a client of this account; undo with `registry.remove`. Raises `RateLimited`."""
    return registry.add(owner, invocation_id, waiting_limits.most(owner), period_id)


def wait_for_completion(invocation_id: UUID, owner: UUID, seconds: float, made: Submitted | None = None) -> Invocation:
    """Long-poll: the invocation once it has ended, or its state after `seconds`. Raises `NotFound`, `RateLimited`.

    `made`: it was accepted just now, so it is read before the wait only where its end may have been missed.
    """
    give_up = clock.monotonic() + seconds
    known = None if made is None else made.invocation
    if known is None or seconds <= 0:
        invocation = _read(invocation_id, owner, final=seconds <= 0)
        if invocation.ended or seconds <= 0:
            return invocation
    reading = StreamReader()
    waiter = register(owner, invocation_id, made.period_id if made else None)
    try:
        invocation = known if known is not None and waiter.is_open else _read(invocation_id, owner, final=False)
        while not invocation.ended:
            reading.begin(invocation)
            if not waiter.wait(give_up - clock.monotonic()):
                return _read(invocation_id, owner, final=True)
            invocation = _read(invocation_id, owner, final=False)
        return invocation
    finally:
        reading.end()
        registry.remove(waiter)


def _read(invocation_id: UUID, owner: UUID, *, final: bool) -> Invocation:
    """Read as a large read, unless the client goes on waiting: then without input and output."""
    large_reads.begin()
    invocation = (invocations.get if final else invocations.get_ended)(invocation_id, owner)
    if not final and not invocation.ended:
        large_reads.end()
    return invocation

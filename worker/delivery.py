"""Deliver webhooks: take what is due, post it, write what came of it and take the next, until nothing is due.

Whoever is killed in between leaves a row whose lease runs out; the receiver may then hear the same event twice, under
the same `webhook-id`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any, Final

from common import boot, invocations, webhooks
from common.kit import clock, db, failpoints, log, metrics, tracing
from common.kit.outbound import OutboundClient, authority_of
from common.queueing import messages
from common.webhooks import AttemptResult, Claim, LaneCapacity, OutboxEvent
from worker.failures import Failures
from worker.heartbeat import me
from worker.lanes import Lanes

logger = log.get(__name__)

#: A job leaves after so much, and rings for another: endless jobs would be invisible in Flower.
MAX_TURNS: Final = 100
MAX_SECONDS: Final = 30.0
PARK_EVERY: Final = 0.1
#: Seconds between attempts to write an end that PostgreSQL did not confirm: together well below the lease.
PERSIST: Final = (0.5, 2.0, 5.0)
ATTEMPTS = metrics.Counter("joyfull_webhook_attempts", "Attempts to deliver webhooks", ["outcome"])
DURATION = metrics.Histogram(
    "joyfull_webhook_attempt_seconds", "Time that receivers of webhooks took", buckets=metrics.LONG_SECONDS
)


def run(stopping: Callable[[], bool]) -> int:
    """Deliver whatever webhooks are due, with this process's outbound and threads. → how many attempts were made."""
    try:
        return sender().run(stopping)
    except db.Unreachable as error:
        logger.warning("deliveries wait: database away", reason=str(error))
        return 0


@cache
def sender() -> Sender:
    """This process's one; made after forking."""
    return Sender(boot.outbound(), me.threads)


class Sender:
    """One process's deliveries. `threads`: how many `run` may be under way at once."""

    def __init__(self, outbound: OutboundClient, threads: int) -> None:
        self._door = outbound
        self._lanes = Lanes(threads)
        self._failures = Failures()
        self._parking = threading.Lock()
        self._parked_at = 0.0

    def run(self, stopping: Callable[[], bool] = lambda: False) -> int:
        """Deliver until nothing is due where there is room, or `stopping()`. → how many attempts were made."""
        turns, until = 0, clock.monotonic() + MAX_SECONDS
        claim = None if stopping() else self._take()
        while claim is not None:
            turns += 1
            leaving = turns >= MAX_TURNS or clock.monotonic() >= until
            claim = self._turn(claim, take=not (leaving or stopping()))
            if leaving:
                messages.notify(messages.DELIVER)
        return turns

    def _take(self) -> Claim | None:
        while claim := webhooks.claim_next(self._room()):
            if self._enter(claim):
                if claim.more:  # one bell may stand for many deliveries; each thread that finds work calls another
                    messages.notify(messages.DELIVER)
                return claim
            self._give_back(claim)
        return None

    def _turn(self, claim: Claim, *, take: bool) -> Claim | None:
        """Make one attempt, write it down, and take the next."""
        if (delay := self._delay(claim)) is not None:
            self._lanes.leave(claim.lane, good=False)
            webhooks.postpone(claim, delay)
            self._bring_back([claim.lane])
            return self._take() if take else None
        attempt = None
        try:
            attempt = self._attempt(claim)
        finally:
            self._lanes.leave(claim.lane, good=attempt is not None and attempt.ok)
        if attempt is not None and claim.url is not None:
            self._failures.note(claim.event.user_id, authority_of(claim.url), good=attempt.ok)
        following = _end(claim, attempt, self._room(claim.lane) if take else None)
        if following is None or self._enter(following):
            return following
        self._give_back(following)
        return self._take()

    def _delay(self, claim: Claim) -> float | None:
        """How long to leave its receiver alone; None: not at all."""
        return None if claim.url is None else self._failures.delay(claim.event.user_id, authority_of(claim.url))

    def _enter(self, claim: Claim) -> bool:
        return self._lanes.enter(claim.lane, failing=claim.failing)

    def _attempt(self, claim: Claim) -> AttemptResult | None:
        """None: there is nobody to deliver to any more."""
        if claim.url is None:
            return None
        event = claim.event
        data = _data(event)
        keys = claim.secrets or [webhooks.default_secret(event.user_id)]
        failpoints.at("hook.before_send")
        with _traced(claim):
            attempt = webhooks.send(self._door, claim.url, keys, event, data)
            tracing.note(failed=None if attempt.ok else str(attempt.http_status or "no answer"))
        if attempt.ok:
            failpoints.at("hook.after_2xx")
        return attempt

    def _give_back(self, claim: Claim) -> None:
        webhooks.release(claim)
        self._bring_back([claim.lane])

    def _bring_back(self, parked: Sequence[int]) -> None:
        """Look after lanes whose last delivery ended while their rows were being parked: it did not see them."""
        if forsaken := self._lanes.forsaken(parked):
            webhooks.unpark(forsaken)

    def _room(self, ending: int | None = None) -> LaneCapacity:
        room = self._lanes.room(ending)
        if room.full and clock.monotonic() - self._parked_at > PARK_EVERY and self._parking.acquire(blocking=False):
            try:
                while webhooks.park(room.full) == webhooks.BATCH:
                    pass
                self._bring_back(room.full)
                self._parked_at = clock.monotonic()
            except db.Unreachable as error:  # it can wait: whoever asks for room may have an end to write
                logger.warning("rows of full lanes not parked: database away", reason=str(error))
            finally:
                self._parking.release()
        return room


def _traced(claim: Claim) -> AbstractContextManager[None]:
    """As part of the trace of the request that made the invocation, when anything is traced at all."""
    event = claim.event
    if not tracing.enabled():
        return nullcontext()
    parent = None if event.invocation_id is None else invocations.traceparent(event.invocation_id)
    return tracing.span("webhooks.deliver", "consumer", parent, type=event.type, tries=claim.tries)


def _data(event: OutboxEvent) -> Mapping[str, Any]:
    if event.data is not None:
        return event.data
    if event.invocation_id is None:
        raise ValueError(f"event {event.id} has neither data nor an invocation")
    return invocations.event_data(event.type, event.invocation_id, event.attempts)


def _end(claim: Claim, attempt: AttemptResult | None, room: LaneCapacity | None) -> Claim | None:
    """Write the end, whatever PostgreSQL is going through: it is fenced by the token, so writing it twice is harmless.

    What was taken along with an end that nobody confirmed is left to its lease.
    """
    try:
        return _write(claim, attempt, room)
    except db.Unreachable as error:
        trouble = error
    for seconds in PERSIST:
        clock.sleep(seconds)
        try:
            return _write(claim, attempt, None)
        except db.Unreachable as error:
            trouble = error
    logger.warning("delivery left to its lease", delivery_id=str(claim.id), reason=str(trouble))
    return None


def _write(claim: Claim, attempt: AttemptResult | None, room: LaneCapacity | None) -> Claim | None:
    if attempt is None:
        return webhooks.give_up(claim, None, room)
    if attempt.ok:
        _tell(claim, attempt, "delivered")
        return webhooks.delivered(claim, attempt, room)
    delay = None if attempt.gone else webhooks.delay(claim.tries, attempt.retry_after)
    if delay is None:
        _tell(claim, attempt, "given_up")
        return webhooks.give_up(claim, attempt, room)
    _tell(claim, attempt, "retried")
    return webhooks.retry_later(claim, attempt, delay, room)


def _tell(claim: Claim, attempt: AttemptResult, outcome: str) -> None:
    ATTEMPTS.labels(outcome).inc()
    DURATION.observe(attempt.duration_ms / 1000)
    logger.info(
        "webhook attempted",
        delivery_id=str(claim.id),
        event_id=str(claim.event.id),
        event_type=claim.event.type,
        user_id=str(claim.event.user_id),
        tries=claim.tries,
        http_status=attempt.http_status,
        duration_ms=attempt.duration_ms,
        error=attempt.error,
    )

"""Deliver webhooks: claim a due delivery, post it, store the outcome and claim the next, until none is due.

If the process is killed in between, the row's lease expires and the event is delivered again; the receiver may then get
it twice, with the same `webhook-id`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import cache
from typing import Final

from common import boot, invocations, webhooks
from common.invocations import receipts
from common.kit import batches, clock, db, failpoints, log, tracing
from common.kit.outbound import OutboundClient, authority_of
from common.kit.unforeseen import VALUE_ERRORS
from common.queueing import messages
from common.webhooks import AttemptResult, Claim, LaneCapacity
from worker.ends import Ends
from worker.failures import Failures
from worker.heartbeat import me
from worker.lanes import Lanes

logger = log.get(__name__)

#: A job ends after this many turns or seconds and notifies for another: Flower does not show jobs that never end.
MAX_TURNS: Final = 100
MAX_SECONDS: Final = 30.0
PARK_EVERY: Final = 0.1
#: Rows of full lanes are parked for about so long (seconds) at a time: an outcome may wait to be stored.
PARK_SECONDS: Final = 1.0


def run(stopping: Callable[[], bool]) -> int:
    """Deliver due webhooks with this process's outbound client. Returns the number of attempts."""
    try:
        return sender().run(stopping)
    except db.Unreachable as error:
        logger.warning("webhook deliveries postponed: database unavailable", reason=str(error))
        return 0


@cache
def sender() -> Sender:
    """This process's sender, created on first use, after forking."""
    return Sender(boot.outbound(), me.threads)


class Sender:
    """One process's deliveries. `threads`: the maximum number of concurrent `run` calls."""

    def __init__(self, outbound: OutboundClient, threads: int) -> None:
        self._outbound = outbound
        self._lanes = Lanes(threads)
        self._failures = Failures()
        self._ends = Ends(self._room)
        self._parking = threading.Lock()
        self._parked_at = 0.0

    def run(self, stopping: Callable[[], bool] = lambda: False) -> int:
        """Deliver until nothing is due for lanes with room, or `stopping()`. Returns the number of attempts."""
        turns, until = 0, clock.monotonic() + MAX_SECONDS
        claim = None if stopping() else self._claim()
        while claim is not None:
            turns += 1
            leaving = turns >= MAX_TURNS or clock.monotonic() >= until
            claim = self._turn(claim, claim_next=not (leaving or stopping()))
            if leaving:
                messages.notify(messages.DELIVER)
        return turns

    def _claim(self) -> Claim | None:
        while claim := webhooks.claim_next(self._room()):
            if self._enter(claim):
                if claim.more:  # one message may stand for many deliveries: a thread that finds work notifies another
                    messages.notify(messages.DELIVER)
                return claim
            self._give_back(claim)
        return None

    def _turn(self, claim: Claim, *, claim_next: bool) -> Claim | None:
        """Make one attempt, store its outcome, and claim the next delivery."""
        if (delay := self._delay(claim)) is not None:
            self._lanes.leave(claim.lane, good=False)
            webhooks.postpone(claim, delay)
            self._bring_back([claim.lane])
            return self._claim() if claim_next else None
        attempt = None
        try:
            attempt = self._attempt(claim)
        finally:
            self._lanes.leave(claim.lane, good=attempt is not None and attempt.ok)
        if attempt is not None and claim.url is not None:
            self._failures.note(claim.event.user_id, authority_of(claim.url), good=attempt.ok)
        following = self._ends.store(claim, attempt, claim_next=claim_next)
        if following is None or self._enter(following):
            return following
        self._give_back(following)
        return self._claim()

    def _delay(self, claim: Claim) -> float | None:
        """Seconds to postpone the delivery because its receiver keeps failing; None to deliver now."""
        return None if claim.url is None else self._failures.delay(claim.event.user_id, authority_of(claim.url))

    def _enter(self, claim: Claim) -> bool:
        """Whether the delivery may be made now: its lane has room, and it has a turn where the endpoint limits them."""
        if not self._lanes.enter(claim.lane, failing=claim.failing):
            return False
        turn = webhooks.take_turn(claim)
        if turn.interval and self._lanes.rest(claim.lane, going=not turn.wait):
            timer = threading.Timer(turn.wait or turn.interval, self._next_turn, [claim.lane])
            timer.daemon = True
            timer.start()
        return not turn.wait

    def _next_turn(self, lane: int) -> None:
        """Bring back one row of a lane that rested. (If this process dies, the sweep does.)"""
        self._lanes.wake(lane)
        try:
            webhooks.unpark_one(lane)
        except db.Unreachable as error:
            logger.warning("row of a resting lane not brought back: database unavailable", reason=str(error))
        messages.notify(messages.DELIVER)

    def _attempt(self, claim: Claim) -> AttemptResult | None:
        """Deliver once; None if the endpoint no longer exists.

        An error that nobody has foreseen is an attempt that failed: it is stored, and the next one is made in its time.
        """
        if claim.url is None:
            return None
        began = clock.now()
        try:
            return self._sent(claim)
        except VALUE_ERRORS:
            logger.exception("webhook attempt failed with an internal error", delivery_id=str(claim.id))
            return AttemptResult(began, 0, error="The delivery failed with an internal error.")

    def _sent(self, claim: Claim) -> AttemptResult:
        event = claim.event
        data = _data(claim)
        keys = claim.secrets or [webhooks.default_secret(event.user_id)]
        failpoints.at("hook.before_send")
        with _traced(claim):
            attempt = webhooks.send(self._outbound, claim, data, keys)
            tracing.note(failed=None if attempt.ok else str(attempt.http_status or "no answer"))
        if attempt.ok:
            failpoints.at("hook.after_2xx")
        return attempt

    def _give_back(self, claim: Claim) -> None:
        webhooks.release(claim)
        self._bring_back([claim.lane])

    def _bring_back(self, parked: Sequence[int]) -> None:
        """Unpark rows of lanes whose last delivery ended while they were being parked: it did not see them."""
        if idle := self._lanes.idle(parked):
            webhooks.unpark(idle)

    def _room(self, *ending: int) -> LaneCapacity:
        room = replace(self._lanes.room(*ending), content=invocations.CONTENT)
        if room.full and clock.monotonic() - self._parked_at > PARK_EVERY and self._parking.acquire(blocking=False):
            try:
                batches.repeat(lambda: webhooks.park(room.full), webhooks.BATCH, PARK_SECONDS)
                self._bring_back(room.full)
                self._parked_at = clock.monotonic()
            except db.Unreachable as error:  # not urgent, and the caller may have an outcome to store
                logger.warning("rows of full lanes not parked: database unavailable", reason=str(error))
            finally:
                self._parking.release()
        return room


def _traced(claim: Claim) -> AbstractContextManager[None]:
    """A span in the trace of the request that created the invocation; nothing when tracing is disabled."""
    event = claim.event
    if not tracing.enabled():
        return nullcontext()
    parent = None if event.invocation_id is None else invocations.traceparent(event.invocation_id)
    return tracing.span("webhooks.deliver", "consumer", parent, type=event.type, tries=claim.tries)


def _data(claim: Claim) -> Mapping[str, object]:
    event = claim.event
    if event.data is not None:
        return event.data
    if event.invocation_id is None:
        raise ValueError(f"event {event.id} has neither data nor an invocation")
    most = 0 if claim.thin else webhooks.MAX_READ
    shown = invocations.event_data(event.type, event.invocation_id, event.attempts, most=most, row=claim.content)
    return receipts.add_to(shown) if claim.receipt and "input" in shown else shown

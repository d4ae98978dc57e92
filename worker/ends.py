"""How deliveries ended: stored alone, with retries, or those of several threads in one statement.

A thread whose delivery was accepted while another thread is storing waits until that is done; then one of those that
wait stores all of theirs. So nothing waits for a receiver, each thread holds one delivery, and the busier the process,
the more are stored together.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from common import webhooks
from common.kit import clock, db, log, metrics
from common.webhooks import AttemptResult, Claim, LaneCapacity

logger = log.get(__name__)

#: How long (seconds) threads wait for one that is storing; then another one stores for those that wait.
PATIENCE: Final = 0.1
#: Delays between attempts to store an outcome that PostgreSQL did not confirm; in total well below the lease.
STORE_RETRY_SECONDS: Final = (0.5, 2.0, 5.0)
ATTEMPTS = metrics.Counter("joyfull_webhook_attempts", "Webhook delivery attempts", ["outcome"])
DURATION = metrics.Histogram(
    "joyfull_webhook_attempt_seconds", "Duration of webhook delivery attempts", buckets=metrics.LONG_SECONDS
)

#: What may be claimed, once deliveries of these lanes have ended.
Room = Callable[..., LaneCapacity]


def _locked() -> threading.Lock:
    lock = threading.Lock()
    lock.acquire()
    return lock


@dataclass(eq=False, slots=True)
class _Success:
    """A delivery that was accepted. `following`: what was claimed for its thread; `stores`: this thread is to store."""

    claim: Claim
    attempt: AttemptResult
    following: Claim | None = None
    is_stored: bool = False
    stores: bool = False
    turn: threading.Lock = field(default_factory=_locked)


class Ends:
    """The ends of one process. Thread-safe."""

    def __init__(self, room: Room, patience: float = PATIENCE) -> None:
        self._room, self._patience = room, patience
        self._waiting: list[_Success] = []
        self._storing = 0
        self._lock = threading.Lock()

    def store(self, claim: Claim, attempt: AttemptResult | None, *, claim_next: bool) -> Claim | None:
        """Store the outcome (None: there is no receiver any more). Returns the next delivery, if it is to be claimed.

        A delivery that was claimed together with an unconfirmed outcome is recovered when its lease expires.
        """
        if claim_next and attempt is not None and attempt.ok:
            own = _Success(claim, attempt)
            if self._is_to_store(own):
                self._store(self._taken(own), own)
            if own.is_stored:
                return own.following
        return _stored_alone(claim, attempt, self._room(claim.lane) if claim_next else None)

    def _is_to_store(self, own: _Success) -> bool:
        """Wait until another thread has stored it; or return true if this one is to do so, with those that wait."""
        with self._lock:
            self._waiting.append(own)
            if not self._storing:
                self._begin(own)
                return True
        if not own.turn.acquire(timeout=self._patience):
            with self._lock:
                if own in self._waiting and not own.stores:
                    self._begin(own)
            if not own.stores:
                own.turn.acquire()
        return own.stores

    def _begin(self, own: _Success) -> None:
        own.stores = True
        self._storing += 1

    def _taken(self, own: _Success) -> list[_Success]:
        with self._lock:
            taken = [own, *[each for each in self._waiting if not each.stores][: webhooks.MOST_TOGETHER - 1]]
            self._waiting = [each for each in self._waiting if each not in taken]
            return taken

    def _store(self, taken: Sequence[_Success], own: _Success) -> None:
        try:
            following = _stored_together(taken, self._room(*[each.claim.lane for each in taken]))
            for each in taken if following is not None else ():
                each.is_stored = True
                each.following = following.pop(0) if following else None
        except db.Unreachable:  # each thread tries again
            logger.warning("webhook outcome not stored yet: database unavailable")
        finally:
            self._pass_on()
            for each in taken:
                if each is not own:
                    each.turn.release()

    def _pass_on(self) -> None:
        """Who has waited longest is to store next."""
        with self._lock:
            self._storing -= 1
            first = next((each for each in self._waiting if not each.stores), None)
            if first is not None:
                self._begin(first)
                first.turn.release()


def _stored_together(taken: Sequence[_Success], room: LaneCapacity) -> list[Claim] | None:
    """What was claimed for them; None if each is to be stored alone."""
    if len(taken) == 1:
        following = _stored(taken[0].claim, taken[0].attempt, room)
        return [] if following is None else [following]
    claims = webhooks.delivered_together([(each.claim, each.attempt) for each in taken], room)
    if claims is not None:
        for each in taken:
            _count(each.attempt, "delivered")
        logger.info("webhooks delivered", deliveries=[_named(each.claim, each.attempt) for each in taken])
    return claims


def _stored_alone(claim: Claim, attempt: AttemptResult | None, room: LaneCapacity | None) -> Claim | None:
    """Store an outcome, with retries: the fencing token makes it safe to store twice."""
    try:
        return _stored(claim, attempt, room)
    except db.Unreachable as error:
        failure = error
    for seconds in STORE_RETRY_SECONDS:
        clock.sleep(seconds)
        try:
            return _stored(claim, attempt, None)
        except db.Unreachable as error:
            failure = error
    logger.warning("webhook outcome not stored; the lease will expire", delivery_id=str(claim.id), reason=str(failure))
    return None


def _stored(claim: Claim, attempt: AttemptResult | None, room: LaneCapacity | None) -> Claim | None:
    if attempt is None:
        return webhooks.give_up(claim, None, room)
    delay = None if attempt.ok or attempt.gone else webhooks.delay(claim.tries, attempt.retry_after)
    if attempt.ok:
        outcome, following = "delivered", webhooks.delivered(claim, attempt, room)
    elif delay is None:
        outcome, following = "given_up", webhooks.give_up(claim, attempt, room)
    else:
        outcome, following = "retried", webhooks.retry_later(claim, attempt, delay, room)
    _count(attempt, outcome)
    logger.info("webhook attempted", **_named(claim, attempt))
    return following


def _count(attempt: AttemptResult, outcome: str) -> None:
    ATTEMPTS.labels(outcome).inc()
    DURATION.observe(attempt.duration_ms / 1000)


def _named(claim: Claim, attempt: AttemptResult) -> dict[str, object]:
    """What the log says of an attempt."""
    return {
        "delivery_id": str(claim.id),
        "event_id": str(claim.event.id),
        "event_type": claim.event.type,
        "user_id": str(claim.event.user_id),
        "tries": claim.tries,
        "http_status": attempt.http_status,
        "duration_ms": attempt.duration_ms,
        "error": attempt.error,
    }

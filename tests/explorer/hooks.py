"""Webhook deliveries: a start state, its verbs, and what must hold of them whatever happens."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from common import boot, webhooks
from common.webhooks import queue, sweeping
from common.webhooks.model import AttemptResult, Claim, LaneCapacity

ARRIVED = AttemptResult(at=datetime(2026, 1, 1, tzinfo=UTC), duration_ms=1, http_status=200)
FAILED = AttemptResult(
    at=datetime(2026, 1, 1, tzinfo=UTC), duration_ms=1, http_status=500, error="The receiver answered 500."
)


@dataclass(slots=True)
class Receiver:
    """An endpoint, and how often each event was sent to it, or answered with 200."""

    user_id: UUID
    endpoint_id: UUID
    sent: Counter[UUID] = field(default_factory=Counter)
    answered: Counter[UUID] = field(default_factory=Counter)

    @classmethod
    def make(cls, user_id: UUID) -> Receiver:
        made = webhooks.create(user_id, boot.outbound(), url="http://127.0.0.1:9/hook", events=["completed"])
        return cls(user_id, made.endpoint.id)

    def again(self) -> Receiver:
        return Receiver(self.user_id, self.endpoint_id)

    def post(self, claim: Claim, *, arrives: bool) -> AttemptResult:
        self.sent[claim.event.id] += 1
        self.answered[claim.event.id] += arrives
        return ARRIVED if arrives else FAILED


def send(world: Any, _name: str) -> None:
    claim = queue.claim_next()
    if claim is not None and claim.url is not None:
        queue.delivered(claim, world.receiver.post(claim, arrives=True))


def send_together(world: Any, _name: str) -> None:
    """Two at once; whatever is claimed next is lost with its worker."""
    claims = [claim for claim in (queue.claim_next(), queue.claim_next()) if claim is not None and claim.url]
    ends = [(claim, world.receiver.post(claim, arrives=True)) for claim in claims]
    if ends and webhooks.delivered_together(ends, LaneCapacity()) is None:
        for claim, attempt in ends:
            queue.delivered(claim, attempt)


def send_in_vain(world: Any, _name: str) -> None:
    claim = queue.claim_next()
    if claim is not None and claim.url is not None:
        queue.retry_later(claim, world.receiver.post(claim, arrives=False), 0.0)


def expire(_world: Any, _name: str) -> None:
    sweeping.expire_leases()


def replay(world: Any, _name: str) -> None:
    since = datetime.now(UTC) - timedelta(hours=1)
    webhooks.replay(world.receiver.user_id, world.receiver.endpoint_id, since)


VERBS = {
    "send": send,
    "send together": send_together,
    "send in vain": send_in_vain,
    "expire leases": expire,
    "replay": replay,
}

_ROWS = """
select d.event_id, d.status, count(*) over (partition by d.event_id, d.endpoint_id) from deliveries d
"""


def broken(receiver: Receiver, store: Any) -> list[str]:
    """After every lease has run out, and everything that is due was sent."""
    ran_out = "update deliveries set lease_until = now() - interval '1 s' where lease_until is not null"
    store.connection.execute(ran_out)
    sweeping.expire_leases()
    for _ in range(10):
        store.connection.execute("update deliveries set due_at = now() where status = 'pending'")
        claim = queue.claim_next()
        if claim is None:
            break
        queue.delivered(claim, receiver.post(claim, arrives=True))
    found = []
    for event_id, status, rows in store.connection.execute(_ROWS):
        if status != "delivered" or rows != 1:
            found.append(f"delivery is {status}, {rows} rows")
        if not receiver.answered[event_id]:
            found.append("delivered, but nobody received it")
    return found

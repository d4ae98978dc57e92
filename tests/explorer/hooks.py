"""Webhook deliveries: a start state, its verbs, and what must hold of them whatever happens."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from common import boot, webhooks
from common.errors import Conflict, NotFound
from common.kit.outbound import OutboundClient
from common.webhooks import queue, sweeping
from common.webhooks.model import AttemptResult, Claim, LaneCapacity

ARRIVED = AttemptResult(at=datetime(2026, 1, 1, tzinfo=UTC), duration_ms=1, http_status=200)
FAILED = AttemptResult(
    at=datetime(2026, 1, 1, tzinfo=UTC), duration_ms=1, http_status=500, error="The receiver answered 500."
)
GONE = AttemptResult(
    at=datetime(2026, 1, 1, tzinfo=UTC), duration_ms=1, http_status=410, error="The receiver answered 410 Gone."
)


@dataclass(slots=True)
class Receiver:
    """An endpoint, and how often each event was sent to it, or answered with 200.

    `closed`: its owner was told that nothing more is sent to it. `secrets`: what the receiver checks signatures with:
    the first one, and those that its owner was told; `rotations`: those that were begun.
    """

    user_id: UUID
    endpoint_id: UUID
    outbound: OutboundClient
    secrets: list[str]
    rotations: int = 0
    closed: bool = False
    sent: Counter[UUID] = field(default_factory=Counter)
    answered: Counter[UUID] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    @classmethod
    def make(cls, user_id: UUID) -> Receiver:
        outbound = boot.outbound()
        made = webhooks.create(user_id, outbound, url="http://127.0.0.1:9/hook", events=["completed"])
        return cls(user_id, made.endpoint.id, outbound, [made.secret])

    def again(self) -> Receiver:
        return Receiver(self.user_id, self.endpoint_id, self.outbound, self.secrets[:1])

    def claimed(self) -> Claim | None:
        """The next delivery to be sent. If there is nobody to send it to any more, it is given up; then None."""
        closed, told = self.closed, self.secrets[1:]
        claim = queue.claim_next()
        if claim is None:
            return None
        if claim.url is None:
            queue.give_up(claim, None)
            return None
        if closed:
            self.problems.append("claimed, although the owner was told before that the endpoint is closed")
        signed = {each.open() for each in claim.secrets}
        kept = told if self.rotations > 1 else self.secrets[:1] + told
        if not signed.issuperset(kept):
            self.problems.append("not signed with a secret that the receiver goes by")
        return claim

    def post(self, claim: Claim, *, arrives: bool) -> AttemptResult:
        self.sent[claim.event.id] += 1
        self.answered[claim.event.id] += arrives
        return ARRIVED if arrives else FAILED


def send(world: Any, _name: str) -> None:
    claim = world.receiver.claimed()
    if claim is not None:
        queue.delivered(claim, world.receiver.post(claim, arrives=True))


def send_together(world: Any, _name: str) -> None:
    """Two at once; whatever is claimed next is lost with its worker."""
    claims = [claim for claim in (world.receiver.claimed(), world.receiver.claimed()) if claim is not None]
    ends = [(claim, world.receiver.post(claim, arrives=True)) for claim in claims]
    if ends and webhooks.delivered_together(ends, LaneCapacity()) is None:
        for claim, attempt in ends:
            queue.delivered(claim, attempt)


def send_in_vain(world: Any, _name: str) -> None:
    claim = world.receiver.claimed()
    if claim is not None:
        queue.retry_later(claim, world.receiver.post(claim, arrives=False), 0.0)


def expire(_world: Any, _name: str) -> None:
    sweeping.expire_leases()


def replay(world: Any, _name: str) -> None:
    since = datetime.now(UTC) - timedelta(hours=1)
    with suppress(NotFound, Conflict):
        webhooks.replay(world.receiver.user_id, world.receiver.endpoint_id, since)


def send_to_one_that_is_gone(world: Any, _name: str) -> None:
    """It answers 410, which disables the endpoint."""
    claim = world.receiver.claimed()
    if claim is not None:
        world.receiver.sent[claim.event.id] += 1
        queue.give_up(claim, GONE)


def disable(world: Any, _name: str) -> None:
    receiver = world.receiver
    with suppress(NotFound):
        webhooks.change(receiver.user_id, receiver.endpoint_id, receiver.outbound, status="disabled")
    receiver.closed = True


def delete(world: Any, _name: str) -> None:
    with suppress(NotFound):
        webhooks.remove(world.receiver.user_id, world.receiver.endpoint_id)
    world.receiver.closed = True


def rotate(world: Any, _name: str) -> None:
    receiver = world.receiver
    receiver.rotations += 1
    with suppress(NotFound):
        receiver.secrets.append(webhooks.rotate_secret(receiver.user_id, receiver.endpoint_id).secret)


CLOSING = {"send to one gone": send_to_one_that_is_gone, "disable hook": disable, "delete hook": delete}
VERBS = {
    "send": send,
    "send together": send_together,
    "send in vain": send_in_vain,
    "expire leases": expire,
    "replay": replay,
    "rotate secret": rotate,
    **CLOSING,
}

_ROWS = """
select d.event_id, d.status, count(*) over (partition by d.event_id, d.endpoint_id) from deliveries d
"""


#: What the owner is told when the platform disables an endpoint.
_TOLD = """
select (select count(*) from events where type = 'webhook.disabled'),
       (select count(*) from mails where template = 'endpoint_disabled')
"""


def broken(receiver: Receiver, store: Any, verbs: set[str]) -> list[str]:
    """After every lease has run out, and everything that is due was sent. `verbs`: those that were begun."""
    ran_out = "update deliveries set lease_until = now() - interval '1 s' where lease_until is not null"
    store.connection.execute(ran_out)
    sweeping.expire_leases()
    for _ in range(10):
        store.connection.execute("update deliveries set due_at = now() where status = 'pending'")
        claim = receiver.claimed()
        if claim is not None:
            queue.delivered(claim, receiver.post(claim, arrives=True))
    found, ends = list(receiver.problems), {"delivered", "failed"} if verbs & {*CLOSING} else {"delivered"}
    for event_id, status, rows in store.connection.execute(_ROWS):
        if status not in ends or rows != 1:
            found.append(f"delivery is {status}, {rows} rows")
        if status == "delivered" and not receiver.answered[event_id]:
            found.append("delivered, but nobody received it")
    ((events, mails),) = store.connection.execute(_TOLD).fetchall()
    if events != mails or events > ("send to one gone" in verbs):
        found.append(f"the end of an endpoint was told {events} times, mailed {mails} times")
    return found

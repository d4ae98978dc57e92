"""Several deliveries that were accepted are ended by one statement, and as many claimed, as if each were alone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from common import boot, invocations, webhooks
from common.invocations import views
from common.kit import clock, jsonb, seam
from common.kit import db as db_kit
from common.webhooks import AttemptResult, Claim, LaneCapacity
from tests import factories
from tests.client import eventually
from tests.factories import GOOD
from tests.outside.receiver import Receiver
from tests.webhooks.conftest import Endpoint, happen, sql
from worker.ends import Ends


def taken(count: int) -> list[Claim]:
    claims = [webhooks.claim_next() for _ in range(count)]
    assert None not in claims
    return [claim for claim in claims if claim is not None]


def statuses() -> list[str]:
    """Of every delivery, in the order of their events. (Ids of one millisecond are in no order.)"""
    return [row.status for row in sql("select status from deliveries order by due_at")]


def ok() -> AttemptResult:
    return AttemptResult(clock.now(), 5, 204, response_excerpt="taken")


def numbers(claims: list[Claim] | None) -> set[object]:
    assert claims is not None
    return {claim.event.data["n"] for claim in claims if claim.event.data}


def test_they_are_recorded_and_as_many_are_claimed_in_order(user_id: UUID, endpoint: Endpoint) -> None:
    endpoint()
    for n in range(6):
        happen(user_id, n=n)
    first = taken(2)
    sql("update webhook_endpoints set failing_since = now()")
    following = webhooks.delivered_together([(claim, ok()) for claim in first], LaneCapacity())
    assert numbers(following) == {2, 3}
    assert following is not None
    assert [claim.tries for claim in following] == [1, 1]
    assert statuses() == ["delivered", "delivered", "pending", "pending", "pending", "pending"]
    attempts = sql("select n, http_status, duration_ms, error, response_excerpt from delivery_attempts")
    assert [tuple(row) for row in attempts] == [(1, 204, 5, None, "taken")] * 2
    assert sql("select failing_since from webhook_endpoints")[0].failing_since is None
    held = {row.id: row.token for row in sql("select id, token from deliveries where token is not null")}
    assert held == {claim.id: claim.token for claim in following}


def test_who_lost_the_lease_writes_nothing_and_claims_nothing(user_id: UUID, endpoint: Endpoint) -> None:
    endpoint()
    for n in range(5):
        happen(user_id, n=n)
    lost, kept = taken(2)
    sql("update deliveries set token = uuid7() where id = :id", id=lost.id)
    following = webhooks.delivered_together([(lost, ok()), (kept, ok())], LaneCapacity())
    assert numbers(following) == {2}
    assert statuses() == ["pending", "delivered", "pending", "pending", "pending"]
    assert [row.delivery_id for row in sql("select delivery_id from delivery_attempts")] == [kept.id]
    assert webhooks.delivered_together([(lost, ok()), (kept, ok())], LaneCapacity()) == []


def test_parked_rows_come_after_what_is_due_as_many_as_their_lane_has_room_for(
    user_id: UUID, endpoint: Endpoint
) -> None:
    made = endpoint("/a").endpoint
    for n in range(7):
        happen(user_id, n=n)
    first = taken(3)
    lane = first[0].lane
    webhooks.park([lane])
    webhooks.change(user_id, made.id, boot.outbound(), status="disabled")
    endpoint("/b")
    happen(user_id, n="due")
    webhooks.change(user_id, made.id, boot.outbound(), status="enabled")

    room = LaneCapacity(successors=[lane, lane])
    following = webhooks.delivered_together([(claim, ok()) for claim in first], room)
    assert numbers(following) == {"due", 3, 4}
    assert [row.parked for row in sql("select parked from deliveries where token is null and status = 'pending'")] == [
        True,
        True,
    ]


def test_what_was_claimed_with_a_lost_answer_is_handed_back(user_id: UUID, endpoint: Endpoint) -> None:
    endpoint()
    for n in range(4):
        happen(user_id, n=n)
    accepted = [(claim, ok()) for claim in taken(2)]

    def lose(_server: str, _what: object, on: psycopg.Connection[object], do: Callable[[], object]) -> object:
        seam.install(None)
        answer = do()
        if sql("select 1 from deliveries where status = 'delivered'"):
            on.close()
            raise psycopg.OperationalError("lost")
        seam.install(lose)  # type: ignore[arg-type]  # only PostgreSQL is spoken to
        return answer

    seam.install(lose)  # type: ignore[arg-type]  # as above
    try:
        assert webhooks.delivered_together(accepted, LaneCapacity()) is None
    finally:
        seam.install(None)
    assert statuses() == ["delivered", "delivered", "pending", "pending"]
    assert [row.tries for row in sql("select tries from deliveries where token is null order by due_at")] == [
        1,
        1,
        0,
        0,
    ]
    assert numbers(taken(2)) == {2, 3}


# -- threads -----------------------------------------------------------------------------------------------------


class Ended:
    """Threads that store ends. The first is in the middle of it until `go_on`."""

    def __init__(self, pool: ThreadPoolExecutor, claim: Claim, **patience: float) -> None:
        self._pool, self._going = pool, threading.Event()
        self._first = iter([self._going])
        self.ends = Ends(self._room, **patience)
        self.first = self.end(claim)
        eventually("the first is storing", 10, lambda: self.ends._storing == 1 and not self.ends._waiting)

    def _room(self, *_: int) -> LaneCapacity:
        for going in self._first:
            going.wait(40)
        return LaneCapacity()

    def end(self, claim: Claim, attempt: AttemptResult | None = None) -> Future[Claim | None]:
        return self._pool.submit(self.ends.store, claim, attempt or ok(), claim_next=True)

    def go_on(self) -> None:
        self._going.set()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


def test_what_ends_while_another_is_stored_is_stored_by_one_statement(
    user_id: UUID, endpoint: Endpoint, pool: ThreadPoolExecutor
) -> None:
    endpoint()
    for n in range(11):
        happen(user_id, n=n)
    claims = taken(6)
    threads = Ended(pool, claims[0], patience=60)
    others = [threads.end(claim) for claim in claims[1:]]
    eventually("all wait", 10, lambda: len(threads.ends._waiting) == 5)
    threads.go_on()
    following = [each.result(timeout=20) for each in (threads.first, *others)]
    assert statuses() == ["delivered"] * 6 + ["pending"] * 5
    assert sql("select count(distinct xmin::text) as n from deliveries where status = 'delivered'")[0].n == 2
    assert len({claim.id for claim in following if claim}) == 5


def test_an_end_that_takes_long_to_be_stored_does_not_delay_those_of_others(
    user_id: UUID, endpoint: Endpoint, pool: ThreadPoolExecutor
) -> None:
    endpoint()
    for n in range(6):
        happen(user_id, n=n)
    claims = taken(6)
    threads = Ended(pool, claims[0])
    for other in [threads.end(claim) for claim in claims[1:]]:
        other.result(timeout=20)
    assert statuses() == ["pending", *["delivered"] * 5]
    threads.go_on()
    threads.first.result(timeout=20)
    assert statuses() == ["delivered"] * 6


def test_one_that_cannot_be_stored_keeps_none_from_being_stored(
    user_id: UUID, endpoint: Endpoint, pool: ThreadPoolExecutor
) -> None:
    endpoint()
    for n in range(3):
        happen(user_id, n=n)
    claims = taken(3)
    threads = Ended(pool, claims[0], patience=60)
    good = threads.end(claims[1])
    bad = threads.end(claims[2], AttemptResult(clock.now(), 5, 204, response_excerpt="x" * 3000))
    eventually("both wait", 10, lambda: len(threads.ends._waiting) == 2)
    threads.go_on()
    good.result(timeout=20)
    assert isinstance(bad.exception(timeout=20), IntegrityError)
    assert statuses() == ["delivered", "delivered", "pending"]
    assert len(sql("select 1 from delivery_attempts")) == 2


# -- what the body needs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, views.MAX_WITH_CLAIM])
def test_what_the_body_needs_comes_with_the_claim_unless_it_is_large(receiver: Receiver, db: None, size: int) -> None:
    customer, worker = factories.customer(), factories.worker()
    webhooks.create(customer.user_id, boot.outbound(), url=f"{receiver.url}/hook", events=["completed"])
    made = customer.submit(factories.tool(), input={"text": "x" * size})
    invocations.complete(factories.taken(worker), GOOD, worker)
    claim = webhooks.claim_next(LaneCapacity(content=invocations.CONTENT))
    assert claim is not None
    read = partial(invocations.event_data, "invocation.succeeded", made, 1, most=webhooks.MAX_READ)
    expected = jsonb.encoded(read())
    with db_kit.transaction() as session:
        if size == 1:
            session.execute(text("lock table invocations in access exclusive mode"))
        assert jsonb.encoded(read(row=claim.content)) == expected
    assert isinstance(claim.content, views.ViewRow)
    assert (claim.content.output is None) == (size > 1), "claims are small"

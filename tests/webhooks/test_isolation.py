"""One slow or dead receiver never delays another's deliveries."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from uuid import UUID

import pytest
from sqlalchemy import text

from common import boot, webhooks
from common.kit import db as db_kit
from common.webhooks import AttemptResult, LaneCapacity, sending
from tests.outside.receiver import Receiver
from tests.webhooks.conftest import Endpoint, happen, headers, sql
from worker.delivery import Sender
from worker.lanes import MOST, Lanes

# -- lanes: the arithmetic ---------------------------------------------------------------------------------------


def fill(lanes: Lanes, names: range, *, failing: bool = False) -> int:
    """Let in whatever these lanes are allowed, in turn; how much it was."""
    return sum(lanes.enter(lane, failing=failing) for _ in range(2 * MOST) for lane in names)


def good(lanes: Lanes, names: range) -> None:
    for lane in names:
        assert lanes.enter(lane, failing=False)
        lanes.leave(lane, good=True)


def test_one_good_receiver_alone_gets_its_full_measure() -> None:
    lanes = Lanes(200)
    good(lanes, range(1))
    assert fill(lanes, range(1)) == MOST


def test_any_number_of_greedy_ones_leaves_something_over() -> None:
    lanes = Lanes(200)
    good(lanes, range(100))
    assert fill(lanes, range(50)) <= 180
    assert all(lanes.enter(lane, failing=False) for lane in range(90, 100)), "who comes later finds room"


def test_strangers_get_three_quarters_and_those_who_answer_the_rest() -> None:
    lanes = Lanes(40)
    good(lanes, range(1000, 1010))
    assert fill(lanes, range(100)) == 30
    assert lanes.room().only == list(range(1000, 1010))
    assert not lanes.enter(200, failing=False)
    assert all(lanes.enter(lane, failing=False) for lane in range(1000, 1010))


def test_failing_ones_get_half_and_strangers_are_tried_beside_them() -> None:
    lanes = Lanes(40)
    assert fill(lanes, range(100), failing=True) == 20
    assert set(lanes.room().full) == set(range(100)), "nobody needs to step over their rows again"
    assert lanes.enter(200, failing=False)


def test_a_receiver_is_what_it_did_last() -> None:
    lanes = Lanes(40)
    good(lanes, range(1))
    for _ in range(3):
        assert lanes.enter(0, failing=False)
    lanes.leave(0, good=False)
    assert lanes.room().full == [0], "two under way are enough for one that failed"
    lanes.leave(0, good=True)
    assert lanes.room(0) == LaneCapacity([], None, successors=[0])


def test_a_process_with_one_thread_delivers_all_the_same() -> None:
    lanes = Lanes(1)
    assert lanes.enter(1, failing=True)
    assert not lanes.enter(2, failing=False)
    lanes.leave(1, good=False)
    assert lanes.enter(1, failing=True)


# -- the queue: stepping aside ---------------------------------------------------------------------------------------


@pytest.fixture
def crowd(sender: Sender) -> Iterator[Sender]:
    """Twenty threads that deliver, as a worker's do, and the sweep.

    Ask for it before the dead receivers, which are then closed first: that ends the deliveries that hang.
    """
    stop = threading.Event()

    def work() -> None:
        while not stop.wait(0.02):
            sender.run(stop.is_set)

    def sweep() -> None:
        while not stop.wait(1):
            webhooks.unpark()

    threads = [threading.Thread(target=each, daemon=True) for each in (sweep, *[work] * 20)]
    for thread in threads:
        thread.start()
    yield sender
    stop.set()
    for thread in threads:
        thread.join()


@pytest.fixture
def black_hole(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Connections are made and requests are taken by the kernel; nobody ever answers, in longer than a test lasts."""
    monkeypatch.setattr(sending, "TIMEOUT", 120.0)
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_half_of_the_receivers_hang_and_the_others_do_not_notice(
    crowd: Sender, user_id: UUID, black_hole: str, endpoint: Endpoint, receiver: Receiver
) -> None:
    for name in range(8):
        webhooks.create(user_id, boot.outbound(), url=f"{black_hole}/{name}", events=["budget.threshold"])
        endpoint(f"/live{name}")
    for n in range(10):
        happen(user_id, n=n)
    for name in range(8):
        receiver.wait(10, f"/live{name}", timeout=60)
    assert len(sql("select 1 from delivery_attempts where error is not null")) == 0, (
        "the dead ones are still waited for"
    )


def test_a_flood_for_one_receiver_is_parked_and_passes_in_order(
    user_id: UUID, endpoint: Endpoint, receiver: Receiver
) -> None:
    flooded, other = endpoint("/flooded"), endpoint("/other", events=["webhook.test"])
    for n in range(30):
        happen(user_id, n=n)
    webhooks.change(user_id, other.endpoint.id, boot.outbound(), events=["budget.threshold"])
    webhooks.change(user_id, flooded.endpoint.id, boot.outbound(), status="disabled")
    happen(user_id, n="other")
    first = webhooks.claim_next()
    assert first is not None
    full = LaneCapacity([first.lane])
    assert webhooks.park(full.full) == 29
    assert webhooks.park(full.full) == 0
    beside = webhooks.claim_next(full)
    assert beside is not None
    assert beside.url == other.endpoint.url
    assert webhooks.claim_next() is None, "all else is parked"

    done = AttemptResult(first.event.created_at, 1, 200)
    successors = []
    claim: webhooks.Claim | None = first
    while claim is not None:
        successors.append(claim.event.data["n"] if claim.event.data else None)
        claim = webhooks.delivered(claim, done, LaneCapacity())
    assert successors == list(range(30)), "what ends brings its lane's next one back"


def test_parked_rows_come_back_without_anybody_who_ends(user_id: UUID, endpoint: Endpoint) -> None:
    endpoint()
    for n in range(20):
        happen(user_id, n=n)
    claim = webhooks.claim_next()
    assert claim is not None
    webhooks.park([claim.lane])
    webhooks.release(claim)
    assert webhooks.claim_next() is None
    assert webhooks.unpark() == 8
    again = webhooks.claim_next()
    assert again is not None
    assert (again.id, again.tries) == (claim.id, 1), "what was given back was not tried"


def test_nothing_is_looked_for_when_no_lane_has_room(user_id: UUID, endpoint: Endpoint) -> None:
    """A thousand rows may be due for receivers that are not answering: no message has PostgreSQL look through them."""
    endpoint()
    happen(user_id)
    with db_kit.transaction() as session:
        session.execute(text("lock table deliveries in access exclusive mode"))
        assert webhooks.claim_next(LaneCapacity(only=[])) is None
    assert webhooks.claim_next() is not None


def test_an_end_that_claims_nothing_still_brings_the_next_one_back(user_id: UUID, endpoint: Endpoint) -> None:
    endpoint()
    for n in range(3):
        happen(user_id, n=n)
    claim = webhooks.claim_next()
    assert claim is not None
    assert webhooks.park([claim.lane]) == 2
    assert webhooks.delivered(claim, AttemptResult(claim.event.created_at, 1, 200)) is None
    assert webhooks.claim_next() is not None
    assert webhooks.claim_next() is None


def test_every_delivery_of_a_crowd_arrives_once(
    crowd: Sender, user_id: UUID, endpoint: Endpoint, receiver: Receiver
) -> None:
    for name in range(3):
        endpoint(f"/{name}")
    events = sorted(str(happen(user_id, n=n)) for n in range(60))
    receiver.wait(180, timeout=60)
    for name in range(3):
        assert sorted(headers(request)["webhook-id"] for request in receiver.requests(f"/{name}")) == events

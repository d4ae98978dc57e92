"""What dies in the middle: nothing is lost, and what may come twice comes under the same id."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
from standardwebhooks import Webhook

from common import webhooks
from common.kit import db
from common.webhooks import AttemptResult, LaneCapacity, sweeping
from tests.outside.receiver import Receiver, Reply
from tests.webhooks.conftest import Endpoint, happen, headers, pass_time, sql, statuses
from worker import delivery
from worker.delivery import Sender

ROOT = Path(__file__).resolve().parent.parent.parent
#: Returns when they are gone, or after so many milliseconds.
TERMINATE = """
select pg_terminate_backend(pid, 10000) from pg_stat_activity where datname = %s and application_name = 'joyfull-test'
"""
Outage = Callable[[], AbstractContextManager[None]]
Start = Callable[[int], "list[subprocess.Popen[bytes]]"]


@pytest.fixture
def start(environ: dict[str, str], db: None) -> Iterator[Start]:
    """Start so many processes that deliver."""
    started: list[subprocess.Popen[bytes]] = []

    def some(count: int) -> list[subprocess.Popen[bytes]]:
        command = [sys.executable, "-m", "tests.webhooks.deliverer"]
        children = [
            subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            for _ in range(count)
        ]
        started.extend(children)
        assert all(child.stdout and child.stdout.readline() == b"ready\n" for child in children)
        return children

    yield some
    for child in started:
        kill(child)


def kill(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    child.wait()


def sweep() -> None:
    """What the second's sweep does."""
    webhooks.expire_leases()
    webhooks.unpark()


@pytest.fixture
def outage(postgres_url: str, database_url: str) -> Outage:
    """For the length of a block nobody is connected to the database, and nobody may connect."""
    name = database_url.rpartition("?")[0].rpartition("/")[2]

    @contextmanager
    def away() -> Iterator[None]:
        with psycopg.connect(postgres_url.format("postgres"), autocommit=True) as admin:
            admin.execute(f"alter database {name} with allow_connections false")
            try:
                admin.execute(TERMINATE, (name,))
                yield
            finally:
                admin.execute(f"alter database {name} with allow_connections true")

    return away


def test_killed_while_the_receiver_thinks(
    user_id: UUID, endpoint: Endpoint, receiver: Receiver, sender: Sender, start: Start
) -> None:
    made = endpoint()
    receiver.script("/hook", Reply(hang=True))
    event_id = happen(user_id)
    [victim] = start(1)
    receiver.wait(1)
    kill(victim)
    sweep()
    assert webhooks.claim_next() is None, "the lease still holds"

    pass_time("31 seconds")
    sweep()
    sender.run()
    assert statuses() == ["delivered"]
    for request in receiver.requests():
        Webhook(made.secret).verify(request.body, headers(request))
        assert headers(request)["webhook-id"] == str(event_id)
    [lost, arrived] = sql("select * from delivery_attempts order by n")
    assert lost.error.startswith("The attempt was interrupted")
    assert (lost.http_status, arrived.http_status, arrived.error) == (None, 204, None)


@pytest.mark.chaos
def test_every_sender_is_killed_in_the_middle_of_it(
    user_id: UUID, endpoint: Endpoint, receiver: Receiver, sender: Sender, start: Start
) -> None:
    for name in range(4):
        endpoint(f"/{name}")
        receiver.script(f"/{name}", *[204] * 5)
        receiver.always(f"/{name}", Reply(hang=True))
    children = start(2)
    events = {str(happen(user_id, n=n)) for n in range(30)}
    receiver.wait(4 * 6)
    for child in children:
        kill(child)
    assert len(sql("select 1 from deliveries where token is not null")) >= 4, "each receiver was thinking"
    for name in range(4):
        receiver.always(f"/{name}", 204)
    pass_time("31 seconds")
    for _ in range(100):
        sweep()
        if not sender.run():
            pass_time("5 minutes")  # on a busy machine a receiver may be late, and is tried again later
        if "pending" not in statuses():
            break
    for name in range(4):
        assert {headers(request)["webhook-id"] for request in receiver.requests(f"/{name}")} == events
    ends = sql("select delivery_id from delivery_attempts where error is null")
    assert len(ends) == len({row.delivery_id for row in ends}) == 120, "one recorded success for each delivery"


def test_who_lost_the_lease_writes_nothing_and_takes_nothing(
    user_id: UUID, endpoint: Endpoint, receiver: Receiver, sender: Sender
) -> None:
    endpoint()
    happen(user_id)
    zombie = webhooks.claim_next()
    assert zombie is not None
    pass_time("31 seconds")
    sweep()
    current = webhooks.claim_next()
    assert current is not None
    assert (current.id, current.tries) == (zombie.id, 2)
    happen(user_id)

    failure = AttemptResult(current.event.created_at, 1, 410, "The receiver answered 410.")
    success = AttemptResult(current.event.created_at, 1, 200)
    assert webhooks.delivered(zombie, success, LaneCapacity()) is None
    assert webhooks.retry_later(zombie, failure, 5, LaneCapacity()) is None
    webhooks.release(zombie)
    assert statuses() == ["pending", "pending"]
    assert len(sql("select 1 from delivery_attempts")) == 1, "only that the attempt was lost"
    following = webhooks.delivered(current, success, LaneCapacity())
    assert following is not None
    assert statuses() == ["delivered", "pending"]


def test_a_payload_that_kills_every_worker_ends(user_id: UUID, endpoint: Endpoint) -> None:
    endpoint()
    happen(user_id)
    for _ in range(8):
        assert webhooks.claim_next() is not None
        pass_time("31 seconds")
        sweep()
    assert webhooks.claim_next() is None
    assert statuses() == ["failed"]


def test_an_end_that_the_database_did_not_hear_is_said_again(
    user_id: UUID, endpoint: Endpoint, receiver: Receiver, sender: Sender, outage: Outage
) -> None:
    """PostgreSQL goes away while the receiver thinks: its answer is not forgotten, and it is not asked again."""
    endpoint()
    answering = threading.Event()
    receiver.script("/hook", Reply(when=answering))
    happen(user_id)
    running = threading.Thread(target=sender.run)
    running.start()
    receiver.wait(1)
    with outage():
        answering.set()
        running.join(1)  # its first tries are refused
    running.join(30)
    assert statuses() == ["delivered"]
    assert len(receiver.requests()) == 1


@pytest.fixture(params=["away", "endless"])
def parking(request: pytest.FixtureRequest, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> str:
    """Parking that fails once the receiver has answered, or that is never done."""
    kind = str(request.param)

    def park(full: Sequence[int]) -> int:
        if receiver.requests() and kind == "away":
            raise db.Unreachable("away")
        return webhooks.BATCH if kind == "endless" else len(full)

    monkeypatch.setattr(delivery, "PARK_EVERY", 0.0)
    monkeypatch.setattr(delivery, "PARK_SECONDS", 0.1)
    monkeypatch.setattr(webhooks, "park", park)
    return kind


@pytest.mark.usefixtures("parking")
def test_an_end_is_written_although_full_lanes_could_not_be_parked(
    user_id: UUID, endpoint: Endpoint, sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parking only saves others a look; what the receiver has answered must not be lost for it, or wait for long."""
    endpoint()
    happen(user_id)
    monkeypatch.setattr(sender._lanes, "room", lambda _=None: LaneCapacity(full=[1]))
    sender.run()
    assert statuses() == ["delivered"]


def test_a_lost_message_is_sent_again_for_what_is_due(user_id: UUID, endpoint: Endpoint) -> None:
    endpoint()
    assert webhooks.notify_due() == 0
    happen(user_id)
    happen(user_id)
    assert webhooks.notify_due() == 2
    assert webhooks.notify_due() == 0, "workers have been notified of them, and none has come yet"


def test_a_few_messages_are_sent_for_many_that_are_due(user_id: UUID, endpoint: Endpoint) -> None:
    """Whoever finds work notifies another; and the lanes of most may be full."""
    endpoint()
    for n in range(sweeping.NOTIFIED + 2):
        happen(user_id, n=n)
    assert webhooks.notify_due() == sweeping.NOTIFIED

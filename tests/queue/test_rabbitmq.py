"""The other broker: the same platform, ringing through RabbitMQ. Skipped where none is installed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from kombu.connection import Connection

from common.kit import rabbit
from dev import platform as parts
from dev.platform import Platform
from dev.ports import free_port
from dev.rabbitmq import RabbitMQ
from dev.servers import ServerError
from joyfull.waiting import ENDS
from tests.client import Client, Json
from tests.outside.receiver import Receiver
from tests.platforms import running
from tests.timing import frozen

Offer = Callable[..., str]


@pytest.fixture(scope="module")
def rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQ]:
    try:
        server = RabbitMQ(tmp_path_factory.mktemp("broker"))
    except ServerError as reason:
        pytest.skip(str(reason))
    server.start()
    try:
        server.wait()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def on_rabbitmq(
    rabbitmq: RabbitMQ, environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Platform]:
    """Web and workers of their own, on the test's database, so that nobody else takes the messages."""
    env, workers = (
        {**environ, "BROKER_URL": rabbitmq.url()},
        (parts.worker("invocations", 8), parts.worker("webhooks", 4)),
    )
    with running(env, tmp_path_factory.mktemp("log"), *workers) as hub:
        yield hub


@pytest.fixture
def client(db: None, on_rabbitmq: Platform) -> Client:
    return Client(on_rabbitmq.url).join("pro")


def all_succeed(hub: Platform, client: Client, accepted: list[Json]) -> None:
    """In the end, while whatever dies is started again, as everywhere: a worker that hears nothing recycles itself."""
    ids = [each["id"] for each in accepted]
    hub.supervisor.wait_for(lambda: all(client.get(id_)["status"] in ENDS for id_ in ids), "the ends", 120)
    assert {client.get(id_)["status"] for id_ in ids} == {"succeeded"}


def test_an_invocation_and_its_webhook(client: Client, offer: Offer, receiver: Receiver, rabbitmq: RabbitMQ) -> None:
    submitted = client.invoke(offer(), {"text": "hi"}, webhook_url=f"{receiver.url}/hook")
    assert client.ended(submitted["id"])["status"] == "succeeded"
    receiver.wait(1, timeout=30)
    queues = dict(line.split("\t") for line in rabbitmq.control("list_queues", "name", "type").splitlines())
    assert queues["invocations"] == queues["webhooks"] == "quorum"
    assert not [name for name in queues if "delayed" in name]


def test_a_broker_that_restarts_and_one_that_forgets(
    client: Client, offer: Offer, rabbitmq: RabbitMQ, on_rabbitmq: Platform
) -> None:
    slug = offer()
    all_succeed(on_rabbitmq, client, [client.invoke(slug, {"text": "before"})])
    rabbitmq.control("stop_app")
    accepted = [client.invoke(slug, {"text": "while it is down"}) for _ in range(3)]
    rabbitmq.control("start_app")
    all_succeed(on_rabbitmq, client, accepted)
    rabbitmq.control("delete_queue", "invocations")
    all_succeed(on_rabbitmq, client, [client.invoke(slug, {"text": "without its queue"}) for _ in range(3)])


def test_a_silent_broker_keeps_nobody_waiting(
    client: Client, offer: Offer, rabbitmq: RabbitMQ, on_rabbitmq: Platform
) -> None:
    slug = offer()
    accepted = [client.invoke(slug, {"text": "first"})]
    with frozen(rabbitmq.pid), ThreadPoolExecutor(12) as pool:
        for n in range(2):
            time.sleep(2 * rabbit.CACHE_SECONDS)  # what it knew of the queue is old by now
            accepted += pool.map(lambda _, n=n: client.invoke(slug, {"text": str(n)}), range(12))
    all_succeed(on_rabbitmq, client, accepted)


def test_publishing_goes_on_with_the_next_node(rabbitmq: RabbitMQ) -> None:
    """Of several in the URL. (A call that fails is bounded; the next one asks the next.)"""
    several = rabbit.Publisher(Connection(f"amqp://guest:guest@127.0.0.1:{free_port()}//;{rabbitmq.url()}"))
    with pytest.raises(rabbit.RabbitUnreachable):
        several.waiting("no such queue", 1)
    assert several.waiting("no such queue", 1) == 0


@pytest.mark.parametrize("open_before", [True, False])
def test_no_wait_for_the_broker_is_without_end(rabbitmq: RabbitMQ, open_before: bool) -> None:
    """Whether the connection was there before or not; and the next use makes another."""
    with Connection(rabbitmq.url()) as connection:
        connection.default_channel.queue_declare("work")
    publisher, other = (rabbit.Publisher(Connection(rabbitmq.url(), connect_timeout=rabbit.SECONDS)) for _ in range(2))
    if open_before:
        assert publisher.waiting("work", 1) == other.waiting("work", 1) == 0

    def seconds(asking: rabbit.Publisher, threads: int) -> float:
        began = time.monotonic()
        with ThreadPoolExecutor(threads) as pool:
            asked = [pool.submit(asking.waiting, "work", 1) for _ in range(threads)]
            assert {type(each.exception(60)) for each in asked} == {rabbit.RabbitUnreachable}
        return time.monotonic() - began

    with frozen(rabbitmq.pid):
        time.sleep(2 * rabbit.CACHE_SECONDS)  # what they know of the queue is old by now
        alone, together = seconds(other, 1), seconds(publisher, 8)
    assert together < 4 * alone, "one after the other it would be eight times as long"
    assert publisher.waiting("work", 1) == publisher.waiting("no such queue", 1) == 0

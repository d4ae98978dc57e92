"""A RabbitMQ of three nodes: the one that everybody is connected to, and that leads the queues, is killed.

Skipped where no RabbitMQ is installed. (Of two nodes, the one that is left is no majority: quorum queues need three.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from dev import platform as parts
from dev.platform import Platform
from dev.rabbitmq import Cluster
from dev.servers import ServerError
from joyfull.waiting import ENDS
from tests.client import Client, Json
from tests.platforms import running

NODES = 3
SWEEPS = 2


@pytest.fixture
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    try:
        nodes = Cluster(tmp_path_factory.mktemp("brokers"), NODES)
    except ServerError as reason:
        pytest.skip(str(reason))
    try:
        nodes.start()
        yield nodes
    finally:
        nodes.stop()


@pytest.fixture
def hub(
    db: None, cluster: Cluster, environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Platform]:
    workers = (parts.worker("invocations", 8), parts.worker("sweeps", SWEEPS))
    with running({**environ, "BROKER_URL": cluster.url()}, tmp_path_factory.mktemp("log"), *workers) as platform:
        yield platform


def test_a_node_is_killed_and_nothing_is_lost(hub: Platform, cluster: Cluster, offer: Callable[..., str]) -> None:
    client, slug = Client(hub.url).join("pro"), offer()
    assert client.ended(client.invoke(slug, {"text": "before"})["id"])["status"] == "succeeded"
    first, second, _ = cluster.nodes
    queues = dict(line.split("\t") for line in first.control("list_queues", "name", "leader").splitlines())
    assert queues["invocations"] == first.node

    accepted = [client.invoke(slug, {"text": "as it dies"}) for _ in range(3)]
    first.kill()
    accepted += [client.invoke(slug, {"text": "and after"}) for _ in range(10)]
    all_succeed(hub, client, accepted)
    assert second.control("list_queues", "name", "state").count("running") >= 1
    client.http.close()  # web waits for its clients when it ends


def all_succeed(hub: Platform, client: Client, accepted: list[Json]) -> None:
    ids = [each["id"] for each in accepted]
    hub.supervisor.wait_for(lambda: all(client.get(id_)["status"] in ENDS for id_ in ids), "the ends", 60)
    assert {client.get(id_)["status"] for id_ in ids} == {"succeeded"}

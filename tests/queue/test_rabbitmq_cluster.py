"""A RabbitMQ of three nodes: the one that everybody is connected to, and that leads the queues, is killed.

Calls go on, and so do beat and what it triggers. Skipped where no RabbitMQ is installed. (Of two nodes, the one that is
left is no majority: quorum queues need three.)
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from common.kit import db as database
from common.kit.query import Query
from dev import platform as parts
from dev.platform import Platform
from dev.rabbitmq import Cluster
from dev.servers import ServerError
from dev.supervisor import Part
from joyfull.waiting import ENDS
from tests.client import Client, Json, eventually
from tests.platforms import running

NODES = 3


class Runs(NamedTuple):
    latest: float | None
    now: float


#: Of the sweeps that beat triggers, every ten seconds.
RUNS = Query(
    "select extract(epoch from max(ran_at))::float as latest, extract(epoch from now())::float as now from sweep_runs",
    Runs,
)
#: A message that was sent before is executed by then.
UNDER_WAY = 3.0


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
    schedule = tmp_path_factory.mktemp("beat") / "schedule"
    beat: list[str | Path] = [
        sys.executable,
        "-m",
        "celery",
        "-A",
        "worker.app",
        "beat",
        "--schedule",
        schedule,
        "--pidfile=",
    ]
    started = (parts.worker("invocations", 8), parts.worker("sweeps", 2), Part("beat", beat, warm=True))
    with running({**environ, "BROKER_URL": cluster.url()}, tmp_path_factory.mktemp("log"), *started) as platform:
        yield platform


def test_a_node_is_killed_and_nothing_is_lost(hub: Platform, cluster: Cluster, offer: Callable[..., str]) -> None:
    client, slug = Client(hub.url).join("pro"), offer()
    assert client.ended(client.invoke(slug, {"text": "before"})["id"])["status"] == "succeeded"
    first = cluster.nodes[0]
    queues = dict(line.split("\t") for line in first.control("list_queues", "name", "leader").splitlines())
    assert queues["invocations"] == first.node
    eventually("beat has triggered a sweep", 40, lambda: runs().latest)

    accepted = [client.invoke(slug, {"text": "as it dies"}) for _ in range(3)]
    first.kill()
    died = runs().now
    accepted += [client.invoke(slug, {"text": "and after"}) for _ in range(10)]
    all_succeed(hub, client, accepted)
    eventually("beat goes on", 40, lambda: (runs().latest or 0.0) > died + UNDER_WAY)
    all_succeed(hub, client, [client.invoke(slug, {"text": "all messages of before are gone"})])
    client.http.close()  # web waits for its clients when it ends


def runs() -> Runs:
    return database.execute(RUNS, {})[0]


def all_succeed(hub: Platform, client: Client, accepted: list[Json]) -> None:
    ids = [each["id"] for each in accepted]
    hub.supervisor.wait_for(lambda: all(client.get(id_)["status"] in ENDS for id_ in ids), "the ends", 60)
    assert {client.get(id_)["status"] for id_ in ids} == {"succeeded"}

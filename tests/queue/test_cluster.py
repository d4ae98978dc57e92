"""A Redis Cluster as the budget gate: accounts are spread over its nodes, and a replica takes over the slots of one.

Real servers on loopback: three primaries, and a replica of the one that dies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from common import budgets
from common.budgets import Move, Settlement
from common.errors import BudgetExhausted
from common.invocations import sweeping
from common.kit import redis as redis_kit
from common.kit.clock import uuid7
from common.operations import ledger
from common.settings import Settings
from dev import platform as parts
from dev.platform import Platform
from dev.redis_servers import Cluster, Node, ask
from tests import factories
from tests.client import Client, eventually
from tests.plain import plain
from tests.platforms import running
from tests.queue.outages import connected, failover_check, submits_are_refused_and_then_accepted


@pytest.fixture
def environment(environ: dict[str, str]) -> dict[str, str]:
    """What the cluster does not carry stays where it is."""
    return {**environ, "BROKER_URL": environ["REDIS_URL"], "STREAM_URL": environ["REDIS_URL"]}


@pytest.fixture
def cluster(db: None, settings: Settings, environment: dict[str, str], tmp_path: Path) -> Iterator[Cluster]:
    """This process uses it too."""
    servers = Cluster(tmp_path)
    servers.start()
    with connected(settings, environment, servers.url):
        yield servers
    servers.stop()


def node_of(cluster: Cluster, user_id: UUID) -> Node:
    """The node that has the account's keys."""
    run = server_of(user_id).encode()
    return next(node for node in cluster.primaries if run in ask(node.port, "INFO server"))


def server_of(user_id: UUID) -> str:
    return redis_kit.run_id(budgets.budget_key(user_id, UUID(int=0)))


def test_slots_that_are_taken_over_and_those_of_other_nodes(cluster: Cluster) -> None:
    """No gate of the replica counts: it may lack the last holds. The other nodes go on meanwhile."""
    here, tool = factories.customer(20), factories.tool()
    node = node_of(cluster, here.user_id)
    others = (one for one in (factories.customer(20) for _ in count()) if node_of(cluster, one.user_id) is not node)
    elsewhere = next(others)
    cluster.stand_by(node)
    for customer in (here, here, elsewhere):
        customer.submit(tool)
    epoch = int(budgets.gate(here.user_id, here.period_id)["epoch"])
    node.kill()
    elsewhere.submit(tool)
    with pytest.raises(redis_kit.RedisUnreachable):
        here.submit(tool)
    eventually("the replica has the slots", 20, lambda: reached(here.user_id))
    for customer in (here, elsewhere):
        with pytest.raises(BudgetExhausted):
            customer.submit(tool)
    assert int(budgets.gate(here.user_id, here.period_id)["epoch"]) > epoch
    assert ledger.verify().differences == ()


def reached(user_id: UUID) -> bool:
    try:
        return bool(server_of(user_id))
    except redis_kit.RedisUnreachable:
        return False


def test_who_starts_while_a_node_is_down_uses_the_others(cluster: Cluster) -> None:
    """It is the one that redis-py asks first which commands there are."""
    cluster.primaries[0].kill()
    reached = []
    with redis_kit.make_client(cluster.url) as started:
        for n in range(30):
            with suppress(redis_kit.RedisUnreachable), redis_kit.reachable():
                reached.append(started.set(str(n), n))
    assert 0 < len(reached) < 30


def test_a_walk_over_all_gates_sees_each_of_them(cluster: Cluster, hurried: None) -> None:
    keys = {budgets.budget_key(uuid4(), uuid4()) for _ in range(60)}
    for key in keys:
        redis_kit.client().hset(key, "epoch", 1)
    seen: list[str] = []
    place, found = redis_kit.scan("0", "budget:*", 5)
    while place != "0":
        seen += found
        place, found = redis_kit.scan(place, "budget:*", 5)
    seen += found
    assert sorted(seen) == sorted(keys)
    assert budgets.free_orphans(older_than=-1, limit=1_000) == 60, "of periods that the database does not know"


def test_the_sweeps_go_on_while_a_node_is_away(cluster: Cluster, hurried: None) -> None:
    """Rows of accounts on the other nodes get slots and lose their leaked holds; the walks come round again and again.

    So do settlements and clients that wait. When most nodes are away, so is Redis: nothing waits for each key.
    """
    tool, customers = factories.tool(), [factories.customer(100, at_once=1) for _ in range(12)]
    customers.sort(key=lambda customer: customer.period_id)  # as they are walked over
    away = node_of(cluster, customers[0].user_id)
    others = [customer for customer in customers if node_of(cluster, customer.user_id) is not away]
    for customer in customers:
        customer.submit(tool)
    plain(
        text("update queue set slot = null, start_tag = null, due_at = now() - interval '5 s', moves = moves + 1"), {}
    )
    for customer in customers:
        budgets.rebuild(customer.user_id, customer.period_id)
        budgets.hold(budgets.Account(customer.user_id, customer.period_id, 0, None), uuid7(), 5)
    away.kill()
    for _ in range(2):
        sweeping.place_waiting([])
        budgets.free_orphans(older_than=-1)
        sweeping.record_missed_thresholds()
    placed = {row.user_id for row in plain(text("select user_id from queue where slot is not null"), {})}
    assert placed == {customer.user_id for customer in others}
    assert {budgets.gate(each.user_id, each.period_id)["held"] for each in others} == {"10"}, "of its row"
    ends = [Settlement(each.user_id, each.period_id, Move(uuid7(), 1, None), 0, message="x") for each in customers]
    assert budgets.settle(ends) == [None] * len(customers)
    flags = [budgets.waiters_key(each.user_id, each.user_id) for each in customers]
    told = redis_kit.each(flags, lambda pipeline, flag: pipeline.set(flag, "1", ex=5))
    assert sum(isinstance(answer, list) for answer in told) == len(others)

    next(node for node in cluster.primaries if node is not away).kill()
    plain(text("update queue set slot = null, start_tag = null, due_at = now() - interval '5 s'"), {})
    sweeps: list[Callable[[], int]] = [lambda: sweeping.place_waiting([]), budgets.free_orphans]
    for sweep in sweeps:
        with pytest.raises(redis_kit.RedisUnreachable) as raised:
            sweep()
        assert not isinstance(raised.value, redis_kit.NodeUnreachable)


@pytest.fixture
def hub(cluster: Cluster, environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    workers = (parts.worker("invocations", 8), parts.worker("sweeps", 2))
    env = {**environment, "REDIS_URL": cluster.url}
    with running(env, tmp_path_factory.mktemp("log"), *workers) as platform:
        yield platform


def test_the_main_job_while_a_node_dies(hub: Platform, cluster: Cluster, offer: Callable[..., str]) -> None:
    client, slug = Client(hub.url).join("pro"), offer()
    node = node_of(cluster, UUID(str(client.id)))
    cluster.stand_by(node)
    assert client.ended(client.invoke(slug, {"text": "before"})["id"])["status"] == "succeeded"
    assert slots(cluster) == "2 of 3 primaries have no replica that could take their slots."

    node.kill()
    submits_are_refused_and_then_accepted(client, slug)
    assert slots(cluster).startswith("3 of 3")
    client.http.close()  # web waits for its clients when it ends
    assert ledger.verify().differences == ()


def slots(cluster: Cluster) -> str:
    return failover_check(REDIS_URL=cluster.url, BROKER_URL="redis://one", STREAM_URL="redis://one").detail

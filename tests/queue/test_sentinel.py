"""A Redis with a replica that Sentinels watch: the primary dies, the replica takes its place, the books stay right.

Real servers on loopback. What the replica did not have yet is lost with the primary, as with any asynchronous copy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from common import budgets
from common.errors import BudgetExhausted
from common.identity import authorization_cache
from common.kit import redis as redis_kit
from common.operations import doctor, ledger
from common.settings import Settings
from dev import platform as parts
from dev.platform import Platform
from dev.ports import free_ports
from dev.redis_servers import Node, Replica, Sentinel, ask
from tests import factories
from tests.client import Client, eventually
from tests.platforms import running
from tests.queue.outages import connected, failover_check, submits_are_refused_and_then_accepted


class Watched:
    """A primary, its replica, and a Sentinel that knows both."""

    def __init__(self, directory: Path) -> None:
        first, second, third = free_ports(3)
        self.primary = Node(directory, first)
        self.replica = Replica(directory, second, self.primary)
        self.sentinel = Sentinel(directory, third, self.primary)
        self.url = f"redis+sentinel://127.0.0.1:{third}/{Sentinel.NAME}"

    def start(self) -> None:
        for server in (self.primary, self.replica, self.sentinel):
            server.start()
            server.wait()

    def stop(self) -> None:
        for server in (self.sentinel, self.replica, self.primary):
            server.stop()

    def part(self) -> None:
        """The replica hears nothing more of its primary."""
        assert ask(self.replica.port, "REPLICAOF 127.0.0.1 1") == b"+OK\r\n"

    def fail_over(self) -> None:
        self.primary.kill()
        eventually("the replica is the primary", 20, lambda: b"role:master" in ask(self.replica.port, "INFO"))
        eventually("who asks is sent there", 20, answers)


def answers() -> bool:
    try:
        with redis_kit.reachable():
            return bool(redis_kit.client().ping())
    except redis_kit.RedisUnreachable:
        return False


@pytest.fixture
def watched(db: None, settings: Settings, environ: dict[str, str], tmp_path: Path) -> Iterator[Watched]:
    """This process uses it too."""
    servers = Watched(tmp_path)
    servers.start()
    with connected(settings, environ, servers.url):
        yield servers
    servers.stop()


def test_what_the_replica_lacked_is_made_anew_from_the_rows(watched: Watched) -> None:
    """Its copy of the gate has the epoch that is still good, but not the last holds."""
    customer, tool = factories.customer(20), factories.tool()
    customer.submit(tool)
    watched.part()
    customer.submit(tool)
    watched.fail_over()
    with pytest.raises(BudgetExhausted) as refusal:
        customer.submit(tool)
    assert refusal.value.members["available"] == 0
    assert budgets.gate(customer.user_id, customer.period_id)["held"] == "20"
    assert ledger.verify().differences == ()


def test_what_was_revoked_stays_revoked(watched: Watched) -> None:
    """Its copy of the authorization cache says what was true before."""
    user = factories.user().user_id
    asked: list[int] = []

    def read() -> authorization_cache.Facts:
        asked.append(len(asked))
        return {"active": len(asked) == 1, "expires_at": None}

    def active() -> bool:
        return authorization_cache.facts_of(user, "session:x", read)[0]["active"]

    assert (active(), active(), len(asked)) == (True, True, 1)
    watched.part()
    with authorization_cache.changing(user):
        pass
    watched.fail_over()
    assert (active(), active(), len(asked)) == (False, False, 2)


@pytest.fixture
def hub(watched: Watched, environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """Web and workers whose Redis and broker are behind the Sentinel."""
    workers = (parts.worker("invocations", 8), parts.worker("sweeps", 2))
    with running({**environ, "REDIS_URL": watched.url}, tmp_path_factory.mktemp("log"), *workers) as platform:
        yield platform


def test_the_main_job_across_a_failover(hub: Platform, watched: Watched, offer: Callable[..., str]) -> None:
    client, slug = Client(hub.url).join("pro"), offer()
    assert client.ended(client.invoke(slug, {"text": "before"})["id"])["status"] == "succeeded"
    assert failover(watched).detail == "1 Sentinel(s), 1 replica(s)"

    watched.primary.kill()
    submits_are_refused_and_then_accepted(client, slug)
    eventually("the doctor misses a replica", 20, lambda: not failover(watched).passed)
    client.http.close()  # web waits for its clients when it ends
    assert ledger.verify().differences == ()


def failover(watched: Watched) -> doctor.CheckResult:
    return failover_check(REDIS_URL=watched.url)

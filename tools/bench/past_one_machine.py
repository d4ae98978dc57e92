"""What comes after one machine (docs/scaling.md), beside a ground's servers, and what of it was really used.

A Redis Cluster of three nodes for the gate, a streaming replica for reads, and PgBouncer in transaction mode in front
of both PostgreSQL; the broker and the logs of streamed answers stay on the ground's Redis.
"""

from __future__ import annotations

import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from dev.pgbouncer import PgBouncer
from dev.redis_servers import Cluster, ask
from dev.servers import Postgres, Server, ServerError
from dev.standby import Standby
from tools.bench.ground import Ground


@dataclass(slots=True)
class Servers:
    """`missing`: why there is no PgBouncer; empty if there is one."""

    cluster: Cluster
    missing: str = ""

    def used(self, ground: Ground, ports: Sequence[int]) -> str:
        """What did something, by its own account. Raises `RuntimeError` if a part did nothing."""
        keys = [int(ask(node.port, "DBSIZE")[1:]) for node in self.cluster.primaries]
        reads = sum((_reads(port) for port in ports), Counter[str]())
        if not all(keys) or not reads["replica"]:
            raise RuntimeError(f"not used: {keys} keys of the cluster's nodes, reads of the replica {dict(reads)}")
        nodes = ", ".join(map(str, keys))
        return (
            f"a Redis Cluster with {nodes} keys on its three nodes, a streaming replica that answered "
            f"{reads['replica']} of {reads.total()} reads that it may, {self._pooler(ground)}"
        )

    def _pooler(self, ground: Ground) -> str:
        if self.missing:
            return f"without PgBouncer ({self.missing})"
        [(connections,)] = ground.sql(
            "select count(*) from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()"
        )
        return f"PgBouncer in transaction mode with {connections} connections to the primary"


@contextmanager
def past_one_machine(ground: Ground) -> Iterator[Servers]:
    """All processes that are started from now on use these servers, and this one does."""
    with ExitStack() as stack:
        primary = ground.servers[0]
        assert isinstance(primary, Postgres)
        replica = Standby(ground.directory / "replica", primary)
        _run(stack, replica)
        cluster = Cluster(ground.directory / "cluster")
        stack.callback(cluster.stop)
        cluster.start()
        servers = Servers(cluster)
        one = ground.environ["REDIS_URL"]
        ground.environ |= {"REDIS_URL": cluster.url, "BROKER_URL": one, "STREAM_URL": one}
        ground.environ["DATABASE_REPLICA_URL"] = replica.url()
        try:
            ground.environ |= _pooled(stack, ground, primary, replica)
        except ServerError as reason:
            servers.missing = str(reason)
        ground.connect()
        yield servers


def _pooled(stack: ExitStack, ground: Ground, primary: Postgres, replica: Standby) -> dict[str, str]:
    """The mode is that of both URLs. Raises `ServerError` if PgBouncer is not installed."""
    poolers = [
        PgBouncer(ground.directory / name, server.url())
        for name, server in (("to-primary", primary), ("to-replica", replica))
    ]
    for pooler in poolers:
        _run(stack, pooler)
    first, second = (pooler.url() for pooler in poolers)
    return {"DATABASE_URL": first, "DATABASE_REPLICA_URL": second, "DATABASE_POOLING": "transaction"}


def _run(stack: ExitStack, server: Server) -> None:
    stack.callback(server.stop)
    server.start()
    server.wait()


def _reads(port: int) -> Counter[str]:
    """How often each outcome was counted by a web host: `replica`, or why the primary answered."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as response:
        families = text_string_to_metric_families(response.read().decode())
    samples = [sample for family in families for sample in family.samples]
    found = Counter[str]()
    for sample in samples:
        if sample.name == "joyfull_db_replica_reads_total":
            found[sample.labels["outcome"]] += int(sample.value)
    return found

"""Several private Redis servers on loopback, for development and tests: with Sentinels, or as a cluster."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from dev.binaries import redis_binary
from dev.ports import free_ports
from dev.servers import START_TIMEOUT, Redis, Server, ServerError

HOST = "127.0.0.1"


class Node(Redis):
    """A Redis that listens on a port of loopback too; `options` are added to its command line."""

    def __init__(self, directory: Path, port: int, options: Sequence[str] = ()) -> None:
        super().__init__(directory / str(port))
        self.port, self._options = port, options

    def command(self) -> list[str | Path]:
        at_once = ["--repl-diskless-sync-delay", "0"]  # replicas need not wait for others
        return [*super().command(), "--port", str(self.port), "--bind", HOST, *at_once, *self._options]


class Replica(Node):
    """A copy of `primary`; ready when it is in step."""

    def __init__(self, directory: Path, port: int, primary: Node) -> None:
        super().__init__(directory, port, ["--replicaof", f"{HOST} {primary.port}"])

    def is_ready(self) -> bool:
        return super().is_ready() and b"master_link_status:up" in ask(self.port, "INFO replication")


class Sentinel(Server):
    """A Sentinel that watches `primary` under the name `NAME`, and declares it dead on its own (`quorum` 1)."""

    name = "sentinel"
    NAME = "hub"
    #: Milliseconds without an answer after which the primary counts as dead.
    DEAD_AFTER_MS = 500

    def __init__(self, directory: Path, port: int, primary: Node, quorum: int = 1) -> None:
        super().__init__(directory / str(port))
        self.port, self._primary, self._quorum = port, primary, quorum

    def command(self) -> list[str | Path]:
        return [redis_binary(), self.directory / "sentinel.conf", "--sentinel"]

    def start(self) -> None:
        """Sentinels keep what they know in their configuration, so it is written once."""
        self.directory.mkdir(parents=True, mode=0o700, exist_ok=True)
        if not (file := self.directory / "sentinel.conf").exists():
            file.write_text(
                f"port {self.port}\nbind {HOST}\ndir {self.directory}\n"
                f"sentinel monitor {self.NAME} {HOST} {self._primary.port} {self._quorum}\n"
                f"sentinel down-after-milliseconds {self.NAME} {self.DEAD_AFTER_MS}\n"
                f"sentinel failover-timeout {self.NAME} 3000\n"
            )
        super().start()

    def is_ready(self) -> bool:
        """Whether it has found the replica, without which it could promote none."""
        return b"slaves=1" in ask(self.port, "INFO sentinel")


class Cluster:
    """Three primaries with a third of the slots each, and a node that can stand by for one of them.

    `TIMEOUT_MS` without an answer make a node suspect; when most primaries say so, its replica takes over.
    """

    TIMEOUT_MS = 500
    SLOTS = 16_384

    def __init__(self, directory: Path, more: Callable[[], Sequence[str]] = tuple) -> None:
        """`more`: gives each node options of its own."""
        ports = free_ports(8)
        self._bus = ports[4]
        *self.primaries, self.replica = [
            Node(directory, port, [*self._options(bus), *more()])
            for port, bus in zip(ports[:4], ports[4:], strict=True)
        ]
        self.url = "redis+cluster://" + ",".join(f"{HOST}:{node.port}" for node in self._nodes())

    def _options(self, bus: int) -> list[str]:
        return [
            *("--cluster-enabled", "yes", "--cluster-port", str(bus), "--cluster-node-timeout", str(self.TIMEOUT_MS)),
            *("--cluster-require-full-coverage", "no", "--cluster-replica-validity-factor", "0"),
        ]

    def _nodes(self) -> list[Node]:
        return [*self.primaries, self.replica]

    def start(self) -> None:
        for node in self._nodes():
            node.start()
        for node in self._nodes():
            node.wait()
        first, *others = self._nodes()
        share = -(-self.SLOTS // len(self.primaries))
        for n, node in enumerate(self.primaries):
            ask(node.port, f"CLUSTER ADDSLOTSRANGE {n * share} {min((n + 1) * share, self.SLOTS) - 1}")
            ask(node.port, f"CLUSTER SET-CONFIG-EPOCH {n + 1}")
        for node in others:
            ask(node.port, f"CLUSTER MEET {HOST} {first.port} {self._bus}")
        until("the nodes know each other", lambda: all(self._knows_all(node) for node in self._nodes()))

    def stand_by(self, primary: Node) -> None:
        """Make the fourth node its replica, and wait until it is in step and the others know."""
        id_ = ask(primary.port, "CLUSTER MYID").split(b"\r\n")[1].decode()
        until("it is a replica", lambda: ask(self.replica.port, f"CLUSTER REPLICATE {id_}") == b"+OK\r\n")
        until("it is in step", lambda: b"master_link_status:up" in ask(self.replica.port, "INFO replication"))
        until("all know it", lambda: all(b" slave " in ask(node.port, "CLUSTER NODES") for node in self.primaries))

    def _knows_all(self, node: Node) -> bool:
        said = ask(node.port, "CLUSTER INFO")
        return b"cluster_state:ok" in said and b"cluster_known_nodes:4" in said

    def stop(self) -> None:
        for node in self._nodes():
            node.stop()


def until(what: str, condition: Callable[[], bool]) -> None:
    """Wait for it. Raises `ServerError` after `START_TIMEOUT`."""
    give_up = time.monotonic() + START_TIMEOUT
    while not condition():
        if time.monotonic() > give_up:
            raise ServerError(f"waited in vain: {what}")
        time.sleep(0.01)


def ask(port: int, command: str) -> bytes:
    """The first bytes of a server's answer to an inline command; empty when there is none."""
    try:
        with socket.create_connection((HOST, port), timeout=1) as connection:
            connection.sendall(f"{command}\r\n".encode())
            return connection.recv(16_384)
    except OSError:
        return b""

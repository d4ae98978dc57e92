"""Several private Redis servers on loopback, for development and tests: a primary with a replica and Sentinels."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path

from dev.binaries import redis_binary
from dev.servers import Redis, Server

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


def ask(port: int, command: str) -> bytes:
    """The first bytes of a server's answer to an inline command; empty when there is none."""
    try:
        with socket.create_connection((HOST, port), timeout=1) as connection:
            connection.sendall(f"{command}\r\n".encode())
            return connection.recv(16_384)
    except OSError:
        return b""

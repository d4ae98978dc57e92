"""A backup is one when it has been restored: dump, another cluster, an empty Redis, and the platform goes on."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from common.settings import load
from dev import platform as parts
from dev import servers
from dev.ports import free_port
from dev.servers import Postgres, Redis
from dev.supervisor import Supervisor
from tests.client import Client
from tests.conftest import ROOT

Offer = Callable[..., str]


def program(postgres: Postgres, name: str) -> str:
    """Of the same version as the server."""
    found = postgres.binaries / name
    if not found.exists():
        pytest.skip(f"no {name} of PostgreSQL {postgres.major} is here")
    return str(found)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[tuple[Postgres, Redis]]:
    """Another machine: a new cluster and an empty Redis."""
    postgres, redis = Postgres(tmp_path / "elsewhere", durable=False), Redis(tmp_path / "elsewhere")
    for server in (redis, postgres):
        server.start()
    for server in (redis, postgres):
        server.wait()
    servers.create_database(postgres)
    yield postgres, redis
    for server in (redis, postgres):
        server.stop()


def run(*command: str, **environ: str) -> str:
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environ}, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, f"{command[0]}: {done.stdout[-1500:]} {done.stderr[-1500:]}"
    return done.stdout


def flask(environ: dict[str, str], *arguments: str) -> str:
    return run(sys.executable, "-m", "flask", "--app", "wsgi", *arguments, **environ)


@pytest.mark.chaos
def test_a_dump_is_restored_into_another_cluster(
    client: Client,
    offer: Offer,
    environ: dict[str, str],
    elsewhere: tuple[Postgres, Redis],
    tmp_path: Path,
) -> None:
    """The steps of docs/operations/backup.md, in their order."""
    slug, slow = offer(), offer("/echo?after=2000", idempotent=True)
    ended = client.invoke(slug, {"text": "before"})["id"]
    client.ended(ended)
    summary = client.data("GET", "/usage/summary")["totals"]
    open_ = client.invoke(slow, {"text": "open at the moment of the backup"})["id"]

    postgres, redis = elsewhere
    dump = tmp_path / "joyfull.dump"
    run(
        program(postgres, "pg_dump"),
        "--format=custom",
        "--no-owner",
        "--schema=public",
        f"--file={dump}",
        environ["DATABASE_URL"],
    )
    client.ended(open_)
    after_the_backup = client.invoke(slug, {"text": "after"})["id"]
    client.ended(after_the_backup)

    restored = {**environ, "DATABASE_URL": postgres.url(), "REDIS_URL": redis.url(), "PORT": str(free_port())}
    run(
        program(postgres, "pg_restore"), "--no-owner", "--no-privileges", "--clean", "--if-exists", "--exit-on-error",
        f"--dbname={postgres.url()}", str(dump),
    )  # fmt: skip
    flask(restored, "db", "upgrade")
    flask(restored, "books", "repair")

    settings = load(restored)
    supervisor = Supervisor(restored, tmp_path / "log", ROOT)
    supervisor.start(parts.web(settings), parts.worker("invocations", 4), parts.worker("sweeps", 2))
    here = Client(parts.local_url(settings.host, settings.port), client.email)
    try:
        supervisor.wait_for(lambda: parts.serving(f"{here.base_url}/ready"), "web")
        assert here.get(ended)["status"] == "succeeded"
        here.call("GET", f"/invocations/{after_the_backup}", 404)
        assert here.ended(open_)["status"] == "succeeded", "what was open runs again"
        usage = here.data("GET", "/usage/summary")["totals"]
        assert usage["invocations"] == summary["invocations"] + 1
        assert here.ended(here.invoke(slug, {"text": "new"})["id"])["status"] == "succeeded"
        assert "no difference" in flask(restored, "books", "verify")
    finally:
        supervisor.stop()

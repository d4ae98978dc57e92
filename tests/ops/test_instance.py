"""Two platforms on one Redis or one broker notice each other, and the one that came later does not work."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from common.kit import redis as redis_kit
from common.operations import doctor, gauges, instance
from common.settings import Settings, load
from dev import platform as parts
from dev.ports import free_port
from dev.servers import Redis
from dev.supervisor import Supervisor
from tests.conftest import ROOT
from web.app import create_app

ANOTHERS = "00000000-0000-4000-8000-000000000000@1"


@pytest.fixture
def alone(db: None) -> Iterator[redis_kit.Client]:
    """Servers that nobody has a name on yet, for a process that knows nothing; nor afterwards, for those to come."""
    instance.forget()
    yield redis_kit.client()
    redis_kit.client().flushall()
    instance.forget()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Redis]:
    server = Redis(tmp_path / "broker")
    server.start()
    server.wait()
    yield server
    server.stop()


def test_who_comes_first_puts_their_name_there_and_keeps_it_through_a_wipe(alone: redis_kit.Client) -> None:
    instance.check()
    ours = alone.get(instance.KEY)
    assert ours == instance.name()
    alone.flushall()
    instance.keep()
    assert alone.get(instance.KEY) == ours


def test_a_web_process_that_starts_on_anothers_redis_serves_nothing_and_says_why(
    alone: redis_kit.Client, settings: Settings, capfd: pytest.CaptureFixture[str]
) -> None:
    alone.set(instance.KEY, ANOTHERS)
    http = create_app(settings).test_client()
    answers = [http.post("/api/v1/auth/login", json={}), http.get("/api/v1/subscriptions/plans"), http.get("/ready")]
    assert [(each.status_code, each.get_json()["code"]) for each in answers] == 3 * [(503, "dependency_unavailable")]
    assert all(each.headers["Retry-After"].isdigit() for each in answers)
    assert answers[-1].get_json()["not_ready"] == {"redis": "is used by another platform"}
    assert [http.get(path).status_code for path in ("/health", "/metrics")] == [200, 200]
    said = capfd.readouterr().err
    assert ANOTHERS in said
    assert "take-over" in said
    assert alone.get(instance.KEY) == ANOTHERS


def test_what_has_begun_goes_on_and_says_it(
    alone: redis_kit.Client, settings: Settings, capfd: pytest.CaptureFixture[str]
) -> None:
    """It was there first: the other one has come since, or somebody has restored something."""
    http = create_app(settings).test_client()
    assert http.get("/ready").status_code == 200
    alone.set(instance.KEY, ANOTHERS)
    for _ in range(3):
        instance.keep()
    assert http.get("/ready").status_code == 200
    assert http.get("/api/v1/subscriptions/plans").status_code == 200
    assert capfd.readouterr().err.count(ANOTHERS) == 1
    assert gauges._from_redis()[-1].samples[0].value == 1, "Redis, which is also the broker"
    [finding] = [each for each in doctor.run_checks(settings) if each.name == "instance"]
    assert not finding.passed
    assert ANOTHERS in finding.detail


def test_the_broker_is_looked_at_too(alone: redis_kit.Client, settings: Settings, broker: Redis) -> None:
    client = redis_kit.make_client(broker.url())
    client.set(instance.KEY, ANOTHERS)
    create_app(load({**vars_of(settings), "BROKER_URL": broker.url()}))
    with pytest.raises(instance.Foreign, match="the broker"):
        instance.check()
    create_app(settings)


def vars_of(settings: Settings) -> dict[str, str]:
    return {"ENV": "development", "DATABASE_URL": settings.database_url, "REDIS_URL": settings.redis_url}


def test_a_database_that_is_not_made_yet_claims_nothing(
    alone: redis_kit.Client, environ: dict[str, str], postgres_url: str
) -> None:
    with psycopg.connect(postgres_url.format("postgres"), autocommit=True) as admin:
        admin.execute("create database unmade")
    try:
        create_app(load({**environ, "DATABASE_URL": postgres_url.format("unmade")}))
        instance.keep()
        assert instance.refusal() is None
        assert not alone.exists(instance.KEY)
    finally:
        create_app(load(environ))
        with psycopg.connect(postgres_url.format("postgres"), autocommit=True) as admin:
            admin.execute("drop database unmade with (force)")


def test_a_redis_that_is_away_keeps_nobody_from_starting(
    alone: redis_kit.Client, settings: Settings, redis_server: Redis
) -> None:
    redis_server.kill()
    try:
        http = create_app(settings).test_client()
        assert http.get("/api/v1/subscriptions/plans").status_code == 200
    finally:
        redis_server.start()
        redis_server.wait()


def flask(environ: dict[str, str], *arguments: str) -> str:
    command = [sys.executable, "-m", "flask", "--app", "wsgi", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=True).stdout


def test_an_operator_takes_over_and_a_copy_gets_a_name_of_its_own(
    alone: redis_kit.Client, environ: dict[str, str]
) -> None:
    alone.set(instance.KEY, ANOTHERS)
    ours = instance.name()
    assert f"assigned to {ours}" in flask(environ, "instance", "take-over")
    instance.check()
    renewed = flask(environ, "instance", "renew")
    instance.forget()
    assert instance.name() != ours
    assert str(instance.name()) in renewed
    with pytest.raises(instance.Foreign):
        instance.check()


@pytest.mark.parametrize("queue", ["invocations", "webhooks", "sweeps"])
def test_a_worker_that_starts_on_anothers_redis_ends(
    alone: redis_kit.Client, environ: dict[str, str], tmp_path: Path, queue: str
) -> None:
    """Before it is in the books, so before it takes anything; a name that is gone lets the next one work."""
    alone.set(instance.KEY, ANOTHERS)
    began = datetime.now(UTC)
    said: list[str] = []
    env = {**environ, "PORT": str(free_port()), "DATA_DIR": str(tmp_path / "var")}
    supervisor = Supervisor(env, tmp_path, ROOT, said.append)
    supervisor.start(parts.worker(queue, 2))
    log = tmp_path / f"{queue}-1.log"
    try:
        supervisor.wait_for(lambda: bool(said), "its end")
        assert ANOTHERS in log.read_text()
        assert not heartbeats(environ, began)
        alone.delete(instance.KEY)
        supervisor.wait_for(lambda: bool(heartbeats(environ, began)), "a worker")
        assert alone.get(instance.KEY) == instance.name()
    finally:
        supervisor.stop()


def heartbeats(environ: dict[str, str], since: datetime) -> int:
    """How many processes have come into the books since then; what tests before left there does not count."""
    query = "select count(*) from processes where started_at > %s"
    with psycopg.connect(environ["DATABASE_URL"]) as connection:
        row = connection.execute(query, (since,)).fetchone()
    return row[0] if row else 0

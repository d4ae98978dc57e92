"""Health, readiness and metrics, with servers that die, hang or lack migrations."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

import psycopg
import pytest

from dev.servers import Postgres, Redis
from tests.conftest import ROOT, migrate
from tests.timing import frozen
from tests.web.conftest import Service, serving


@pytest.fixture(scope="module")
def own_postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    server = Postgres(tmp_path_factory.mktemp("pg"), durable=False)
    server.start()
    server.wait()
    with psycopg.connect(server.url("postgres"), autocommit=True) as admin:
        admin.execute("create database ready")
    yield server
    server.stop()


@pytest.fixture(scope="module")
def own_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    server = Redis(tmp_path_factory.mktemp("redis"))
    server.start()
    server.wait()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def alone(
    environ: dict[str, str], own_postgres: Postgres, own_redis: Redis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """A web process with servers of its own."""
    urls = {"DATABASE_URL": own_postgres.url("ready"), "REDIS_URL": own_redis.url(), "BROKER_URL": own_redis.url()}
    with serving(environ, tmp_path_factory.mktemp("alone"), **urls) as running:
        yield running


def not_ready(service: Service) -> dict[str, str]:
    response = service("GET", "/ready")
    if response.status_code == 200:
        assert response.json() == {"data": {"status": "ready"}}
        return {}
    assert response.status_code == 503
    assert response.headers["Retry-After"]
    problem = response.json()
    assert problem["code"] == "dependency_unavailable"
    found: dict[str, str] = problem["not_ready"]
    return found


def test_ready_is_who_can_be_used_by_the_first_admin(
    db: None, environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    who = {"ADMIN_EMAIL": "root@example.com", "ADMIN_PASSWORD": "the heron waits in grey water"}
    person = {"email": who["ADMIN_EMAIL"], "password": who["ADMIN_PASSWORD"]}
    with serving(environ, tmp_path_factory.mktemp("first"), "wsgi:app", **who) as service:
        assert list(not_ready(service)) == ["first_admin"]
        assert service("POST", "/api/v1/auth/login", json=person).status_code == 401
        make = [sys.executable, "-m", "flask", "--app", "wsgi", "admin", "ensure"]
        subprocess.run(make, env={**environ, **who}, cwd=ROOT, check=True, capture_output=True)
        assert not_ready(service) == {}
        assert service("POST", "/api/v1/auth/login", json=person).status_code == 200


def test_readiness_through_everything(alone: Service, own_postgres: Postgres, own_redis: Redis) -> None:
    """One test, because each step needs the state left by the one before."""
    assert not_ready(alone) == {"postgresql": "migrations have not been run"}
    migrate(own_postgres.url("ready"))
    assert not_ready(alone) == {}

    with psycopg.connect(own_postgres.url("ready"), autocommit=True) as admin:
        admin.execute("update alembic_version set version_num = 'newer-than-this-code'")
    assert not_ready(alone) == {}, "old code keeps working after the next migration"

    with frozen(own_redis.pid):
        assert list(not_ready(alone)) == ["redis"]
    with frozen(own_postgres.pid):
        assert not_ready(alone) == {"postgresql": "does not answer in time"}
        assert alone("GET", "/health").status_code == 200
    assert wait_until_ready(alone)

    own_redis.kill()
    assert not_ready(alone) == {"redis": "cannot be reached"}
    own_redis.start()
    own_redis.wait()
    assert wait_until_ready(alone)


def wait_until_ready(service: Service) -> bool:
    give_up = time.monotonic() + 10
    while not_ready(service):
        assert time.monotonic() < give_up, "did not become ready again"
        time.sleep(0.1)
    return True


def test_metrics_count_by_route_over_all_processes(alone: Service) -> None:
    for _ in range(3):
        alone("GET", "/api/v1/things/00000000-0000-0000-0000-000000000001")
        alone("GET", "/some/secret/path")
    text = alone("GET", "/metrics").text
    route = 'method="GET",route="/api/v1/things/<uuid:thing_id>"'
    assert f'joyfull_http_requests_total{{{route},status="200"}} 3.0' in text
    assert f"joyfull_http_request_seconds_count{{{route}}} 3.0" in text
    assert 'route="unmatched",status="404"' in text
    assert "secret" not in text

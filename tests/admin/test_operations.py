"""The state of the platform, and the verifications of its ledger, as admins read them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text

from common.identity import keys
from common.identity.audit import OPERATOR
from common.kit import db as database
from common.operations import overview, verifications
from common.settings import Settings
from common.settings.version import VERSION
from common.tools import breakers
from dev.platform import Platform
from dev.servers import Redis
from tests import factories
from tests.admin.conftest import Admin
from tests.client import Client, eventually
from tests.plain import plain
from tests.queue.proxy import Proxy
from web.app import create_app

PARTS = ["queue", "workers", "sweeps", "deliveries", "last_verification", "breakers", "findings"]


Offer = Callable[..., str]


class Failing(Exception):
    """A tool's failure."""

    counts_against_tool = True


@pytest.fixture
def http(db: None, settings: Settings) -> Iterator[FlaskClient]:
    key = keys.create(factories.user(role="admin").user_id, "admin", actor=OPERATOR, scopes=["admin"])[1]
    overview._kept.drop("overview")
    with create_app(settings).test_client() as client:
        client.environ_base["HTTP_X_API_KEY"] = key
        yield client
    overview._kept.drop("overview")


def shown(http: FlaskClient, path: str) -> Any:
    told = http.get(f"/api/v1/admin/{path}")
    assert told.status_code == 200, told.text
    return told.get_json()["data"]


def test_the_overview_shows_what_each_worker_runs(admin: Admin, client: Client, offer: Offer, hub: Platform) -> None:
    slow, failing = offer("/hang"), offer()
    invocation = client.invoke(slow, {"text": "x"})["id"]
    failing_id = UUID(client.data("GET", f"/tools/{failing}")["id"])
    for _ in range(breakers.FAIL_MAX):
        with pytest.raises(Failing), breakers.calling(failing_id, 1.0):
            raise Failing

    def found() -> Any:
        seen = admin.data("GET", "/admin/operations")
        runs = [(call, worker) for worker in seen["workers"] for call in worker["running"]]
        return (seen, *runs[0]) if runs and seen["breakers"] else None

    seen, call, worker = eventually("a running call and an open breaker", 30, found)
    assert (call["invocation_id"], call["tool"], call["attempt"]) == (invocation, slow, 1)
    assert (worker["is_alive"], worker["stopping"]) == (True, False)
    assert (seen["version"], seen["unavailable"]) == (VERSION, [])
    assert (seen["queue"]["running"], seen["queue"]["held_tokens"]) == (1, 50)
    assert [(each["tool"], each["state"], each["failures"]) for each in seen["breakers"]] == [(failing, "open", 5)]
    assert {finding["name"] for finding in seen["findings"]} >= {"migrations", "redis eviction", "secrets", "queue"}
    assert seen["deliveries"]["waiting"] == 0
    client.call("POST", f"/invocations/{invocation}/cancel", (200, 202))
    client.ended(invocation)


def test_a_verification_is_kept_with_what_differs_and_is_due_the_next_night(http: FlaskClient) -> None:
    customer = factories.customer()
    ids = sorted(str(customer.submit(factories.tool())) for _ in range(2))
    assert shown(http, "books") == []
    assert shown(http, "operations")["last_verification"] is None

    assert verifications.verify_if_due() is not None
    assert verifications.verify_if_due() is None
    (good,) = shown(http, "books")
    assert (good["invocations"], good["differences"], good["examples"]) == (2, 0, [])

    plain(text("delete from queue where id = cast(:id as uuid)"), {"id": ids[0]})
    plain(text("update ledger_verifications set started_at = started_at - interval '29 hours'"), {})
    assert verifications.verify_if_due() is not None
    newest, oldest = shown(http, "books")
    assert oldest == {**good, "started_at": oldest["started_at"]}
    assert newest["differences"] >= 1
    assert ids[0] in {example["where"] for example in newest["examples"]}
    overview._kept.drop("overview")
    assert shown(http, "operations")["last_verification"] == newest
    assert [row["id"] for row in http.get("/api/v1/admin/books?limit=1").get_json()["data"]] == [newest["id"]]


def test_two_processes_do_not_verify_at_once(db: None) -> None:
    with database.advisory_lock(verifications.LOCK) as acquired:
        assert acquired
        assert verifications.verify_if_due() is None
    assert verifications.verify_if_due() is not None


def test_what_needs_redis_is_missing_while_it_is_down(http: FlaskClient, redis_server: Redis) -> None:
    redis_server.kill()
    try:
        seen = overview.read(http.application.config["SETTINGS"])
    finally:
        redis_server.start()
        redis_server.wait()
    assert seen.queue is not None
    assert {"redis eviction", "clock of redis"} <= {each.name for each in seen.findings or () if not each.passed}


def test_everything_says_why_it_is_missing_while_postgresql_is_down(db: None, settings: Settings) -> None:
    overview._kept.drop("overview")
    with Proxy(settings.database_url) as proxy:
        database.connect(proxy.url, pool_size=5, application_name="test", shared=settings.shares_connections)
        proxy.cut_after(0)
        seen = overview.read(replace(settings, database_url=proxy.url))
        database.connect(
            settings.database_url, pool_size=20, application_name="test", shared=settings.shares_connections
        )
    overview._kept.drop("overview")
    assert [missing.part for missing in seen.unavailable] == PARTS
    assert {missing.reason for missing in seen.unavailable} == {"PostgreSQL is unreachable"}
    assert all(getattr(seen, part) is None for part in PARTS)


def test_only_admins_read_them(client: Client) -> None:
    codes = [client.call("GET", path, 403).json()["code"] for path in ("/admin/operations", "/admin/books")]
    assert codes == ["forbidden", "forbidden"]

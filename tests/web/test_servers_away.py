"""An accepted invocation is reported as accepted, even if a server fails before the response is written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from flask.testing import FlaskClient

from common.identity import keys
from common.identity.audit import OPERATOR
from common.kit import db as database
from common.kit import failpoints
from common.settings import Settings
from tests import factories
from tests.budgets import world
from tests.factories import Customer
from tests.queue.proxy import Proxy
from web.app import create_app

#: A piece of the statement that reads one invocation, and of no other.
READ = "is null or i.user_id ="


@pytest.fixture
def customer(db: None) -> Customer:
    return factories.customer()


@pytest.fixture
def http(customer: Customer, settings: Settings) -> Iterator[FlaskClient]:
    key = keys.create(customer.user_id, "submitting", actor=OPERATOR)[1]
    with create_app(settings).test_client() as client:
        client.environ_base["HTTP_X_API_KEY"] = key
        yield client


@pytest.fixture
def proxy(db: None, settings: Settings) -> Iterator[Proxy]:
    """Between this process and PostgreSQL."""
    with Proxy(settings.database_url) as proxy:
        database.connect(proxy.url, pool_size=5, application_name="test", shared=settings.shares_connections)
        yield proxy
        database.connect(
            settings.database_url, pool_size=20, application_name="test", shared=settings.shares_connections
        )


def test_a_submit_that_waits_while_the_database_goes_away_says_that_it_was_accepted(
    http: FlaskClient, proxy: Proxy
) -> None:
    """503 would mean "not done": the client would submit, and pay, a second time."""
    tool = factories.tool()
    with failpoints.calling("web.after_publish", lambda: proxy.cut_after(0)):
        told = http.post(f"/api/v1/tools/{tool.slug}/invoke", json={"input": {}}, headers={"Prefer": "wait=5"})
    proxy.heal()
    assert (told.status_code, told.headers["Retry-After"]) == (202, "1")
    assert [UUID(told.get_json()["data"]["id"])] == list(world.open_rows())


def test_a_repeat_that_cannot_be_read_is_to_be_repeated(http: FlaskClient, proxy: Proxy) -> None:
    tool = factories.tool()

    def ask() -> Any:
        return http.post(f"/api/v1/tools/{tool.slug}/invoke", json={"input": {}}, headers={"Idempotency-Key": "one"})

    assert ask().status_code == 202
    proxy.lose_next(READ)
    assert ask().status_code == 503
    assert proxy.lost == 1
    assert len(world.open_rows()) == 1


def test_a_batch_during_which_the_database_goes_away_tells_of_what_was_accepted(
    http: FlaskClient, proxy: Proxy
) -> None:
    """Without waiting for the server again for each remaining item."""
    tool = factories.tool()
    asked: list[object] = []

    def the_second_finds_nobody() -> None:
        asked.append(None)
        if len(asked) == 2:
            proxy.cut_after(0)

    items = [{"tool": tool.slug, "input": {"n": n}} for n in range(4)]
    with failpoints.calling("web.before_commit", the_second_finds_nobody):
        told = http.post("/api/v1/invocations/batch", json={"items": items})
    proxy.heal()
    assert told.status_code == 207
    first, *others = told.get_json()["data"]
    assert [first["status"], *(each["status"] for each in others)] == [202, 503, 503, 503]
    assert {each["problem"]["code"] for each in others} == {"dependency_unavailable"}
    assert [UUID(first["invocation"]["id"])] == list(world.open_rows())
    assert len(asked) == 2

"""Every POST that creates, grants or spends, with an account that may make all of them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

from flask import Flask
from sqlalchemy import text
from werkzeug.test import TestResponse

from common import webhooks
from common.kit import db
from tests import factories
from tests.plain import plain

Json = dict[str, Any]


@dataclass
class World:
    """An admin with a session and an endpoint, and what the paths of creating requests name."""

    app: Flask
    token: str
    user_id: str
    ids: dict[str, str]

    def send(self, method: str, path: str, body: Json | None = None, key: str | None = None) -> TestResponse:
        headers = {"Authorization": f"Bearer {self.token}", **({} if key is None else {"Idempotency-Key": key})}
        return self.app.test_client().open(f"/api/v1{path}", method=method, headers=headers, json=body)

    def make(self, case: Case, key: str | None, *, other: bool = False) -> TestResponse:
        """Send the request of a case, or another one to the same place."""
        return self.send("POST", case.path.format(**self.ids), case.other if other else case.body, key)

    def at_once(self, case: Case, key: str, times: int) -> list[TestResponse]:
        with ThreadPoolExecutor(times) as pool:
            return list(pool.map(lambda _: self.make(case, key), range(times)))


class Case(NamedTuple):
    """A request that creates. `counting`: SQL of how often it was carried out; `secret`: shown once, by its field."""

    rule: str
    path: str
    body: Json | None
    other: Json | None
    counting: str
    status: int = 201
    secret: str | None = None


AUDITED = "select count(*) as n from audit_log where action = '{}'"
TOOL = {
    "name": "T",
    "endpoint_url": "http://127.0.0.1:9/",
    "input_schema": {},
    "price": {"base_tokens": 1, "max_tokens": 9},
}
#: An OpenAPI document with one operation, which becomes a tool.
IMPORT = {
    "document": {
        "openapi": "3.0.3",
        "info": {"title": "T", "version": "1"},
        "servers": [{"url": "http://127.0.0.1:9"}],
        "paths": {
            "/imported": {
                "get": {
                    "operationId": "imported",
                    "responses": {"200": {"description": "", "content": {"application/json": {}}}},
                }
            }
        },
    },
    "create": ["imported"],
    "price": {"base_tokens": 1, "max_tokens": 9},
}
SINCE = {"since": "2020-01-01T00:00:00Z"}
#: Each is counted by three limits of a minute; logins have windows of a quarter of an hour.
SENT_AGAIN = "select coalesce(sum(attempts), 0) / 3 as n from throttles where ends_at < now() + interval '2 minutes'"

CASES = {
    case.rule: case
    for case in (
        Case(
            "/schedules",
            "/schedules",
            {"tool": "scheduled", "input": {}, "every_seconds": 60},
            {"tool": "scheduled", "input": {}, "every_seconds": 61},
            "select count(*) as n from schedules",
        ),
        Case(
            "/users/me/api-keys",
            "/users/me/api-keys",
            {"name": "k"},
            {"name": "l"},
            AUDITED.format("api_key.create"),
            secret="key",
        ),
        Case(
            "/users/me/api-keys/<uuid:key_id>/rotate",
            "/users/me/api-keys/{key_id}/rotate",
            {"overlap_seconds": 60},
            {"overlap_seconds": 61},
            AUDITED.format("api_key.rotate"),
            200,
            "key",
        ),
        Case(
            "/keys/delegate",
            "/keys/delegate",
            {"tokens": 5, "expires_in": 60},
            {"tokens": 6, "expires_in": 60},
            "select count(*) as n from api_keys where is_delegated",
            secret="key",
        ),
        Case(
            "/admin/users/<uuid:user_id>/grants",
            "/admin/users/{user_id}/grants",
            {"tokens": 5, "reason": "r"},
            {"tokens": 6, "reason": "r"},
            AUDITED.format("user.grant"),
        ),
        Case(
            "/admin/tools",
            "/admin/tools",
            {**TOOL, "slug": "one"},
            {**TOOL, "slug": "two"},
            AUDITED.format("tool.create"),
        ),
        Case(
            "/admin/tools/import",
            "/admin/tools/import",
            IMPORT,
            {**IMPORT, "price": {"base_tokens": 2, "max_tokens": 9}},
            AUDITED.format("tool.create"),
            status=200,
        ),
        Case(
            "/admin/plans",
            "/admin/plans",
            {"slug": "one", "name": "P", "monthly_tokens": 1},
            {"slug": "two", "name": "P", "monthly_tokens": 1},
            AUDITED.format("plan.create"),
        ),
        Case(
            "/subscriptions/subscribe",
            "/subscriptions/subscribe",
            {"plan": "enterprise"},
            {"plan": "free"},
            "select count(*) as n from grants where kind = 'upgrade'",
            200,
        ),
        Case(
            "/webhooks",
            "/webhooks",
            {"url": "http://127.0.0.1:9/new"},
            {"url": "http://127.0.0.1:9/other"},
            "select count(*) as n from webhook_endpoints where url like '%/new'",
            secret="secret",
        ),
        Case(
            "/webhooks/<uuid:endpoint_id>/rotate-secret",
            "/webhooks/{endpoint_id}/rotate-secret",
            None,
            None,
            "select count(*) as n from webhook_endpoints where previous_secret is not null",
            200,
            "secret",
        ),
        Case(
            "/webhooks/default-secret/rotate",
            "/webhooks/default-secret/rotate",
            None,
            None,
            "select count(*) as n from webhook_default_secrets where previous_secret is not null",
            200,
            "secret",
        ),
        Case(
            "/webhooks/<uuid:endpoint_id>/deliveries/<uuid:delivery_id>/resend",
            "/webhooks/{endpoint_id}/deliveries/{delivery_id}/resend",
            None,
            None,
            SENT_AGAIN,
            200,
        ),
        Case(
            "/webhooks/<uuid:endpoint_id>/replay",
            "/webhooks/{endpoint_id}/replay",
            SINCE,
            {"since": "2021-01-01T00:00:00Z"},
            SENT_AGAIN,
            200,
        ),
    )
}


def carried_out(case: Case) -> int:
    return int(plain(text(case.counting), {})[0].n)


def world(app: Flask) -> World:
    """An account that may send all of them, each for the first time."""
    caller = factories.user(role="admin")
    email = plain(text("select email from users where id = :id"), {"id": caller.user_id})[0].email
    login = {"email": email, "password": factories.PASSWORD}
    pair = app.test_client().post("/api/v1/auth/login", json=login).get_json()["data"]
    made = World(app, pair["access_token"], str(caller.user_id), {"user_id": str(caller.user_id)})
    assert made.send("POST", "/subscriptions/subscribe", {"plan": "free"}).status_code == 201
    assert made.send("POST", "/admin/tools", {**TOOL, "slug": "scheduled"}).status_code in (201, 409)
    made.ids["key_id"] = made.send("POST", "/users/me/api-keys", {"name": "first"}).get_json()["data"]["id"]
    endpoint = made.send("POST", "/webhooks", {"url": "http://127.0.0.1:9/first", "events": ["budget.threshold"]})
    made.ids["endpoint_id"] = endpoint.get_json()["data"]["id"]
    happen(caller.user_id)
    listed = made.send("GET", f"/webhooks/{made.ids['endpoint_id']}/deliveries").get_json()["data"]
    made.ids["delivery_id"] = listed[0]["id"]
    return made


def happen(user_id: UUID) -> None:
    with db.transaction() as session:
        webhooks.record(session, user_id, "budget.threshold", {"percent": 80})


def each(do: Callable[[Case], object]) -> None:
    """Do this with every case; the failure says with which."""
    for rule, case in CASES.items():
        try:
            do(case)
        except AssertionError as error:
            raise AssertionError(f"{rule}: {error}") from error

"""The audit log: has every change by an admin, and is append-only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from common.identity import accounts
from common.identity.audit import OPERATOR
from common.settings import Settings
from web.app import create_app

PASSWORD = "a quiet green river"
PRICE = {"base_tokens": 1, "max_tokens": 5}
TOOL = {"slug": "t", "name": "T", "endpoint_url": "http://127.0.0.1:1/", "input_schema": {}, "price": PRICE}
REQUEST = "an-audited-request"


@pytest.fixture
def app(db: None, settings: Settings) -> Flask:
    return create_app(settings)


class Person:
    """A client of the app, and the id of its account."""

    def __init__(self, app: Flask, role: str) -> None:
        self.http: FlaskClient = app.test_client()
        person = {"email": f"{uuid4().hex}@example.com", "password": PASSWORD}
        self.headers: dict[str, str] = {}
        self.id = self("POST", "/auth/register", json={**person, "name": role}).json["data"]["id"]  # type: ignore[index]
        accounts.administer(UUID(self.id), actor=OPERATOR, role=role)
        pair = self("POST", "/auth/login", json=person).json["data"]  # type: ignore[index]
        self.headers = {"Authorization": f"Bearer {pair['access_token']}"}

    def __call__(self, method: str, path: str, **sent: Any) -> TestResponse:
        headers = {**self.headers, **sent.pop("headers", {})}
        return self.http.open(f"/api/v1{path}", method=method, headers=headers, **sent)

    def data(self, method: str, path: str, **sent: Any) -> Any:
        answer = self(method, path, **sent)
        assert answer.status_code < 300, answer.text
        return answer.json["data"] if answer.json else None


@pytest.fixture
def admin(app: Flask) -> Person:
    return Person(app, "admin")


@pytest.fixture
def user(app: Flask) -> Person:
    person = Person(app, "user")
    person.data("POST", "/subscriptions/subscribe", json={"plan": "free"})
    return person


#: By route: the body, then the expected entry (action, before, after; only the fields named).
Change = tuple[dict[str, Any] | None, str, dict[str, Any] | None, dict[str, Any]]
CHANGES: dict[str, Change] = {
    "PATCH /admin/users/{user}": ({"is_active": False}, "user.update", {"is_active": True}, {"is_active": False}),
    "POST /admin/users/{user}/grants": (
        {"tokens": 5, "reason": "-"},
        "user.grant",
        {"granted": 10_000},
        {"tokens": 5, "reason": "-"},
    ),
    "POST /admin/tools": ({**TOOL, "slug": "u"}, "tool.create", None, {"slug": "u", "name": "T"}),
    "POST /admin/tools/import": (
        {
            "document": {
                "openapi": "3.0.3",
                "info": {"title": "T", "version": "1"},
                "servers": [{"url": "https://api.example.com"}],
                "paths": {
                    "/echo": {
                        "get": {
                            "operationId": "echo",
                            "responses": {"200": {"description": "", "content": {"application/json": {}}}},
                        }
                    }
                },
            },
            "create": ["echo"],
            "price": {"base_tokens": 1, "max_tokens": 5},
        },
        "tool.create",
        None,
        {"slug": "echo"},
    ),
    "PATCH /admin/tools/{tool}": (
        {"name": "U"},
        "tool.change",
        {"name": "T", "version": 1},
        {"name": "U", "version": 2},
    ),
    "POST /admin/tools/{tool}/breaker/reset": (None, "tool.breaker_reset", {"state": "closed"}, {"state": "closed"}),
    "DELETE /admin/tools/{tool}": (None, "tool.archive", {"is_active": True}, {"is_active": False}),
    "POST /admin/plans": ({"slug": "p", "name": "P", "monthly_tokens": 1}, "plan.create", None, {"slug": "p"}),
    "PATCH /admin/plans/{plan}": ({"name": "Q"}, "plan.update", {"name": "Free"}, {"name": "Q"}),
}


@pytest.mark.parametrize("route", CHANGES)
def test_a_change_is_told_with_who_what_when_and_where_from(admin: Person, user: Person, route: str) -> None:
    body, action, before, after = CHANGES[route]
    tool = admin.data("POST", "/admin/tools", json=TOOL)["id"]
    method, path = route.format(user=user.id, tool=tool, plan="free").split(" ")
    admin.data(method, path, headers={"X-Request-ID": REQUEST}, **({} if body is None else {"json": body}))
    entries = [e for e in admin.data("GET", "/admin/audit?limit=100") if e["request_id"] == REQUEST]
    assert [entry["action"] for entry in entries] == [action]
    [entry] = entries
    assert (entry["actor_id"], entry["actor_kind"], entry["ip"]) == (admin.id, "session", "127.0.0.1")
    assert entry["before"] == before
    assert {name: entry["after"][name] for name in after} == after
    found = admin.data("GET", f"/admin/audit?target={entry['target_id']}&action={action}&actor={admin.id}")
    assert entry in found


def test_every_changing_admin_route_is_in_the_table(app: Flask) -> None:
    """A tool's test call changes nothing. The console's pages call the same functions."""
    routes = {
        (method, rule.rule.removeprefix("/api/v1"))
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) & {"POST", "PATCH", "PUT", "DELETE"}
        if rule.rule.startswith("/api/v1/admin/") and not rule.rule.endswith("/test")
    }
    assert len(routes) == len(CHANGES)
    names = {"user": "<uuid:user_id>", "tool": "<uuid:tool_id>", "plan": "<slug>"}
    assert routes == {tuple(route.format(**names).split(" ")) for route in CHANGES}


def test_what_is_refused_is_not_told(admin: Person, user: Person) -> None:
    before = admin.data("GET", "/admin/audit?limit=100")
    last = admin("PATCH", f"/admin/users/{admin.id}", json={"role": "user"})
    assert last.status_code == 409
    assert admin("POST", f"/admin/users/{user.id}/grants", json={"tokens": -10_001, "reason": "-"}).status_code == 409
    assert user("PATCH", f"/admin/users/{user.id}", json={"role": "admin"}).status_code == 403
    assert admin.data("GET", "/admin/audit?limit=100") == before


def test_the_log_is_read_by_time(admin: Person, user: Person) -> None:
    for tokens in (1, 2, 3):
        admin.data("POST", f"/admin/users/{user.id}/grants", json={"tokens": tokens, "reason": "-"})
    entries = admin.data("GET", "/admin/audit?limit=100")
    assert len(entries) > 3
    moment = entries[1]["created_at"]
    assert admin.data("GET", f"/admin/audit?from={moment}&limit=100") == [
        entry for entry in entries if entry["created_at"] >= moment
    ]
    assert admin.data("GET", f"/admin/audit?to={moment}&limit=100") == [
        entry for entry in entries if entry["created_at"] < moment
    ]
    page = admin.http.get("/api/v1/admin/audit?limit=1", headers=admin.headers).json
    assert page is not None
    assert admin.data("GET", f"/admin/audit?limit=1&cursor={page['meta']['next_cursor']}") == entries[1:2]


TAMPERING: list[Callable[[psycopg.Connection[Any]], Any]] = [
    lambda connection: connection.execute("update audit_log set action = 'nothing'"),
    lambda connection: connection.execute("delete from audit_log"),
    lambda connection: connection.execute("truncate audit_log"),
]


@pytest.mark.parametrize("tamper", TAMPERING, ids=["update", "delete", "truncate"])
def test_the_database_refuses_to_change_what_was_logged(
    admin: Person, database_url: str, tamper: Callable[[psycopg.Connection[Any]], Any]
) -> None:
    told = admin.data("GET", "/admin/audit")
    assert told
    with psycopg.connect(database_url) as connection, pytest.raises(psycopg.errors.RestrictViolation):
        tamper(connection)
    assert admin.data("GET", "/admin/audit") == told

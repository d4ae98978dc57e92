"""Every route, whoever adds it: what it states (`view.policy`) is what it does, over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from werkzeug.routing import Rule

from common import accounts
from common.audit import OPERATOR
from common.kit.clock import uuid7
from common.models.accounts import SCOPES
from common.settings import Settings
from tests.accounts.people import Api, code
from web.app import BASE, create_app
from web.auth import Policy


class Route(NamedTuple):
    method: str
    path: str
    policy: Policy


@pytest.fixture(scope="module")
def routes(settings: Settings) -> list[Route]:
    """All of the API, with something for each parameter of the path."""
    app = create_app(settings)

    def found() -> Iterator[Route]:
        for rule in app.url_map.iter_rules():
            view: Any = app.view_functions[rule.endpoint]
            for method in sorted((rule.methods or set()) - {"OPTIONS", "HEAD"}):
                if rule.rule.startswith(BASE):
                    yield Route(method, filled(rule).removeprefix(BASE), view.policy)

    return list(found())


def filled(rule: Rule) -> str:
    path = rule.rule
    for name in rule.arguments:
        for form in (f"<uuid:{name}>", f"<{name}>", f"<string:{name}>"):
            path = path.replace(form, str(uuid7()))
    assert "<" not in path, path
    return path


#: What anybody may ask. To add to it is a decision: make it here too.
PUBLIC = {
    ("POST", "/auth/register"),
    ("POST", "/auth/login"),
    ("POST", "/auth/refresh"),
    ("POST", "/auth/logout"),
    ("POST", "/auth/password-reset"),
    ("POST", "/auth/password-reset/…"),
    ("POST", "/auth/verify-email"),
    ("POST", "/auth/verify-email/…"),
    ("GET", "/subscriptions/plans"),
    ("GET", "/openapi.json"),
}


def test_what_is_public_is_on_the_list(routes: list[Route]) -> None:
    public = {
        (r.method, "/".join("…" if len(p) == 36 else p for p in r.path.split("/")))
        for r in routes
        if r.policy.kind == "public"
    }
    assert public == PUBLIC


def test_every_other_route_needs_a_caller(api: Api, routes: list[Route]) -> None:
    kept = [route for route in routes if route.policy.kind != "public"]
    answers = {f"{r.method} {r.path}": code(api(r.method, r.path)) for r in kept}
    assert answers == dict.fromkeys(answers, (401, "unauthenticated"))
    assert len(answers) > 10


def test_every_scope_is_asked_for(api: Api, routes: list[Route]) -> None:
    """With all scopes but the one that is needed."""
    person = api.person()
    accounts.administer(person.uuid, actor=OPERATOR, role="admin")
    key_without = {scope: person.key(scopes=[s for s in SCOPES if s != scope])["key"] for scope in SCOPES}
    scoped = [route for route in routes if route.policy.scope]
    answers = {f"{r.method} {r.path}": code(api(r.method, r.path, key_without[r.policy.scope or ""])) for r in scoped}
    assert answers == dict.fromkeys(answers, (403, "scope_missing"))
    assert {"tools:read", "invocations:read", "invocations:write"} <= {r.policy.scope for r in scoped}


def test_no_key_does_what_only_a_person_may(api: Api, routes: list[Route]) -> None:
    person = api.person()
    accounts.administer(person.uuid, actor=OPERATOR, role="admin")
    key = person.key(scopes=list(SCOPES))["key"]
    personal = [route for route in routes if route.policy.kind == "session"]
    answers = {f"{r.method} {r.path}": code(api(r.method, r.path, key)) for r in personal}
    assert answers == dict.fromkeys(answers, (403, "forbidden"))
    assert len(answers) > 4


def test_no_user_does_what_only_an_admin_may(api: Api, routes: list[Route]) -> None:
    session = api.person().login()
    reserved = [route for route in routes if route.policy.kind == "admin"]
    answers = {f"{r.method} {r.path}": code(api(r.method, r.path, session.access)) for r in reserved}
    assert answers == dict.fromkeys(answers, (403, "forbidden"))
    assert all(route.policy.kind == "admin" for route in routes if route.path.startswith("/admin"))

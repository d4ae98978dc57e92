"""Every route enforces the policy that it declares (`view.policy`), over HTTP."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
import requests
from werkzeug.routing import Rule

from common.identity import accounts
from common.identity.audit import OPERATOR
from common.kit.clock import uuid7
from common.models.accounts import SCOPES
from common.models.base import Base
from common.settings import Settings
from common.settings.links import API_PREFIX as BASE
from common.settings.links import OPENAI_PREFIX
from tests.accounts.people import Api, Person, Session, code
from web.app import create_app
from web.http.auth import AccessPolicy


class Route(NamedTuple):
    method: str
    path: str
    policy: AccessPolicy


@pytest.fixture(scope="module")
def routes(settings: Settings) -> list[Route]:
    """All routes of the API, with a value for each path parameter."""
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


#: Public routes. Adding one is a decision that must be repeated here.
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
    """With all scopes except the required one."""
    person = api.person()
    accounts.administer(person.uuid, actor=OPERATOR, role="admin")
    key_without = {scope: person.key(scopes=[s for s in SCOPES if s != scope])["key"] for scope in SCOPES}
    scoped = [route for route in routes if route.policy.scope]
    answers = {f"{r.method} {r.path}": code(api(r.method, r.path, key_without[r.policy.scope or ""])) for r in scoped}
    assert answers == dict.fromkeys(answers, (403, "scope_missing"))
    assert {"tools:read", "invocations:read", "invocations:write"} <= {r.policy.scope for r in scoped}


def test_models_are_as_closed_as_tools_are(api: Api, settings: Settings) -> None:
    """The route for clients of the OpenAI API: without a key, and with all scopes except the required one."""
    app, person, seen = create_app(settings), api.person(), set()
    for rule in app.url_map.iter_rules():
        if rule.rule.startswith(f"{OPENAI_PREFIX}/"):
            policy = vars(app.view_functions[rule.endpoint])["policy"]
            key = person.key(scopes=[scope for scope in SCOPES if scope not in (policy.scope, "admin")])["key"]
            url, method = api.base + filled(rule), "POST" if "POST" in (rule.methods or ()) else "GET"
            for token, wanted in (("no", (401, "unauthenticated")), (key, (403, "scope_missing"))):
                headers = {"Authorization": f"Bearer {token}"}
                answer = requests.request(method, url, headers=headers, json={}, timeout=20)
                assert (answer.status_code, answer.json()["error"]["code"]) == wanted, rule
            seen.add(policy.scope)
    assert seen == {"tools:read", "invocations:write"}


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


# -- other accounts' resources, and read-only fields --------------------------------------------------------------

#: The body or query that a request needs to get as far as looking up the id.
BODIES: dict[str, dict[str, Any]] = {"replay": {"since": "2026-01-01T00:00:00Z"}}
#: Parameters that name public resources.
SHARED = {"tool", "token", "slug", "name", "tool_id"}


def test_what_is_somebody_elses_looks_like_what_is_not_there(
    api: Api, settings: Settings, offer: Callable[..., str]
) -> None:
    """On every route, the id of another account's resource is treated like an unknown id, and changes nothing."""
    owner, stranger = api.person(), api.person()
    session = owner.login()
    theirs = possessions(api, owner, session, offer())
    keys = stranger.login().access, stranger.key()["key"]
    app = create_app(settings)
    rules = [r for r in app.url_map.iter_rules() if r.arguments and not r.arguments & SHARED]
    asked = 0
    for rule in rules:
        for method in sorted((rule.methods or set()) - {"OPTIONS", "HEAD"}):
            for token in keys:
                sent = "json" if method in ("POST", "PATCH") else "params"
                body = {sent: BODIES.get(rule.rule.rpartition("/")[2], {})}
                paths = (with_ids(rule, theirs), with_ids(rule, {}))
                foreign, unknown = (api(method, path, token, **body) for path in paths)
                assert code(foreign) == code(unknown), (method, rule.rule)
                assert foreign.status_code in (403, 404), (method, rule.rule, foreign.text)
                asked += 1
    assert asked > 30
    assert {name for rule in rules for name in rule.arguments} <= set(theirs)
    shown = [f"/webhooks/{theirs['endpoint_id']}", f"/invocations/{theirs['invocation_id']}"]
    assert [api("GET", path, session.access).status_code for path in shown] == [200, 200]


def possessions(api: Api, owner: Person, session: Session, tool: str) -> dict[str, str]:
    """One of every resource that an account can own, by the name of its path parameter."""
    plan = api("POST", "/subscriptions/subscribe", session.access, json={"plan": "free"})
    invocation = api("POST", f"/tools/{tool}/invoke", session.access, json={"input": {"text": "x"}})
    endpoint = api("POST", "/webhooks", session.access, json={"url": "http://127.0.0.1:9/hook"})
    schedule = api(
        "POST", "/schedules", session.access, json={"tool": tool, "input": {"text": "x"}, "every_seconds": 60}
    )
    assert [answer.status_code for answer in (plan, invocation, endpoint, schedule)] == [201, 202, 201, 201]
    return {
        "key_id": owner.key()["id"],
        "session_id": api("GET", "/users/me/sessions", session.access).json()["data"][0]["id"],
        "invocation_id": invocation.json()["data"]["id"],
        "endpoint_id": endpoint.json()["data"]["id"],
        "schedule_id": schedule.json()["data"]["id"],
        "delivery_id": str(uuid7()),
        "user_id": owner.id,
        "grant_id": str(uuid7()),
    }


def with_ids(rule: Rule, ids: dict[str, str]) -> str:
    path = rule.rule.removeprefix(BASE)
    for name in rule.arguments:
        path = path.replace(f"<uuid:{name}>", ids.get(name, str(uuid7())))
    assert "<" not in path, path
    return path


def test_nobody_writes_a_column_that_a_body_does_not_name(api: Api) -> None:
    """Every column of every table that is not a field of a body is refused in that body, by name."""
    person = api.person()
    accounts.administer(person.uuid, actor=OPERATOR, role="admin")
    admin = person.login().access
    document = api("GET", "/openapi.json").json()
    columns = {column.name for table in Base.metadata.tables.values() for column in table.columns}
    asked = 0
    for path, method, fields in writable(document):
        surplus = sorted(columns - fields)
        for chunk in (surplus[:90], surplus[90:180], surplus[180:]):
            if chunk:
                answer = api(method, path, admin, json=dict.fromkeys(chunk))
                assert code(answer) == (422, "validation_failed"), (path, answer.text)
                named = {fault["pointer"] for fault in answer.json()["errors"]}
                assert {f"/{column}" for column in chunk} <= named, path
                asked += 1
    assert asked > 20


def writable(document: dict[str, Any]) -> Iterator[tuple[str, str, set[str]]]:
    """Every operation with a JSON body: path (relative, ids filled in), method, and the names of the body's fields."""
    schemas = document["components"]["schemas"]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if "requestBody" in operation and path.startswith(BASE):
                schema = operation["requestBody"]["content"]["application/json"]["schema"]
                fields = schemas[schema["$ref"].rpartition("/")[2]]["properties"]
                filled_in = re.sub(r"{\w+}", str(uuid7()), path.removeprefix(BASE))
                yield filled_in, method.upper(), set(fields)


def test_no_query_takes_more_than_it_names(api: Api, routes: list[Route]) -> None:
    person = api.person()
    accounts.administer(person.uuid, actor=OPERATOR, role="admin")
    admin = person.login().access
    reads = [route for route in routes if route.method == "GET" and route.policy.kind != "public"]
    answers = {route.path: code(api("GET", f"{route.path}?user_id={uuid7()}", admin)) for route in reads}
    assert answers == dict.fromkeys(answers, (422, "validation_failed"))

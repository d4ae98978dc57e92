"""`If-Match` on PATCH and DELETE: of two clients that have seen the same state, one changes it."""

from __future__ import annotations

import re
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import pytest
from flask import Flask
from sqlalchemy import text
from werkzeug.test import TestResponse

from common.kit import failpoints
from common.settings import Settings
from common.settings.links import API_PREFIX
from tests import factories
from tests.client import eventually
from tests.plain import plain
from tests.timing import once
from tests.web import creating
from tests.web.creating import CASES, World
from web.app import create_app


class Change(NamedTuple):
    """A PATCH, another one, and the POST that makes such a resource, by its rule."""

    path: str
    first: dict[str, Any]
    second: dict[str, Any]
    post: str | None = None


CHANGES = {
    "/users/me": Change("/users/me", {"name": "Ada"}, {"name": "Bea"}),
    "/admin/users/{user_id}": Change("/admin/users/{other_id}", {"is_active": False}, {"role": "user"}),
    "/admin/tools/{tool_id}": Change("/admin/tools/{id}", {"name": "A"}, {"timeout_seconds": 9}, "/admin/tools"),
    "/admin/plans/{slug}": Change("/admin/plans/{slug}", {"name": "A"}, {"max_streams": 3}, "/admin/plans"),
    "/schedules/{schedule_id}": Change("/schedules/{id}", {"max_tokens": 5}, {"paused": True}, "/schedules"),
    "/webhooks/{endpoint_id}": Change("/webhooks/{id}", {"description": "a"}, {"status": "disabled"}, "/webhooks"),
}


@pytest.fixture(scope="module")
def app(settings: Settings) -> Flask:
    return create_app(settings)


@pytest.fixture
def world(db: None, app: Flask) -> World:
    made = creating.world(app)
    made.ids["other_id"] = creating.world(app).user_id
    return made


def made(world: World, change: Change) -> tuple[str, str]:
    """The path of a resource that may be changed, and its tag."""
    ids = dict(world.ids)
    tag = None
    if change.post:
        answer = world.make(CASES[change.post], None)
        tag, data = answer.headers["ETag"], answer.get_json()["data"]
        ids |= {name: str(data[name]) for name in ("id", "slug") if name in data}
    path = change.path.format(**ids)
    read = world.send("GET", path).headers["ETag"]
    assert tag in (None, read)
    assert world.send("GET", path).headers["Cache-Control"] == "no-store"
    assert re.fullmatch(r'"[A-Za-z0-9_-]{20}"', read)
    return path, read


def patch(world: World, path: str, body: dict[str, Any], tag: str | None) -> TestResponse:
    headers = {"Authorization": f"Bearer {world.token}", **({} if tag is None else {"If-Match": tag})}
    return world.app.test_client().patch(f"/api/v1{path}", json=body, headers=headers)


def test_every_patch_takes_it(app: Flask) -> None:
    paths = app.test_client().get("/api/v1/openapi.json").get_json()["paths"]
    patched = {path for path, methods in paths.items() if "patch" in methods}
    assert {path.removeprefix(API_PREFIX) for path in patched} == set(CHANGES)
    for path in patched:
        operation = paths[path]["patch"]
        assert "#/components/parameters/If-Match" in [it.get("$ref") for it in operation["parameters"]], path
        assert "412" in operation["responses"], path
        assert "ETag" in operation["responses"]["200"]["headers"], path
        assert "ETag" in paths[path]["get"]["responses"]["200"]["headers"], path


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_only_the_state_that_was_seen_is_changed(world: World, change: Change) -> None:
    path, seen = made(world, change)
    first = patch(world, path, change.first, seen)
    assert first.status_code == 200, first.text
    now, shown = first.headers["ETag"], first.get_json()["data"]
    assert now != seen
    assert world.send("GET", path).headers["ETag"] == now

    for stale in (seen, '"x"', f"W/{now}", f'"x", W/{now} , {seen}', '""'):
        refused = patch(world, path, change.second, stale)
        assert (refused.status_code, refused.get_json()["code"]) == (412, "precondition_failed"), stale
        assert "ETag" not in refused.headers
    read = world.send("GET", path).get_json()["data"]
    assert {name: read[name] for name in shown} == shown

    assert patch(world, path, change.first, f'"x", {now}').headers["ETag"] == now
    second = patch(world, path, change.second, f'"x",,{now}')
    assert second.status_code == 200
    assert second.headers["ETag"] not in (seen, now)
    assert patch(world, path, change.first, "*").status_code == 200
    assert patch(world, path, change.second, None).status_code == 200


def test_what_is_no_list_of_tags_is_refused(world: World) -> None:
    for wrong in ("x", '"x', 'x"', '"x" "y"', '"x";', "W/x", "", ",", 'w/"x"', '*, "x"', '"a b"', '"é"'):
        refused = patch(world, "/users/me", {"name": "Ada"}, wrong.encode().decode("latin-1"))
        expected = (412, "precondition_failed") if wrong == '"é"' else (400, "invalid_header")
        assert (refused.status_code, refused.get_json()["code"]) == expected, wrong
    assert world.send("GET", "/users/me").get_json()["data"]["name"] != "Ada"


def test_what_is_not_there_is_not_found(world: World) -> None:
    missing = "/webhooks/0190abcd-0000-7000-8000-000000000000"
    assert patch(world, missing, {"description": "a"}, "*").status_code == 404
    assert patch(world, "/admin/plans/none", {"name": "A"}, '"x"').status_code == 404


WAITING = text(
    "select count(*) as n from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
)


DELETED = ("/webhooks/{endpoint_id}", "/schedules/{schedule_id}", "/admin/tools/{tool_id}", "/users/me")


def delete(world: World, path: str, tag: str | None) -> TestResponse:
    headers = {"Authorization": f"Bearer {world.token}", **({} if tag is None else {"If-Match": tag})}
    body = {"password": factories.PASSWORD} if path == "/users/me" else None
    return world.app.test_client().delete(f"/api/v1{path}", json=body, headers=headers)


@pytest.mark.parametrize("rule", DELETED)
def test_only_the_state_that_was_seen_is_deleted(world: World, rule: str) -> None:
    change = CHANGES[rule]
    path, seen = made(world, change)
    now = patch(world, path, change.first, seen).headers["ETag"]
    for stale in (seen, '"x"', f"W/{now}"):
        refused = delete(world, path, stale)
        assert (refused.status_code, refused.get_json()["code"]) == (412, "precondition_failed"), stale
    assert delete(world, path, "x").get_json()["code"] == "invalid_header"
    assert world.send("GET", path).headers["ETag"] == now
    assert delete(world, path, now).status_code == 204


def test_what_has_no_tag_is_not_deleted_if_one_is_expected(world: World) -> None:
    key = world.make(CASES["/users/me/api-keys"], None).get_json()["data"]["id"]
    path = f"/users/me/api-keys/{key}"
    refused = delete(world, path, '"x"')
    assert (refused.status_code, refused.get_json()["code"]) == (412, "precondition_failed")
    assert delete(world, path, "*").status_code == 204


def test_every_delete_says_whether_it_takes_it(app: Flask) -> None:
    paths = app.test_client().get("/api/v1/openapi.json").get_json()["paths"]
    taking = {
        path.removeprefix(API_PREFIX)
        for path, methods in paths.items()
        if "#/components/parameters/If-Match"
        in [it.get("$ref") for it in methods.get("delete", {}).get("parameters", ())]
    }
    assert taking == set(DELETED)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_of_two_at_once_one_is_refused(world: World, change: Change) -> None:
    """The second comes when the first has looked and not yet written: it waits, and finds another state."""
    path, seen = made(world, change)
    with ThreadPoolExecutor(1) as pool:
        second: list[Future[TestResponse]] = []

        def overtake() -> None:
            second.append(pool.submit(patch, world, path, change.second, seen))
            eventually("the second one waits", 30, lambda: plain(WAITING, {})[0].n or second[0].done())

        with failpoints.calling("change.checked", once(overtake)):
            first = patch(world, path, change.first, seen)
        answers = [first, second[0].result(timeout=60)]
    assert [answer.status_code for answer in answers] == [200, 412], [answer.text for answer in answers]
    assert world.send("GET", path).headers["ETag"] == first.headers["ETag"]

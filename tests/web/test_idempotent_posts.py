"""`Idempotency-Key`: every POST that creates, grants or spends takes it, and everything else refuses it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from flask import Flask, g
from sqlalchemy import text

from common.identity import idempotency
from common.kit import clock, failpoints
from common.settings import Settings
from common.settings.links import API_PREFIX
from tests import factories
from tests.plain import plain
from tests.web import creating
from tests.web.creating import CASES, Case, World, carried_out, each
from web.app import create_app
from web.http.idempotency import answered_once

#: Whose keys are bound to a hold; `test_one_key.py` and `tests/runs/test_rerun.py` have their tests.
SUBMITS = {"/tools/<tool>/invoke", "/invocations/<uuid:invocation_id>/rerun"}
#: POSTs that neither create nor grant nor spend, or have keys in their body. Adding one here is a decision: a POST that
#: creates takes the header (`@blp.idempotent`), and gets a case in `creating.py`.
WITHOUT = {
    *(f"/auth/{name}" for name in ("register", "login", "refresh", "logout", "password-reset", "verify-email")),
    *("/auth/password-reset/<token>", "/auth/verify-email/<token>"),
    "/users/me/sessions/revoke-others",
    "/tools/<tool>/quote",
    *("/invocations/<uuid:invocation_id>/cancel", "/invocations/cancel", "/invocations/batch"),
    *("/subscriptions/cancel", "/subscriptions/statement/check"),
    "/webhooks/<uuid:endpoint_id>/test",
    *("/admin/tools/<uuid:tool_id>/test", "/admin/tools/<uuid:tool_id>/breaker/reset"),
}


@pytest.fixture(scope="module")
def app(settings: Settings) -> Flask:
    return create_app(settings)


@pytest.fixture
def world(db: None, app: Flask) -> World:
    return creating.world(app)


def code(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.get_json()["code"]


# -- which requests take it ----------------------------------------------------------------------------------------


def routes(app: Flask) -> Iterator[tuple[str, str]]:
    """Of the API, its documentation and the operators: the forms of the console have tokens of their own, and the
    OpenAI-compatible route and MCP have tests of their own and ignore what they do not know.
    """
    for rule in app.url_map.iter_rules():
        for method in sorted((rule.methods or set()) - {"OPTIONS"}):
            if not (rule.rule == "/" or rule.rule.startswith(("/console", "/v1/", "/mcp"))):
                yield method, rule.rule


def test_every_post_takes_it_or_refuses_it(app: Flask) -> None:
    posts = {rule.removeprefix(API_PREFIX) for method, rule in routes(app) if method == "POST"}
    assert posts == CASES.keys() | SUBMITS | WITHOUT
    assert not CASES.keys() & WITHOUT


def test_it_is_refused_wherever_it_would_be_ignored(world: World) -> None:
    """Before the body is read, so that no invalid body hides it."""
    taking = CASES.keys() | SUBMITS
    asked = 0
    for method, rule in routes(world.app):
        if (method, rule.removeprefix(API_PREFIX)) in {("POST", path) for path in taking}:
            continue
        path = re.sub(r"<uuid:\w+>", lambda _: str(uuid4()), rule)
        headers = {"Authorization": f"Bearer {world.token}", "Idempotency-Key": "k"}
        refused = world.app.test_client().open(re.sub(r"<(path:)?\w+>", "x", path), method=method, headers=headers)
        assert refused.status_code == 400, (method, rule, refused.text)
        if method != "HEAD":
            assert refused.get_json()["code"] == "invalid_header", (method, rule)
        asked += 1
    assert asked > 90


@pytest.mark.parametrize(
    ("method", "path"),
    [("OPTIONS", "/users/me"), ("OPTIONS", "/tools/x/invoke"), ("PUT", "/users/me"), ("POST", "/nothing"), ("GET", "")],
)
def test_it_is_refused_where_there_is_nothing(world: World, method: str, path: str) -> None:
    send, headers = world.app.test_client().open, {"Idempotency-Key": "k"}
    refused = send(f"/api/v1{path}", method=method, headers=headers)
    assert (refused.status_code, refused.get_json()["code"]) == (400, "invalid_header")
    assert send(f"/api/v1{path}", method=method).status_code in (204, 404, 405)


#: A repeat is recognised by what it asks for.
WITHOUT_A_KEY = ("/v1/chat/completions", "/v1/embeddings")


def test_the_document_says_so(app: Flask) -> None:
    paths = app.test_client().get("/api/v1/openapi.json").get_json()["paths"]
    taking = {re.sub(r"<(uuid:)?(\w+)>", r"{\2}", rule) for rule in CASES.keys() | SUBMITS}
    for path, methods in paths.items():
        for method, operation in methods.items():
            if method != "parameters":
                named = {parameter.get("$ref", "").rpartition("/")[2] for parameter in operation["parameters"]}
                told = method == "post" and path.removeprefix(API_PREFIX) in taking
                assert ("Idempotency-Key" in named) is told, (method, path)
                done = [answer for status, answer in operation["responses"].items() if status < "300"]
                replays = told or path in WITHOUT_A_KEY
                assert all(("Idempotent-Replayed" in answer.get("headers", {})) is replays for answer in done), path


# -- one key, one thing --------------------------------------------------------------------------------------------


def test_a_repeat_gets_what_the_first_one_made(world: World) -> None:
    def twice(case: Case) -> None:
        before, key = carried_out(case), f"twice {case.rule}"
        first, again = world.make(case, key), world.make(case, f'"{key}"')
        assert first.status_code == again.status_code == case.status, (first.text, again.text)
        assert "Idempotent-Replayed" not in first.headers
        assert again.headers["Idempotent-Replayed"] == "true"
        assert again.get_json() == first.get_json()
        assert again.headers.get("Location") == first.headers.get("Location")
        assert carried_out(case) == before + 1

    each(twice)


def test_a_key_is_for_one_request(world: World) -> None:
    def another(case: Case) -> None:
        key = f"another {case.rule}"
        assert world.make(case, key).status_code == case.status
        before = carried_out(case)
        if case.other is not None:
            assert code(world.make(case, key, other=True)) == (422, "idempotency_key_reused")
        elsewhere = CASES["/admin/plans" if case.rule != "/admin/plans" else "/admin/tools"]
        assert code(world.make(elsewhere, key)) == (422, "idempotency_key_reused")
        assert carried_out(case) == before

    each(another)


def test_requests_at_once_make_one(world: World) -> None:
    def racing(case: Case) -> None:
        before = carried_out(case)
        answers = world.at_once(case, f"race {case.rule}", 4)
        assert {answer.status_code for answer in answers} == {case.status}, [answer.text for answer in answers]
        assert len({answer.text for answer in answers}) == 1
        assert sum("Idempotent-Replayed" in answer.headers for answer in answers) == 3
        assert carried_out(case) == before + 1

    each(racing)


def test_after_a_crash_between_commit_and_answer_the_repeat_is_answered(world: World) -> None:
    def die() -> None:
        raise RuntimeError("the process ends here")

    def crashing(case: Case) -> None:
        before, key = carried_out(case), f"crash {case.rule}"
        with failpoints.calling("web.after_commit", die):
            assert world.make(case, key).status_code == 500
        assert carried_out(case) == before + 1
        again = world.make(case, key)
        assert (again.status_code, again.headers.get("Idempotent-Replayed")) == (case.status, "true"), again.text
        assert carried_out(case) == before + 1
        if case.secret:
            assert again.get_json()["data"][case.secret]

    each(crashing)


def test_a_refused_request_stores_nothing(world: World) -> None:
    taken = {"slug": "free", "name": "P", "monthly_tokens": 1}
    refused: tuple[tuple[str, Any, int, Any], ...] = (
        ("/admin/plans", taken, 409, {**taken, "slug": "free-too"}),
        ("/subscriptions/subscribe", {"plan": "free"}, 409, {"plan": "pro"}),
        ("/webhooks", {"url": "http://10.0.0.1/"}, 422, {"url": "http://127.0.0.1:9/"}),
        ("/users/me/api-keys", {"name": ""}, 422, {"name": "good"}),
        (
            f"/admin/users/{world.user_id}/grants",
            {"tokens": -(10**9), "reason": "-"},
            409,
            {"tokens": 1, "reason": "-"},
        ),
        (f"/webhooks/{uuid4()}/replay", creating.SINCE, 404, None),
    )
    for number, (path, body, status, good) in enumerate(refused):
        assert world.send("POST", path, body, f"refused {number}").status_code == status, path
        assert plain(text("select 1 from idempotent_requests"), {}) == [], path
        if good is not None:
            assert world.send("POST", path, good, f"refused {number}").status_code in (200, 201), path
        plain(text("delete from idempotent_requests"), {})


def test_a_key_belongs_to_an_account_and_a_day(world: World) -> None:
    case = CASES["/users/me/api-keys"]
    first = world.make(case, "mine").get_json()["data"]
    other = creating.world(world.app)
    assert other.make(case, "mine").get_json()["data"]["id"] != first["id"]
    plain(text("update idempotent_requests set created_at = now() - interval '1 day', facts = '{}'"), {})
    tomorrow = world.make(case, "mine")
    assert "Idempotent-Replayed" not in tomorrow.headers
    assert tomorrow.get_json()["data"]["id"] != first["id"]
    assert world.make(case, "mine").get_json() == tomorrow.get_json()


def test_keys_of_submits_and_of_other_requests_are_the_same_keys(world: World) -> None:
    tool, case = factories.tool(), CASES["/users/me/api-keys"]
    submit = f"/tools/{tool.slug}/invoke"
    assert world.send("POST", submit, {"input": {}}, "submitted").status_code == 202
    assert code(world.make(case, "submitted")) == (422, "idempotency_key_reused")
    assert world.make(case, "made").status_code == 201
    assert code(world.send("POST", submit, {"input": {}}, "made")) == (422, "idempotency_key_reused")
    for table in ("idempotent_requests", "idempotency_keys"):
        plain(text(f"update {table} set created_at = now() - interval '1 day'"), {})
    assert world.send("POST", submit, {"input": {}}, "made").status_code == 202


def test_what_was_made_and_deleted_since_is_not_made_again(world: World) -> None:
    made = world.make(CASES["/webhooks"], "gone").get_json()["data"]["id"]
    assert world.send("DELETE", f"/webhooks/{made}").status_code == 204
    again = world.make(CASES["/webhooks"], "gone")
    assert code(again) == (409, "conflict")
    assert "Idempotent-Replayed" not in again.headers
    assert "deleted" in again.get_json()["detail"]
    assert carried_out(CASES["/webhooks"]) == 0


def test_a_verb_that_forgets_to_claim_is_found_out(world: World) -> None:
    """A view that takes the header without a verb that claims it would make two things of one key."""
    with world.app.test_request_context("/x", method="POST", headers={"Idempotency-Key": "k"}):
        g.caller, g.identified_at = factories.user(), clock.monotonic()
        with pytest.raises(RuntimeError, match="did not claim"):
            answered_once(None, lambda _: "made without asking")


# -- secrets -------------------------------------------------------------------------------------------------------

SECRETS = [case for case in CASES.values() if case.secret]


def test_a_secret_is_encrypted_and_shown_again_for_ten_minutes(world: World) -> None:
    assert len(SECRETS) == 6
    for case in SECRETS:
        secret = world.make(case, "s").get_json()["data"][case.secret or ""]
        (row,) = plain(text("select secret, row_to_json(r)::text as all from idempotent_requests r"), {})
        assert row.secret
        assert secret not in row.all
        plain(text("update idempotent_requests set secret_until = secret_until - interval '599 seconds'"), {})
        assert world.make(case, "s").get_json()["data"][case.secret or ""] == secret
        plain(text("update idempotent_requests set secret_until = secret_until - interval '1 second'"), {})
        later = world.make(case, "s")
        assert code(later) == (409, "conflict"), case.rule
        assert secret not in later.text
        plain(text("delete from idempotent_requests"), {})


def test_what_has_expired_is_removed(world: World) -> None:
    for name in ("/users/me/api-keys", "/admin/plans"):
        assert world.make(CASES[name], name).status_code == 201
    assert idempotency.forget_old() == 0
    plain(text("update idempotent_requests set secret_until = now()"), {})
    assert idempotency.forget_old() == 2
    left = plain(text("select secret, secret_until from idempotent_requests"), {})
    assert [tuple(row) for row in left] == [(None, None)] * 2
    assert code(world.make(CASES["/users/me/api-keys"], "/users/me/api-keys")) == (409, "conflict")
    plain(text("update idempotent_requests set created_at = now() - interval '25 hours'"), {})
    assert idempotency.forget_old() == 2

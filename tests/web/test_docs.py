"""The served documentation: complete, consistent with the routes, and without external resources."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import flask
import pytest

from common.settings import Settings
from tests.web.conftest import Service
from web.api.blueprint import Blueprint
from web.app import create_app
from web.http import auth, problems
from web.http.fields import Many, Text, Word
from web.http.schemas import Resource

PARAMETER = re.compile("<(?:[^:>]+:)?")
#: Operations in the shape of another API or protocol.
ELSEWHERE = ("/v1/", "/mcp", "/.well-known/oauth-protected-resource")
METHODS = {"get", "post", "patch", "put", "delete"}


@pytest.fixture(scope="module")
def product(settings: Settings) -> flask.Flask:
    return create_app(settings)


@pytest.fixture(scope="module")
def document(product: flask.Flask) -> dict[str, Any]:
    found = product.test_client().get("/api/v1/openapi.json").json
    assert found is not None
    return dict(found)


def operations(document: dict[str, Any], *, elsewhere: bool = False) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        if path.startswith(ELSEWHERE) == elsewhere:
            for method in METHODS & set(item):
                yield f"{method.upper()} {path}", item[method]


def test_every_route_is_documented_and_nothing_else(product: flask.Flask, document: dict[str, Any]) -> None:
    elsewhere = dict(operations(document, elsewhere=True))
    for name, operation in elsewhere.items():
        assert ".md`" in operation["description"] and operation["externalDocs"]["url"], name
    assert routes(product) == {name for name, _ in operations(document)} | elsewhere.keys()


def routes(product: flask.Flask) -> set[str]:
    return {
        f"{method} {PARAMETER.sub('{', rule.rule).replace('>', '}')}"
        for rule in product.url_map.iter_rules()
        for method in rule.methods or ()
        if method not in {"HEAD", "OPTIONS"}
        and rule.endpoint.split(".")[0] not in {"docs", "errors", "console", "front"}
    }


def test_every_reference_resolves(document: dict[str, Any]) -> None:
    def references(node: Any) -> Iterator[str]:
        if isinstance(node, dict):
            if isinstance(node.get("$ref"), str):
                yield node["$ref"]
            for nested in node.values():
                yield from references(nested)
        elif isinstance(node, list):
            for nested in node:
                yield from references(nested)

    def leads_somewhere(reference: str) -> bool:
        node: Any = document
        for step in reference.removeprefix("#/").split("/"):
            node = node.get(step, {})
        return bool(node)

    found = set(references(document))
    assert len(found) > 50
    assert [reference for reference in sorted(found) if not leads_somewhere(reference)] == []


def test_every_operation_tells_the_whole_contract(product: flask.Flask, document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        statuses = set(operation["responses"])
        assert {"400", "405", "406", "413", "414", "422", "431", "500", "503"} <= statuses, name
        assert any(status < "400" for status in statuses), name
        assert operation["operationId"], name
        assert operation["summary"], name
        assert {"404"} & statuses or "{" not in name, name
        if operation["security"]:
            assert {"401", "429"} <= statuses, name
        if "requestBody" in operation:
            assert {"408", "413", "415"} <= statuses, name
        for status, answer in operation["responses"].items():
            response = resolved(answer, document) if "$ref" in answer else answer
            if status >= "400":
                assert list(response["content"]) == ["application/problem+json"], name
                assert ("Retry-After" in response["headers"]) == (status in ("429", "503")), name
            else:
                assert ("RateLimit" in response["headers"]) == bool(operation["security"]), name
                assert bool(response.get("content")) == (status not in ("204", "304")), name
            assert "X-Request-ID" in response["headers"], name


def resolved(node: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    for step in node["$ref"].removeprefix("#/").split("/"):
        document = document[step]
    return document


def test_the_credentials_of_an_operation_are_those_of_its_policy(
    product: flask.Flask, document: dict[str, Any]
) -> None:
    said = {operation["operationId"]: operation["security"] for _, operation in operations(document)}
    for endpoint, view in product.view_functions.items():
        policy = vars(view)["policy"]
        if endpoint.startswith(("docs.", "errors.", "console.", "front.", "openai.", "mcp.", "resource_metadata.")):
            continue
        scopes = [policy.scope] if policy.scope else []
        keys = [{"apiKey": scopes}, {"apiKeyAsBearer": scopes}]
        wanted: dict[str, list[Any]] = {"public": [], "session": [{"accessToken": []}]}
        assert said[endpoint.replace(".", "_")] == wanted.get(policy.kind, [{"accessToken": []}, *keys]), endpoint


def test_the_codes_of_an_operation_are_those_that_it_can_give(document: dict[str, Any]) -> None:
    def codes(method: str, path: str) -> set[str]:
        answers = document["paths"][path][method]["responses"].values()
        problems_ = [resolved(answer, document) for answer in answers if "$ref" in answer]
        contents = [problem["content"]["application/problem+json"] for problem in problems_]
        return {code for content in contents for code in content["examples"]}

    anywhere = {"malformed_request", "method_not_allowed", "not_acceptable", "payload_too_large", "uri_too_long"}
    anywhere |= {"invalid_header", "headers_too_large", "validation_failed", "internal_error", "dependency_unavailable"}
    caller = {"unauthenticated", "token_expired", "token_revoked", "rate_limited"}
    body = {"malformed_json", "body_required", "duplicate_key", "too_deep", "request_timeout", "unsupported_media_type"}
    assert codes("get", "/health") == anywhere
    assert codes("get", "/api/v1/users/me") == anywhere | caller
    assert codes("get", "/api/v1/usage") == anywhere | caller | {"scope_missing", "invalid_cursor"}
    invoking = {
        "not_found",
        "conflict",
        "scope_missing",
        "idempotency_key_reused",
        "streaming_unsupported",
        "tool_input_rejected",
        "quote_invalid",
        "quote_expired",
        "url_refused",
    }
    invoking |= {
        "budget_exhausted",
        "storage_exhausted",
        "subscription_required",
        "email_not_verified",
        "tool_unavailable",
    }
    assert codes("post", "/api/v1/tools/{tool}/invoke") == anywhere | caller | body | invoking
    known = {
        code
        for path, item in document["paths"].items()
        for method in METHODS & set(item)
        for code in codes(method, path)
    }
    assert known == {kind.code for kind in problems.catalogue()}


def test_operation_ids_are_unique(document: dict[str, Any]) -> None:
    ids = [operation["operationId"] for _, operation in operations(document)]
    assert len(ids) == len(set(ids))


def test_what_is_answered_is_required_and_what_is_asked_is_closed(document: dict[str, Any]) -> None:
    health = document["components"]["schemas"]["Health"]
    assert health["required"] == ["status", "version"]
    assert "additionalProperties" not in health
    assert document["components"]["schemas"]["SubmitIn"]["additionalProperties"] is False


def test_every_code_has_its_section(service: Service) -> None:
    page = service("GET", "/docs/errors").text
    for kind in problems.catalogue():
        assert f'id="{kind.code}"' in page


def test_the_interactive_page_needs_nobody_else(service: Service) -> None:
    page = service("GET", "/docs")
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    linked = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(linked) == 4
    assert "<script>" not in page.text
    for path in linked:
        response = service("GET", path)
        assert (path.startswith("/"), response.status_code) == (True, 200)
        assert response.headers["X-Content-Type-Options"] == "nosniff"
    script = service("GET", "/docs/static/docs.js").text
    assert service("GET", re.findall(r'fetch\("([^"]+)"\)', script)[0]).json()["openapi"] == "3.1.0"


@pytest.mark.parametrize("name", ["../app.py", "..%2fapp.py", "%2e%2e/app.py", "nothing.js", ""])
def test_only_static_files_are_served(service: Service, name: str) -> None:
    assert service("GET", f"/docs/static/{name}").status_code == 404


def test_answers_promise_words_but_no_limits(settings: Settings) -> None:
    class Shown(Resource):
        name = Text(max=5, line=True)
        kind = Word("big", "small")
        tags = Many(Text(max=5), unique=True)

    blp = Blueprint("shown", "shown")

    @blp.get("/shown")
    @auth.public
    @blp.response(200, Shown)
    def show() -> Any:
        return {"name": "", "kind": "big", "tags": []}

    spec = create_app(settings, [blp]).test_client().get("/api/v1/openapi.json").json
    assert spec is not None
    assert spec["components"]["schemas"]["Shown"] == {
        "type": "object",
        "required": ["kind", "name", "tags"],
        "properties": {
            "name": {"type": "string"},
            "kind": {"type": "string", "enum": ["big", "small"]},
            "tags": {"type": "array", "uniqueItems": True, "items": {"type": "string"}},
        },
    }

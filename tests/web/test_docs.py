"""The served documents: whole, true to the routes, and without a byte from elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import flask
import pytest

from common.settings import Settings
from tests.web.conftest import Service
from web import auth, problems
from web.app import create_app
from web.blueprint import Blueprint
from web.schemas import Many, Resource, Text, Word

PARAMETER = re.compile("<(?:[^:>]+:)?")
METHODS = {"get", "post", "patch", "put", "delete"}


@pytest.fixture(scope="module")
def product(settings: Settings) -> flask.Flask:
    return create_app(settings)


@pytest.fixture(scope="module")
def document(product: flask.Flask) -> dict[str, Any]:
    found = product.test_client().get("/api/v1/openapi.json").json
    assert found is not None
    return dict(found)


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method in METHODS & set(item):
            yield f"{method.upper()} {path}", item[method]


def test_every_route_is_documented_and_nothing_else(product: flask.Flask, document: dict[str, Any]) -> None:
    routes = {
        f"{method} {PARAMETER.sub('{', rule.rule).replace('>', '}')}"
        for rule in product.url_map.iter_rules()
        for method in rule.methods or ()
        if method not in {"HEAD", "OPTIONS"} and rule.endpoint.split(".")[0] not in {"docs", "errors"}
    }
    assert routes == {name for name, _ in operations(document)}


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

    for reference in set(references(document)):
        node = document
        for step in reference.removeprefix("#/").split("/"):
            node = node[step]


def test_every_operation_tells_the_whole_contract(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        statuses = set(operation["responses"])
        assert {"400", "406", "422", "500", "503"} <= statuses, name
        assert any(status < "400" for status in statuses), name
        assert operation["operationId"], name
        if operation["security"]:
            assert {"401", "403", "429"} <= statuses, name
            assert operation["security"] == [{"accessToken": []}, {"apiKey": []}], name
        if "requestBody" in operation:
            assert {"413", "415"} <= statuses, name
        for status, response in operation["responses"].items():
            if status < "400":
                assert "X-Request-ID" in response["headers"], name
                assert ("RateLimit" in response["headers"]) == bool(operation["security"]), name
            elif "$ref" not in response:
                assert list(response["content"]) == ["application/problem+json"], name


def test_operation_ids_are_unique(document: dict[str, Any]) -> None:
    ids = [operation["operationId"] for _, operation in operations(document)]
    assert len(ids) == len(set(ids))


def test_what_is_answered_is_required_and_what_is_asked_is_closed(document: dict[str, Any]) -> None:
    health = document["components"]["schemas"]["Health"]
    assert health["required"] == ["status"]
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
    assert service("GET", re.findall(r'url: "([^"]+)"', script)[0]).json()["openapi"] == "3.1.0"


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

"""Tools from OpenAPI documents: what is mapped, what is named as not mapped, and hostile documents."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

from common.errors import Invalid
from common.identity import keys
from common.identity.audit import OPERATOR
from common.kit import jsonb
from common.kit.jsonschemas import compiled
from common.settings import Settings
from common.tools import importing
from common.tools.importing import reader
from tests import factories
from tests.client import Json
from tests.outside.tool import Tool
from web.app import create_app

PRICE = {"base_tokens": 1, "max_tokens": 5}
OK = {"200": {"description": "", "content": {"application/json": {"schema": {"type": "object"}}}}}
JSON_BODY = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Text"}}}}
TEXT = {"type": "object", "required": ["text"], "properties": {"text": {"type": "string"}}}


def document(paths: Json, version: str = "3.0.3", **more: Any) -> Json:
    components = {"schemas": {"Text": TEXT}, **more.pop("components", {})}
    return {
        "openapi": version,
        "info": {"title": "T", "version": "1"},
        "servers": [{"url": "https://{host}.example.com/v1", "variables": {"host": {"default": "api"}}}],
        "paths": paths,
        "components": components,
        **more,
    }


def one(operation: Json, method: str = "post", path: str = "/echo", **more: Any) -> importing.ImportedTool:
    (tool,) = importing.preview(document({path: {method: {"responses": OK, **operation}}}, **more))
    return tool


def blocking(tool: importing.ImportedTool) -> str:
    return " ".join(problem.detail for problem in tool.problems if problem.blocking)


class Admin:
    def __init__(self, http: FlaskClient) -> None:
        self.http = http
        self.caller = factories.user(role="admin")
        self.headers = {"X-API-Key": keys.create(self.caller.user_id, "k", actor=OPERATOR, scopes=["admin"])[1]}

    def imported(self, expect: int = 200, key: str | None = None, **body: Any) -> Json:
        headers = self.headers | ({} if key is None else {"Idempotency-Key": key})
        answer = self.http.post("/api/v1/admin/tools/import", json=body, headers=headers)
        assert answer.status_code == expect, answer.text
        return dict(answer.get_json())

    def slugs(self) -> list[str]:
        answer = self.http.get("/api/v1/admin/tools", headers=self.headers)
        return [each["slug"] for each in answer.get_json()["data"]]


@pytest.fixture
def admin(db: None, settings: Settings) -> Admin:
    return Admin(create_app(settings).test_client())


def test_operations_are_previewed_and_those_that_are_wanted_are_made(admin: Admin, tool: Tool) -> None:
    read = {"operationId": "readAll", "summary": "Read all", "responses": OK}
    write = {"operationId": "Write", "requestBody": JSON_BODY, "responses": OK}
    given = document({"/echo": {"get": read, "post": write}, "/echo/{id}": {"put": _with_path()}})
    base: Any = {"document": given, "base_url": tool.url}
    tools = admin.imported(**base)["data"]["tools"]
    assert [(each["slug"], each["method"], each["is_importable"]) for each in tools] == [
        ("read-all", "GET", True),
        ("write", "POST", True),
        ("put-echo-id", "PUT", True),
    ]
    assert admin.slugs() == []
    wanted = ["write", "put-echo-id"]
    made = admin.imported(**base, create=wanted, price=PRICE, key="once")["data"]
    assert [each["slug"] for each in made["created"]] == wanted
    assert sorted(admin.slugs()) == sorted(wanted)
    again = admin.imported(**base, create=wanted, price=PRICE, key="once")["data"]
    assert again["created"] == made["created"]
    assert admin.imported(409, **base, create=["write"], price=PRICE)["code"] == "slug_taken"
    trial = {"json": {"input": {"text": "hello"}}, "headers": admin.headers}
    tried = admin.http.post(f"/api/v1/admin/tools/{made['created'][0]['id']}/test", **trial).get_json()
    assert tried["data"]["status"] == "succeeded", tried
    sent = {"json": {"input": {"id": "a/b", "text": "hello"}}, "headers": admin.headers}
    tried = admin.http.post(f"/api/v1/admin/tools/{made['created'][1]['id']}/test", **sent).get_json()["data"]
    assert tried["status"] == "succeeded", tried
    assert (tool.calls()[-1].path, tool.calls()[-1].body) == ("/echo/a/b", {"text": "hello"})


def _with_path() -> Json:
    parameters = [{"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}]
    return {"parameters": parameters, "requestBody": JSON_BODY, "responses": OK}


def test_all_are_made_or_none(admin: Admin) -> None:
    paths = {f"/{name}": {"post": {"operationId": name, "requestBody": JSON_BODY, "responses": OK}} for name in "abc"}
    factories.tool(slug="c")
    given: Any = {"document": document(paths), "price": PRICE}
    assert admin.imported(409, **given, create=["a", "b", "c"])["code"] == "slug_taken"
    assert admin.slugs() == ["c"]
    refused = admin.imported(422, **given, create=["a", "nobody"])
    assert [fault["pointer"] for fault in refused["errors"]] == ["/create/1"]
    unpriced = admin.imported(422, document=given["document"], create=["a"])
    assert [fault["pointer"] for fault in unpriced["errors"]] == ["/price"]
    assert admin.slugs() == ["c"]


def test_the_credential_goes_where_the_document_says(admin: Admin) -> None:
    schemes = {"key": {"type": "apiKey", "in": "header", "name": "X-Their-Key"}}
    paths = {"/a": {"post": {"operationId": "a", "requestBody": JSON_BODY, "responses": OK}}}
    given = document(paths, components={"schemas": {"Text": TEXT}, "securitySchemes": schemes}, security=[{"key": []}])
    (tool,) = admin.imported(document=given)["data"]["tools"]
    assert tool["auth"] == {"type": "header", "header_name": "X-Their-Key"}
    wanted: Any = {"document": given, "create": ["a"], "price": PRICE}
    assert admin.imported(422, **wanted)["errors"][0]["pointer"] == "/auth"
    secret = {"type": "header", "header_name": "X-Other", "secret": "never-to-be-seen"}
    (made,) = admin.imported(**wanted, auth=secret)["data"]["created"]
    shown = admin.http.get(f"/api/v1/admin/tools/{made['id']}", headers=admin.headers)
    assert shown.get_json()["data"]["auth"] == tool["auth"]
    assert "never-to-be-seen" not in shown.text


def test_others_import_nothing(admin: Admin) -> None:
    key = keys.create(factories.user().user_id, "k", actor=OPERATOR)[1]
    answer = admin.http.post("/api/v1/admin/tools/import", json={"document": document({})}, headers={"X-API-Key": key})
    assert answer.status_code == 403


@pytest.mark.parametrize("url", ["http://169.254.169.254/openapi.json", "http://10.0.0.1/", "file:///etc/passwd"])
def test_a_document_is_fetched_from_where_tools_may_be(admin: Admin, url: str) -> None:
    assert admin.imported(422, url=url)["code"] == "url_refused"


# -- mapping ----------------------------------------------------------------------------------------------------------


def test_schemas_of_3_0_become_json_schema() -> None:
    schemas = {
        "Text": {"allOf": [{"$ref": "#/components/schemas/Node"}, {"required": ["a"]}], "nullable": True},
        "Node": {
            "type": "object",
            "required": ["id", "a"],
            "properties": {
                "id": {"type": "string", "readOnly": True},
                "a": {"type": "integer", "nullable": True, "minimum": 0, "exclusiveMinimum": True},
                "kind": {"type": "string", "nullable": True, "enum": ["x"]},
                "next": {"$ref": "#/components/schemas/Node"},
                "pattern": {"type": "string", "pattern": "(?=x)"},
                "many": {"type": "string", "enum": [str(number) for number in range(1_001)]},
            },
        },
    }
    tool = one({"requestBody": JSON_BODY}, components={"schemas": schemas})
    assert tool.is_importable
    schema: Any = tool.input_schema
    node = schema["$defs"]["Node"]
    assert schema["anyOf"][1] == {"type": "null"}
    assert schema["anyOf"][0]["allOf"][0] == {"$ref": "#/$defs/Node"}
    assert node["required"] == ["a"]
    assert "id" not in node["properties"]
    assert node["properties"]["a"] == {"type": ["integer", "null"], "exclusiveMinimum": 0}
    assert node["properties"]["kind"] == {"type": ["string", "null"], "enum": ["x", None]}
    assert node["properties"]["next"] == {"$ref": "#/$defs/Node"}
    assert node["properties"]["pattern"] == node["properties"]["many"] == {"type": "string"}
    said = " ".join(problem.detail for problem in tool.problems)
    assert "(?=x)" in said
    assert "1,001 values" in said


def test_schemas_of_3_1_keep_what_they_say() -> None:
    schema = {"type": ["string", "null"], "const": "x", "exclusiveMinimum": 1}
    tool = one({"requestBody": {"content": {"application/json": {"schema": schema}}}}, version="3.1.0")
    assert tool.input_schema == schema


def test_the_query_of_a_get() -> None:
    parameters = [
        {"name": "q", "in": "query", "required": True, "schema": {"type": "string"}, "example": "joy"},
        {"name": "tags", "in": "query", "schema": {"type": "array", "items": {"type": "string"}}},
        {"name": "csv", "in": "query", "schema": {"type": "array"}, "explode": False},
        {"name": "deep", "in": "query", "schema": {"type": "object"}, "style": "deepObject"},
        {"name": "session", "in": "cookie", "schema": {}},
        {"name": "X-Trace", "in": "header", "schema": {}},
        {"name": "Accept", "in": "header", "schema": {}},
    ]
    tool = one({"parameters": parameters}, "get")
    assert tool.is_importable
    schema: Any = tool.input_schema
    assert schema["properties"].keys() == {"q", "tags"}
    assert (schema["required"], schema["additionalProperties"]) == (["q"], False)
    assert tool.example_input == {"q": "joy"}
    assert tool.endpoint_url == "https://api.example.com/v1/echo"
    assert len(tool.problems) == 4


UNMAPPED: list[tuple[str, Json, str]] = [
    ("post", {"parameters": [{"name": "c", "in": "cookie", "required": True}]}, "cookie parameter c"),
    ("post", {"parameters": [{"name": "q[]", "in": "query", "required": True}]}, "query parameter q[] has a name"),
    ("get", {"parameters": [{"name": "q", "in": "query", "required": True, "style": "pipe"}]}, "has the style pipe"),
    ("post", {"requestBody": {"content": {"multipart/form-data": {}}}}, "multipart/form-data"),
    ("post", {"requestBody": {"content": {"application/xml": {}}}}, "application/xml"),
    ("post", {"requestBody": {"$ref": "https://elsewhere.example/x.json"}}, "points outside the document"),
    ("post", {"requestBody": {"$ref": "#/components/nothing"}}, "points to nothing"),
    ("get", {"responses": {"200": {"description": "", "content": {"text/csv": {}}}}}, "text/csv"),
    ("delete", {"responses": {"204": {"description": ""}}}, "empty"),
    ("head", {}, "HEAD"),
    ("post", {"$ref": "resources/echo.yml"}, "points outside the document"),
    ("post", {"servers": [{"url": "https://{region}.example.com"}]}, "variable region"),
    ("post", {"servers": [{"url": "/v2"}]}, "absolute address"),
    ("post", {"security": [{"oauth": [], "other": []}]}, "several credentials"),
    ("post", {"security": [{"cookie": []}]}, "API key in the cookie"),
]


@pytest.mark.parametrize(("method", "operation", "said"), UNMAPPED)
def test_what_cannot_be_mapped_is_named(method: str, operation: Json, said: str) -> None:
    schemes = {"cookie": {"type": "apiKey", "in": "cookie", "name": "s"}}
    tool = one(operation, method, components={"securitySchemes": schemes})
    assert not tool.is_importable
    assert said in blocking(tool)


def test_a_path_with_parameters_that_nobody_declared() -> None:
    assert "no parameter declares" in blocking(one({"requestBody": JSON_BODY}, path="/a/{id}"))


ID = {"name": "id", "in": "path", "required": True, "schema": {"type": "integer"}, "example": 7}
DRY = {"name": "dry-run", "in": "query", "schema": {"type": "boolean"}}


def test_parameters_of_path_and_query_are_properties_of_the_input() -> None:
    tool = one({"parameters": [ID, DRY]}, "get", "/pets/{id}")
    assert (tool.endpoint_url, tool.problems) == ("https://api.example.com/v1/pets/{id}", [])
    schema: Any = tool.input_schema
    assert (list(schema["properties"]), schema["required"]) == (["id", "dry-run"], ["id"])
    assert (schema["additionalProperties"], tool.example_input) == (False, {"id": 7})
    tool = one({"parameters": [ID, DRY]}, "delete", "/pets/{id}")
    assert tool.endpoint_url == "https://api.example.com/v1/pets/{id}{?dry-run}"
    assert tool.is_importable


@pytest.mark.parametrize("version", ["3.0.3", "3.1.0"])
def test_they_stand_beside_those_of_the_body(version: str) -> None:
    pet = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"], "example": {"name": "x"}}
    closed = {**pet, "additionalProperties": False}
    combined = {"allOf": [{"$ref": "#/components/schemas/Pet"}, {"properties": {"age": {"type": "integer"}}}]}
    for schema in (
        pet,
        closed,
        combined,
        {"$ref": "#/components/schemas/Pet"},
        {"$ref": "#/components/schemas/Closed"},
    ):
        body = {"content": {"application/json": {"schema": schema}}}
        schemas = {"schemas": {"Pet": pet, "Closed": closed}}
        given = {"parameters": [ID, DRY], "requestBody": body}
        tool = one(given, "put", "/pets/{id}", version=version, components=schemas)
        assert tool.is_importable, tool.problems
        assert tool.endpoint_url == "https://api.example.com/v1/pets/{id}{?dry-run}"
        made: Any = tool.input_schema
        valid = compiled(made).is_valid
        assert valid({"id": 1, "name": "Rex"})
        assert valid({"id": 1, "name": "Rex", "dry-run": True})
        for wrong in ({"name": "Rex"}, {"id": 1}, {"id": "x", "name": "Rex"}, {"id": 1, "name": 2}):
            assert not valid(wrong), (schema, wrong)
        if schema is not combined:
            assert tool.example_input == {"id": 7, "name": "x"}


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"type": "array", "items": {}}, "The body is not an object"),
        (True, "The body is not an object"),
        ({"type": "object", "properties": {"id": {}}}, "name of a property of the body"),
        ({"allOf": [{"properties": {"a": {}}}, {"allOf": [{"properties": {"id": {}}}]}]}, "name of a property"),
        ({"allOf": [{"type": "object", "additionalProperties": False}]}, "allows no other properties"),
        ({"type": "object", "additionalProperties": {"type": "string"}}, "allows no other properties"),
        ({"type": "object", "maxProperties": 1}, "allows no other properties"),
        ({"$ref": "#/components/schemas/Loop"}, "combines too many schemas"),
    ],
)
def test_bodies_that_they_cannot_stand_beside(schema: Any, said: str) -> None:
    body = {"content": {"application/json": {"schema": schema}}}
    schemas = {"schemas": {"Loop": {"allOf": [{"$ref": "#/components/schemas/Loop"}]}}}
    tool = one({"parameters": [ID], "requestBody": body}, "put", "/pets/{id}", components=schemas)
    assert said in blocking(tool)


@pytest.mark.parametrize(
    ("parameter", "said"),
    [
        ({**ID, "style": "matrix"}, "has the style matrix"),
        ({**ID, "schema": {"type": "object"}}, "is an object"),
        ({**ID, "content": {"application/json": {}}, "schema": {}}, "is not sent as JSON"),
        ({**ID, "name": "a b"}, "no parameter declares"),
    ],
)
def test_path_parameters_that_cannot_be_filled(parameter: Json, said: str) -> None:
    assert said in blocking(one({"parameters": [parameter]}, "get", "/pets/{id}"))
    strange = {**ID, "name": "a b"}
    assert "a name that the address" in blocking(one({"parameters": [strange]}, "get", "/pets/{a b}"))
    both = [ID, {**ID, "in": "query"}]
    assert "have the same name" in blocking(one({"parameters": both}, "get", "/pets/{id}"))


def test_callbacks_are_named() -> None:
    assert one({"requestBody": JSON_BODY, "callbacks": {}}).problems[0].detail == "Callbacks are not received."


# -- hostile documents ------------------------------------------------------------------------------------------------


def test_references_without_an_end() -> None:
    schemas = {"Text": {"$ref": "#/components/schemas/B"}, "B": {"$ref": "#/components/schemas/Text"}}
    assert "circular" in blocking(one({"requestBody": JSON_BODY}, components={"schemas": schemas}))


def test_combinations_that_double_at_each_step() -> None:
    schemas: Json = {
        f"S{number}": {"allOf": [{"$ref": f"#/components/schemas/S{number + 1}"}] * 2} for number in range(40)
    }
    schemas |= {"S40": TEXT, "Text": {"$ref": "#/components/schemas/S0"}}
    assert "checks" in blocking(one({"requestBody": JSON_BODY}, components={"schemas": schemas}))


def test_a_large_document_is_read_by_a_child(admin: Admin, monkeypatch: pytest.MonkeyPatch) -> None:
    """And says the same as a small one; what makes the child slow or large ends it alone."""
    operation = {"requestBody": JSON_BODY, "responses": OK}
    paths = {f"/a/{number}": {"post": {**operation, "operationId": f"op-{number}"}} for number in range(3)}
    small: Any = {"document": document(paths), "show": ["op-1", "op-2"], "create": ["op-2"], "price": PRICE}
    here = admin.imported(**small)["data"]
    monkeypatch.setattr(reader, "SMALL", 0)
    wrong = admin.imported(422, document={"openapi": "2.0"})["errors"]
    assert wrong == [{"pointer": "/document", "detail": wrong[0]["detail"]}]
    there = admin.imported(**{**small, "create": ["op-0"]})["data"]
    assert (there["tools"], there["omitted"]) == (here["tools"], 0)
    assert [tool["slug"] for tool in there["created"]] == ["op-0"]
    monkeypatch.setattr(reader, "WAIT_SECONDS", 0.01)
    late = admin.imported(422, document=document({}))["errors"][0]
    assert (late["pointer"], "too long" in late["detail"]) == ("/document", True)


def test_a_small_document_of_many_parts_is_read_by_a_child(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "WAIT_SECONDS", 0.01)  # a child cannot even start
    few = document({"/a": {"post": {"requestBody": JSON_BODY, "responses": OK}}})
    assert [tool.slug for tool in reader.found(reader.Asked(jsonb.encoded(few))).shown] == ["post-a"]
    many = document({f"/{n}": {"post": {"requestBody": JSON_BODY, "responses": OK}} for n in range(200)})
    assert len(jsonb.encoded(many)) < reader.SMALL
    with pytest.raises(Invalid, match="cannot be imported"):
        reader.found(reader.Asked(jsonb.encoded(many)))


def test_too_many_operations_or_parts(admin: Admin) -> None:
    operation = {"requestBody": JSON_BODY, "responses": OK}
    many = document({f"/{number}": {"post": operation} for number in range(900)})
    assert len(admin.imported(document=many)["data"]["tools"]) == 900
    with pytest.raises(Invalid, match="cannot be imported"):
        importing.preview(document({f"/{number}": {"post": operation} for number in range(10_000)}))
    wide = {"allOf": [{"properties": {str(n): TEXT for n in range(900)}}]}
    body = {"content": {"application/json": {"schema": wide}}}
    with pytest.raises(Invalid, match="cannot be imported"):
        importing.preview(document({f"/{n}": {"post": {"requestBody": body, "responses": OK}} for n in range(1_000)}))


@pytest.mark.parametrize(
    "wrong",
    [{}, {"openapi": "2.0"}, {"swagger": "2.0", "paths": {}}, {"openapi": ["3.0"]}],
)
def test_what_is_no_such_document(admin: Admin, wrong: Json) -> None:
    assert admin.imported(422, document=wrong)["errors"][0]["pointer"] == "/document"


def _sent(schema: Any) -> Json:
    return {"requestBody": {"content": {"application/json": {"schema": schema}}}}


#: What an operation has, beside what is blocked by it: nothing, if it is left out.
WRONG_TYPES: list[tuple[Json, str]] = [
    ({"parameters": [{"in": [], "name": {}}]}, "`in` and `name` must be strings"),
    ({"parameters": [{"in": "query", "name": []}]}, "`in` and `name` must be strings"),
    ({"parameters": [{"in": "query", "name": 5}]}, "`in` and `name` must be strings"),
    (_sent({"type": "object", "required": [[], {}, 5]}), ""),
    (_sent({"type": "object", "properties": {"a": {"readOnly": True}}, "required": ["a", {"x": 1}]}), ""),
    (_sent({"type": {}, "enum": 5, "pattern": [], "title": {}, "properties": {"a": {"$ref": [1]}}}), "outside"),
    ({"security": [{"x": []}]}, ""),
    ({"responses": [1]}, ""),
]


def test_parts_of_a_wrong_type_are_problems_of_their_operation(admin: Admin) -> None:
    paths: Json = {f"/{n}": {"post": {"responses": OK, **it}} for n, (it, _) in enumerate(WRONG_TYPES)}
    small = document(paths, components={"securitySchemes": {"x": {"type": [], "in": {}}}})
    for given in (small, {**small, "x-more": "x" * reader.SMALL}):
        tools = admin.imported(document=given)["data"]["tools"]
        for tool, (it, said) in zip(tools, WRONG_TYPES, strict=True):
            whys = " ".join(each["detail"] for each in tool["problems"] if each["blocking"])
            assert said in whys and (said or it.get("security") or not whys), (it, tool)


WRONG_URLS: list[tuple[Any, Json]] = [
    ([{"url": "http://["}], {}),
    ([{"url": "http://["}], {"url": "https://example.com/openapi.json"}),
    ([{"url": "https://{h}", "variables": {"h": {"default": "a]"}}}], {}),
    ([{"url": "/v1"}], {"url": "http://["}),
    ([], {"base_url": "http://["}),
    ([], {"base_url": "http://[", "url": "https://example.com/openapi.json"}),
]


@pytest.mark.parametrize(("servers", "more"), WRONG_URLS, ids=range(len(WRONG_URLS)))
def test_an_address_that_is_no_url(admin: Admin, servers: Any, more: Json) -> None:
    given = {**document({"/a": {"post": {"operationId": "a", "responses": OK}}}), "servers": servers}
    [tool] = admin.imported(document=given, **more)["data"]["tools"]
    assert [each["detail"] for each in tool["problems"] if each["blocking"]] == [
        "The address of its server is not a valid URL."
    ]
    refused = admin.imported(422, document=given, create=["a"], price=PRICE, **more)
    assert [fault["pointer"] for fault in refused["errors"]] == ["/create/0"]


@pytest.mark.parametrize(
    "paths",
    [
        [],
        {"/a": []},
        {"/a": {"get": {"parameters": [1]}}},
        {"/a": {"post": {"requestBody": {"content": []}}}},
        {"/a": {"get": {"responses": {"200": 1}, "security": "x", "servers": {"url": 1}}}},
        {"/a": {"post": {"requestBody": {"content": {"application/json": {"schema": [1]}}}, "responses": []}}},
    ],
)
def test_nonsense_is_no_error_of_ours(admin: Admin, paths: Any) -> None:
    answer = admin.imported(document={**document({}), "paths": paths, "servers": "x", "components": 3})
    assert all(not tool["is_importable"] for tool in answer["data"]["tools"])

"""Managing the tool catalogue as an admin."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import psycopg
import pytest

from common.tools import breakers
from tests.admin.conftest import Admin
from tests.client import Client, eventually
from tests.outside.tool import Tool

SECRET = "sk-never-to-be-seen-again"
PRICE = {"base_tokens": 1, "per_unit": {"pointer": "/units", "tokens": 2, "unit": "character"}, "max_tokens": 50}
SCHEMA = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}


def minimal(tool: Tool, **more: Any) -> dict[str, Any]:
    required = {"slug": "mine", "name": "Mine", "endpoint_url": f"{tool.url}/echo"}
    return {**required, "input_schema": SCHEMA, "price": PRICE, **more}


def test_what_is_left_out_has_the_default_of_the_contract(admin: Admin, client: Client, tool: Tool) -> None:
    made = admin.call("POST", "/admin/tools", 201, json=minimal(tool))
    shown = made.json()["data"]
    defaults = {
        "adapter": "http_json",
        "method": "POST",
        "headers": {},
        "auth": {"type": "none"},
        "timeout_seconds": 30,
        "max_attempts": 3,
        "idempotent": False,
        "description": None,
        "category": None,
        "output_schema": None,
        "example_input": None,
        "result_pointer": None,
        "is_active": True,
        "is_available": True,
        "archived_at": None,
        "version": 1,
    }
    assert {name: shown[name] for name in defaults} == defaults
    assert shown["price"] == PRICE
    assert admin.data("GET", made.headers["Location"].partition("/api/v1")[2]) == shown
    public = client.data("GET", "/tools/mine")
    assert "endpoint_url" not in public
    assert public == {name: shown[name] for name in public}
    assert admin.call("POST", "/admin/tools", 409, json=minimal(tool)).json()["code"] == "slug_taken"
    for name in ("slug", "name", "endpoint_url", "input_schema", "price"):
        body = minimal(tool, slug="other")
        del body[name]
        problem = admin.call("POST", "/admin/tools", 422, json=body).json()
        assert [fault["pointer"] for fault in problem["errors"]] == [f"/{name}"]
    client.call("POST", "/admin/tools", 403, json=minimal(tool, slug="other"))


REFUSED: list[tuple[dict[str, Any], str, str | None]] = [
    ({"endpoint_url": "http://169.254.169.254/latest"}, "url_refused", "/endpoint_url"),
    ({"endpoint_url": "http://10.0.0.1/"}, "url_refused", "/endpoint_url"),
    ({"endpoint_url": "file:///etc/passwd"}, "url_refused", "/endpoint_url"),
    ({"endpoint_url": "https://["}, "url_refused", "/endpoint_url"),
    ({"endpoint_url": "https://a]b/"}, "url_refused", "/endpoint_url"),
    ({"endpoint_url": "https://ex\u2100mple.com/"}, "url_refused", "/endpoint_url"),
    ({"endpoint_url": "https://[::1/"}, "url_refused", "/endpoint_url"),
    ({"input_schema": {"$ref": "http://127.0.0.1:1/schema"}}, "validation_failed", "/input_schema"),
    ({"input_schema": {"$ref": "file:///etc/passwd"}}, "validation_failed", "/input_schema"),
    ({"input_schema": {"type": "nonsense"}}, "validation_failed", "/input_schema"),
    ({"output_schema": {"enum": ["x" * 200_000]}}, "validation_failed", "/output_schema"),
    ({"headers": {"Host": "elsewhere"}}, "validation_failed", "/headers/Host"),
    ({"headers": {"X": "a\r\nB: c"}}, "validation_failed", "/headers/X"),
    ({"headers": {"Authorization": "Bearer x"}}, "validation_failed", "/headers/Authorization"),
    ({"headers": {"X-Api-Key": "x"}}, "validation_failed", "/headers/X-Api-Key"),
    ({"headers": {"Cookie": "a=b"}}, "validation_failed", "/headers/Cookie"),
    ({"headers": {"Ocp-Apim-Subscription-Key": "x"}}, "validation_failed", "/headers/Ocp-Apim-Subscription-Key"),
    ({"headers": {"X-Plain": "Bearer abcdefghijkl"}}, "validation_failed", "/headers/X-Plain"),
    ({"headers": {"X-Plain": "sk-proj-abcdefghijklmnop"}}, "validation_failed", "/headers/X-Plain"),
    ({"endpoint_url": "http://127.0.0.1:1/?access_token=x"}, "validation_failed", "/endpoint_url"),
    ({"endpoint_url": "http://127.0.0.1:1/?a=b&KEY=x"}, "validation_failed", "/endpoint_url"),
    ({"endpoint_url": "http://127.0.0.1:1/?sig=x"}, "validation_failed", "/endpoint_url"),
    ({"auth": {"type": "bearer"}}, "validation_failed", "/auth/secret"),
    ({"auth": {"type": "header", "secret": "s"}}, "validation_failed", "/auth/header_name"),
    ({"auth": {"type": "header", "secret": "s", "header_name": "a b"}}, "validation_failed", "/auth/header_name"),
    ({"auth": {"type": "bearer", "secret": "a\nb"}}, "validation_failed", "/auth/secret"),
    ({"auth": {"type": "none", "secret": "s"}}, "validation_failed", "/auth/secret"),
    ({"auth": {"type": "basic", "secret": "s", "username": "a:b"}}, "validation_failed", "/auth/username"),
    ({"price": {**PRICE, "base_tokens": 51}}, "validation_failed", "/price/max_tokens"),
    ({"price": {**PRICE, "base_tokens": 0}}, "validation_failed", "/price/base_tokens"),
    ({"price": {**PRICE, "base_tokens": 0, "max_tokens": 0}}, "validation_failed", "/price/base_tokens"),
    ({"price": {**PRICE, "base_tokens": -1}}, "validation_failed", "/price/base_tokens"),
    ({"price": {**PRICE, "max_tokens": 2**53}}, "validation_failed", "/price/max_tokens"),
    ({"price": {**PRICE, "per_unit": {"pointer": "x", "tokens": 1, "unit": "u"}}}, "validation_failed", None),
    ({"price": {**PRICE, "per_unit": {"pointer": "/x", "tokens": "1", "unit": "u"}}}, "validation_failed", None),
    ({"timeout_seconds": 601}, "validation_failed", "/timeout_seconds"),
    ({"max_attempts": 0}, "validation_failed", "/max_attempts"),
    ({"adapter": "telnet"}, "validation_failed", "/adapter"),
    ({"slug": "Über"}, "validation_failed", "/slug"),
    ({"result_pointer": "no/slash"}, "validation_failed", "/result_pointer"),
    ({"version": 7}, "validation_failed", "/version"),
]


def test_what_cannot_work_is_refused_with_a_pointer(admin: Admin, tool: Tool) -> None:
    path = f"/admin/tools/{admin.data('POST', '/admin/tools', 201, json=minimal(tool))['id']}"
    for change, code, pointer in REFUSED:
        for method, where, body in (
            ("POST", "/admin/tools", {**minimal(tool, slug="other"), **change}),
            ("PATCH", path, change),
        ):
            problem = admin.call(method, where, 422, json=body).json()
            assert problem["code"] == code, (change, problem)
            assert pointer is None or [fault["pointer"] for fault in problem["errors"]] == [pointer], (change, problem)
    assert admin.data("GET", path)["version"] == 1


def test_a_secret_is_sent_and_never_shown(
    admin: Admin, tool: Tool, database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    said: list[str] = []

    def call(method: str, path: str, expect: int = 200, **kwargs: Any) -> Any:
        response = admin.call(method, path, expect, **kwargs)
        said.append(response.text)
        return response.json()["data"]

    made = call("POST", "/admin/tools", 201, json=minimal(tool, auth={"type": "bearer", "secret": SECRET}))
    path = f"/admin/tools/{made['id']}"
    assert made["auth"] == {"type": "bearer"}
    call("PATCH", path, json={"auth": {"type": "bearer"}, "name": "Renamed"})
    assert call("POST", f"{path}/test", json={"input": {"text": "abc"}})["status"] == "succeeded"
    basic = {"type": "basic", "username": "hub", "secret": f"{SECRET}-2"}
    assert call("PATCH", path, json={"auth": basic})["auth"] == {"type": "basic", "username": "hub"}
    admin.call("PATCH", path, 422, json={"auth": {"type": "bearer"}})
    call("GET", "/admin/tools")
    log = admin.done_to(made["id"])
    assert [entry["action"] for entry in log] == ["tool.create", "tool.change", "tool.change"]
    assert log[1]["after"] == {"name": "Renamed", "version": 2}
    assert (log[1]["before"], log[2]["after"]["secret_replaced"]) == ({"name": "Mine", "version": 1}, True)
    said.append(str(log))
    with psycopg.connect(database_url) as connection:
        stored = connection.execute("select v::text from tool_versions v").fetchall()
    logs = "".join(file.read_text() for file in tmp_path_factory.getbasetemp().rglob("*.log"))
    assert SECRET not in "".join([*said, str(stored), logs])
    assert logs


def test_a_change_is_a_new_version_and_what_waits_finishes_on_its_own(
    admin: Admin, client: Client, tool: Tool, offer: Any
) -> None:
    made = admin.data("POST", "/admin/tools", 201, json=minimal(tool, timeout_seconds=60))
    path = f"/admin/tools/{made['id']}"
    admin.data("PATCH", path, json={"endpoint_url": f"{tool.url}/hang?after=60000"})
    blocked = [client.invoke("mine", {"text": "x"})["id"] for _ in range(10)]  # as many as the plan runs concurrently
    admin.data("PATCH", path, json={"endpoint_url": f"{tool.url}/echo"})
    waiting = client.invoke("mine", {"text": "waits"})
    assert (waiting["status"], waiting["tool"]["version"]) == ("queued", 3)
    assert admin.data("PATCH", path, json={"endpoint_url": f"{tool.url}/fail?status=500"})["version"] == 4
    assert admin.data("PATCH", path, json={"name": "Mine"})["version"] == 4, "nothing changed"
    admin.call("DELETE", path, 204)
    client.call("POST", "/tools/mine/invoke", 404, json={"input": {"text": "x"}})
    client.call("GET", "/tools/mine", 404)
    for each in blocked:
        client.invocations.cancel(each)
    ended = client.ended(waiting["id"])
    assert (ended["status"], ended["output"]["echo"]) == ("succeeded", {"text": "waits"})
    admin.call("DELETE", path, 204)
    admin.call("PATCH", path, 409, json={"name": "Back"})
    shown = admin.data("GET", path)
    assert (shown["is_active"], shown["is_available"], shown["archived_at"] is None) == (False, False, False)
    assert [t["id"] for t in admin.data("GET", "/admin/tools", params={"is_archived": "true"})] == [made["id"]]
    assert admin.done_to(made["id"])[-1]["action"] == "tool.archive"


def test_trying_a_tool_out_charges_nobody_and_tells_no_breaker(admin: Admin, client: Client, tool: Tool) -> None:
    made = admin.data("POST", "/admin/tools", 201, json=minimal(tool, example_input={"text": "four"}, is_active=False))
    path = f"/admin/tools/{made['id']}"
    tried = admin.data("POST", f"{path}/test")
    assert (tried["status"], tried["output"]["echo"], tried["tokens"]) == ("succeeded", {"text": "four"}, 9)
    assert (tried["error"], tried["http_status"], tried["version"]) == (None, 200, 1)
    assert len(tool.calls()) == 1
    problem = admin.call("POST", f"{path}/test", 422, json={"input": {"text": 4}}).json()
    assert (problem["code"], problem["errors"][0]["pointer"]) == ("tool_input_rejected", "/input/text")
    admin.data("PATCH", path, json={"endpoint_url": f"{tool.url}/fail?status=503", "example_input": None})
    admin.call("POST", f"{path}/test", 422)
    for _ in range(6):
        failed = admin.data("POST", f"{path}/test", json={"input": {"text": "x"}})
    assert (failed["status"], failed["error"]["code"], failed["http_status"]) == ("failed", "tool_failed", 503)
    assert admin.data("GET", f"{path}/breaker")["failures"] == 0
    assert admin.data("GET", "/admin/invocations") == []


def test_a_breaker_is_seen_and_reset(admin: Admin, client: Client, tool: Tool) -> None:
    made = admin.data("POST", "/admin/tools", 201, json=minimal(tool, endpoint_url=f"{tool.url}/fail?status=500"))
    path = f"/admin/tools/{made['id']}/breaker"
    closed = {"state": "closed", "failures": 0, "opened_at": None, "retry_at": None}
    assert admin.data("GET", path) == closed
    for job in [client.invoke("mine", {"text": "x"}) for _ in range(breakers.FAIL_MAX)]:
        client.ended(job["id"])
    opened = eventually("the breaker is seen open", 10, lambda: _open(admin, path))
    assert opened["opened_at"] < opened["retry_at"]
    assert admin.data("GET", f"/admin/tools/{made['id']}")["is_available"] is False
    assert admin.data("POST", f"{path}/reset") == closed
    assert eventually("it is closed everywhere", 10, lambda: admin.data("GET", path) == closed)
    assert breakers.state(UUID(made["id"])).state == "closed"
    assert admin.done_to(made["id"])[-1]["after"] == {"state": "closed"}
    admin.call("GET", f"/admin/tools/{admin.id}/breaker", 404)


def _open(admin: Admin, path: str) -> Any:
    shown = admin.data("GET", path)
    return shown if shown["state"] == "open" else None


LARGE = "is too large: compiled, it takes more than 1,000,000 bytes"


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("^(?!foo)", "uses look-around, which is not supported"),
        ("(?<=[(])a", "uses look-around, which is not supported"),
        (r"(a)\1", "uses a back-reference, which is not supported"),
        (r"(?P<n>a)(?P=n)", "uses a back-reference, which is not supported"),
        ("(?>a)b", "uses an atomic group, which is not supported"),
        ("^.{1,20000}$", LARGE),
        ("x{1,1000}{1,1000}", LARGE),
        ("a{2,1}", "is not valid in the syntax of the Rust crate regex"),
        ("[a", "is not valid in the syntax of the Rust crate regex"),
    ],
)
def test_what_is_wrong_with_a_pattern_is_said(admin: Admin, tool: Tool, pattern: str, why: str) -> None:
    bad = {"type": "object", "properties": {"a": {"items": {"pattern": pattern}}}}
    also: dict[str, Any] = {"patternProperties": {pattern: {}}}
    for name, schema in (("input_schema", bad), ("output_schema", bad), ("input_schema", also)):
        refused = admin.call("POST", "/admin/tools", 422, json=minimal(tool, **{name: schema})).json()
        [fault] = refused["errors"]
        assert fault["pointer"] == f"/{name}"
        assert f"The pattern {pattern} {why}" in fault["detail"]
    assert fault["detail"].startswith("At /patternProperties/")


@pytest.mark.parametrize("pattern", [r"\(?!", "[(?!]", r"\\1", r"[\p{L}]+$", "^a{0,1000}$", r"^[^\\1(?=]*$"])
def test_what_only_looks_like_it_is_taken(admin: Admin, tool: Tool, pattern: str) -> None:
    schema = {"type": "object", "properties": {"a": {"pattern": pattern}}}
    made = admin.data("POST", "/admin/tools", 201, json=minimal(tool, input_schema=schema))
    assert made["input_schema"] == schema

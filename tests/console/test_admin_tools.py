"""Tools, for admins: made from a URL, changed, compared, tested, archived; and their versions, for users."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest
from flask import Flask

from common import tools
from common.identity import audit, keys
from common.identity.audit import OPERATOR
from common.kit.paging import Window
from common.models.tools import ADAPTERS
from common.tools import breakers, editing
from tests import factories
from tests.console.conftest import Browser, Element, Trips, browser_of, check_page, read
from tests.console.test_admin import Failing
from tests.console.test_pages import HOSTILE
from tests.outside.tool import Tool
from web.console import differences, trees

SCHEMA = {
    "type": "object",
    "required": ["text"],
    "properties": {"text": {"type": "string", "description": "What it reads."}, "mode": {"enum": ["a", "b"]}},
}
PRICE = {"base_tokens": 2, "per_unit": {"pointer": "/units", "tokens": 0.5, "unit": "character"}, "max_tokens": 90}
LEAKING = "http://127.0.0.1:9/x?api_key=1"
PREFIX = "/console/admin/tools/"


def filled(form: Element) -> dict[str, str]:
    """What a form sends as it is."""
    sent = {}
    for each in form.all("input"):
        if each.attributes.get("type") != "checkbox" or "checked" in each.attributes:
            sent[each.attributes["name"]] = each.attributes.get("value", "")
    sent |= {each.attributes["name"]: each.text.removeprefix("\n") for each in form.all("textarea")}
    for choice in form.all("select"):
        chosen = [each for each in choice.all("option") if "selected" in each.attributes] or choice.all("option")
        sent[choice.attributes["name"]] = chosen[0].attributes.get("value", chosen[0].words)
    return sent


def editor(page: Element) -> dict[str, str]:
    """What the editor sends as it is."""
    return filled(page.one("form", class_="stack"))


def trial_of(page: Element) -> dict[str, str]:
    """What the form of the test call sends as it is."""
    [form] = [each for each in page.all("form") if each.attributes.get("action", "").endswith("/test")]
    return filled(form)


def made_id(path: str) -> UUID:
    return UUID(path.partition("?")[0].rpartition("/")[2])


# -- made, tested, seen --------------------------------------------------------------------------------------------


def test_a_tool_is_made_from_its_url_tested_and_seen_as_users_do(app: Flask, admin: Browser, tool: Tool) -> None:
    address = f"{tool.url}/echo"
    sent = editor(admin.get(f"/admin/tools/new?url={address}"))
    assert (sent["endpoint_url"], sent["name"], sent["slug"]) == (address, "Echo", "echo")
    secret = "s3cret-" + "x" * 20
    sent |= {"input_schema": json.dumps(SCHEMA), "example_input": '{"text": "abc"}', "headers": "Accept-Language: en"}
    sent |= {"auth/type": "bearer", "auth/secret": secret, "result_pointer": "/echo", "slug": ""}
    sent |= {"price/base_tokens": "2", "price/max_tokens": "90", "price/per_unit/tokens": "0.5"}
    sent |= {"price/per_unit/unit": "character", "price/per_unit/pointer": "/units"}
    preview = check_page(admin.send("/admin/tools/new/preview", sent))
    shown = preview.one("section", id="preview")
    assert shown.one("textarea", id="s/text").words == "abc"
    assert "What it reads." in shown.words
    assert editor(preview) == {**sent, "auth/secret": ""}
    paths = [admin.post("/admin/tools", sent) for _ in range(2)]
    assert paths[0] == paths[1] == f"/admin/tools/{made_id(paths[0])}?said=tool-created"
    made = tools.find("echo")
    assert (made.current.price.per_unit, made.current.secret()) == (PRICE["per_unit"], secret)
    page = admin.get(paths[0])
    tested = check_page(admin.send(f"/admin/tools/{made.id}/test", trial_of(page))).one("section", class_="notice good")
    for said in ("The test succeeded", "4 tokens", "200", "text abc"):
        assert said in tested.words
    assert tool.calls()[-1].headers["authorization"] == f"Bearer {secret}"
    customer = browser_of(app, factories.customer())
    assert customer.get("/tools/echo").one("textarea", id="s/text").words == "abc"
    [entry] = audit.entries(Window(5), action="tool.create").items
    assert secret not in json.dumps([entry.shown_after, page.words, preview.words])


def test_what_is_refused_is_what_the_api_refuses_beside_its_field(admin: Browser) -> None:
    sent = editor(admin.get("/admin/tools/new?url=http://127.0.0.1:9/x"))
    owner = factories.user(role="admin")
    headers = {"X-API-Key": keys.create(owner.user_id, "k", actor=OPERATOR, scopes=["admin"])[1]}
    whole = {"slug": "x", "name": "X", "endpoint_url": sent["endpoint_url"], "input_schema": {}}
    whole |= {"price": {"base_tokens": 1, "max_tokens": 1}}
    typed: list[tuple[dict[str, str], dict[str, Any], str]] = [
        ({"slug": "Not a slug"}, {"slug": "Not a slug"}, "slug"),
        ({"endpoint_url": LEAKING}, {"endpoint_url": LEAKING}, "endpoint_url"),
        ({"endpoint_url": "ftp://x"}, {"endpoint_url": "ftp://x"}, "endpoint_url"),
        ({"endpoint_url": "https://["}, {"endpoint_url": "https://["}, "endpoint_url"),
        ({"input_schema": '{"type": 5}'}, {"input_schema": {"type": 5}}, "input_schema"),
        ({"headers": "Cookie: a=1"}, {"headers": {"Cookie": "a=1"}}, "headers"),
        ({"auth/type": "header", "auth/secret": "x"}, {"auth": {"type": "header", "secret": "x"}}, "auth/header_name"),
        ({"price/max_tokens": "0"}, {"price": {"base_tokens": 1, "max_tokens": 0}}, "price/max_tokens"),
        ({"timeout_seconds": "601"}, {"timeout_seconds": 601}, "timeout_seconds"),
        ({"max_attempts": "some"}, {"max_attempts": "some"}, "max_attempts"),
        ({"fallback": "nothing"}, {"fallback": "nothing"}, "fallback"),
        ({"result_pointer": "x"}, {"result_pointer": "x"}, "result_pointer"),
    ]  # fmt: skip
    for changed, body, name in typed:
        given = {**sent, "slug": "x", "price/base_tokens": "1", **changed}
        page = admin.refused("/admin/tools", 422, _code(changed), given)
        assert page.one(id=name).attributes["aria-invalid"] == "true", name
        assert {key: editor(page)[key] for key in changed if key != "auth/secret"} == {
            key: value for key, value in changed.items() if key != "auth/secret"
        }
        answer = admin.http.post("/api/v1/admin/tools", json={**whole, **body}, headers=headers)
        [fault] = {each["pointer"].split("/")[1] for each in answer.get_json()["errors"]}
        assert (answer.status_code, answer.get_json()["code"], fault) == (422, _code(changed), name.split("/")[0])
    for changed, name in (
        ({"input_schema": "{"}, "input_schema"),
        ({"headers": "nothing"}, "headers"),
        ({"name": ""}, "name"),
    ):
        page = admin.refused("/admin/tools", 422, "validation_failed", {**sent, "price/base_tokens": "1", **changed})
        assert page.one(id=name).attributes["aria-invalid"] == "true"
    assert tools.everything(Window(5)).items == []


def _code(changed: dict[str, str]) -> str:
    return "url_refused" if changed.get("endpoint_url") in ("ftp://x", "https://[") else "validation_failed"


def test_a_slug_that_is_taken_and_a_preview_of_nonsense(admin: Browser) -> None:
    factories.tool(slug="echo")
    for url in ("https://[", "https://ex%E2%84%80mple.com", "https://[::1/%00"):
        assert editor(admin.get(f"/admin/tools/new?url={url}"))["slug"] == ""
    sent = {**editor(admin.get("/admin/tools/new?url=http://127.0.0.1:9/echo")), "price/base_tokens": "1"}
    assert editor(admin.refused("/admin/tools", 409, "slug_taken", sent))["slug"] == "echo"
    page = admin.refused("/admin/tools/new/preview", 422, "validation_failed", {**sent, "input_schema": "[]"})
    assert page.one(id="input_schema").attributes["aria-invalid"] == "true"
    answer = check_page(admin.send("/admin/tools/new/preview", {**sent, "input_schema": '{"type": "array"}'}))
    assert "A single field for JSON" in answer.one("section", id="preview").words


# -- changed, compared ---------------------------------------------------------------------------------------------


def test_the_editor_changes_nothing_by_itself_and_keeps_the_secret(admin: Browser) -> None:
    odd = {"type": "object", "properties": {"b": {"maximum": 1.0}, "a": {"const": "\u202e\n  x", "default": 1e300}}}
    auth = {"type": "header", "header_name": "X-Key", "secret": "hush-hush"}
    texts = {"description": HOSTILE[:40], "result_pointer": "/x", "fallback": factories.tool(input_schema=odd).slug}
    called = {"auth": auth, "headers": {"Accept-Language": "en"}, "idempotent": False}
    made = factories.tool(input_schema=odd, example_input={"b": 0}, price=PRICE, **texts, **called)
    page = admin.get(f"/admin/tools/{made.id}/edit")
    sent = editor(page)
    assert "hush-hush" not in str(sent)
    admin.post(f"/admin/tools/{made.id}", sent, to=f"{PREFIX}{made.id}?said=tool-changed")
    assert tools.get(made.id).current.version == 1
    admin.post(f"/admin/tools/{made.id}", {**sent, "timeout_seconds": "7", "category": "new"})
    now = tools.get(made.id)
    assert (now.current.version, now.current.timeout_seconds, now.category) == (2, 7, "new")
    assert (now.current.secret(), now.current.input_schema, now.fallback) == ("hush-hush", odd, texts["fallback"])
    [entry] = audit.entries(Window(5), action="tool.change").items
    assert {*(entry.after or {})} == {"timeout_seconds", "category", "version"}
    admin.post(f"/admin/tools/{made.id}", {**sent, "version": "2", "auth/type": "none"})
    assert tools.get(made.id).current.auth == {"type": "none"}


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_the_editor_of_every_kind_of_tool_changes_nothing_by_itself(admin: Browser, adapter: str) -> None:
    price: dict[str, Any] = {**PRICE, "metered": {"chars_per_unit": 4, "input": True}}
    streaming = adapter == "chat_completion"
    made = factories.tool(adapter=adapter, price=price, streaming=streaming, idle_seconds=12, method="PUT")
    admin.post(f"/admin/tools/{made.id}", editor(admin.get(f"/admin/tools/{made.id}/edit")))
    assert tools.get(made.id).current.version == 1


def test_what_another_admin_saved_meanwhile_is_not_overwritten_unseen(admin: Browser) -> None:
    made = factories.tool()
    sent = {**editor(admin.get(f"/admin/tools/{made.id}/edit")), "name": "Mine"}
    editing.change(OPERATOR, made.id, {"name": "Theirs"})
    page = admin.refused(f"/admin/tools/{made.id}", 412, "precondition_failed", sent)
    assert "version 2 is current" in page.words
    assert (tools.get(made.id).name, editor(page)["name"]) == ("Theirs", "Mine")
    admin.post(f"/admin/tools/{made.id}", editor(page))
    assert (tools.get(made.id).name, tools.get(made.id).current.version) == ("Mine", 3)


def test_versions_are_compared_and_users_are_told_what_concerns_them(app: Flask, admin: Browser) -> None:
    made = factories.tool(input_schema=SCHEMA)
    wider = {**SCHEMA, "properties": {**SCHEMA["properties"], "more": {"type": "integer"}}}  # type: ignore[dict-item]
    editing.change(OPERATOR, made.id, {"input_schema": wider, "timeout_seconds": 9})
    editing.change(OPERATOR, made.id, {"endpoint_url": "http://127.0.0.1:9/private", "name": "New"})
    rows = admin.get(f"/admin/tools/{made.id}/versions?limit=2").one("tbody").all("tr")
    assert [row.all("td")[4].words for row in rows] == ["endpoint url", "input schema, timeout seconds"]
    page = admin.get(f"/admin/tools/{made.id}/versions/3")
    assert "/private" in page.one("ins").words
    customer = browser_of(app, factories.customer())
    page = customer.get(f"/tools/{made.slug}/versions")
    assert [row.all("td")[4].words for row in page.one("tbody").all("tr")] == [
        "how it is called, or its name",
        "input schema, timeout seconds",
        "the first",
    ]
    page = customer.get(f"/tools/{made.slug}/versions/2")
    assert '+ "more": {' in [each.words for each in page.one("pre", class_="diff").all("ins")]
    assert "Compared with version 1" in page.words
    private = customer.get(f"/tools/{made.slug}/versions/3")
    assert "Price, schemas and limits are the same." in private.words
    assert "private" not in private.words
    for path in (f"/tools/{made.slug}/versions/4", f"/tools/{made.slug}/versions/0", "/tools/nothing/versions"):
        customer.get(path, 404)
    editing.change(OPERATOR, made.id, {"is_active": False})
    customer.get(f"/tools/{made.slug}/versions", 404)
    admin.get(f"/admin/tools/{made.id}/versions/4")


def test_a_difference_is_of_bounded_size() -> None:
    made = factories_version({"a": list(range(5_000))})
    other = factories_version({"a": list(range(1, 5_001))})
    [one] = differences.between(made, other, ["input_schema"])
    assert (one.before, one.after, [*one.lines]) == ("5,004 lines", "5,004 lines", [])
    few, many = factories_version({"-- a": "x"}), factories_version({f"{n}": "y" * 50 for n in range(1_000)})
    [one] = differences.between(few, many, ["input_schema"])
    assert sum(len(line.text) for line in one.lines) < differences.MOST_CHARS + 100
    assert ("-", '  "-- a": "x"') in [(line.mark, line.text) for line in one.lines]


def factories_version(schema: dict[str, Any]) -> tools.Version:
    price = tools.Price(1, None, 1)
    fixed: dict[str, Any] = {"id": UUID(int=1), "tool_id": UUID(int=1), "slug": "t", "version": 1, "price": price}
    calls: dict[str, Any] = {"adapter": "http_json", "method": "POST", "endpoint_url": "http://x", "headers": {}}
    limits: dict[str, Any] = {"timeout_seconds": 1, "max_attempts": 1, "idempotent": False, "result_pointer": None}
    rest: dict[str, Any] = {"auth": {}, "encrypted_secret": None, "output_schema": None, "example_input": None}
    return tools.Version(**fixed, **calls, **limits, **rest, input_schema=schema)


# -- listed, tested, reset, archived -------------------------------------------------------------------------------


def test_tools_are_listed_by_what_became_of_them(admin: Browser, trips: Trips) -> None:
    assert "No tools yet" in admin.get("/admin/tools").words
    active, *_ = [factories.tool(name=HOSTILE * 2) for _ in range(50)]
    hidden, gone = factories.tool(is_active=False, category="odd"), factories.tool()
    editing.archive(OPERATOR, gone.id)
    admin.get("/admin/tools?limit=50")
    trips.clear()
    page = admin.get("/admin/tools?limit=50")
    assert len(trips.statements) <= 5, trips.statements
    assert len(page.one("tbody").all("tr")) == 50
    assert page.one("a", rel="next")
    slugs = {
        state: [
            row.one("code").words for row in admin.get(f"/admin/tools?limit=100&state={state}").one("tbody").all("tr")
        ]
        for state in ("active", "inactive", "archived")
    }
    assert (slugs["inactive"], slugs["archived"]) == ([hidden.slug], [gone.slug])
    assert active.slug in slugs["active"] and len(slugs["active"]) == 50
    assert "No tool matches." in admin.get("/admin/tools?q=odd&category=other").words
    for each in (active, hidden, gone):
        admin.get(f"/admin/tools/{each.id}")
    admin.get(f"/admin/tools/{UUID(int=5)}", 404)


def test_a_test_call_says_why_it_failed_and_keeps_the_input(admin: Browser, tool: Tool, db: None) -> None:
    made = factories.tool(endpoint_url=f"{tool.url}/fail?status=503", input_schema=SCHEMA)
    path = f"/admin/tools/{made.id}/test"
    sent = {**trial_of(admin.get(f"/admin/tools/{made.id}")), "s/text": "kept <b>"}
    page = check_page(admin.send(path, sent))
    told = page.one("section", class_="notice bad").words
    assert "The test failed tool_failed" in told
    assert "nothing: failures are free" in told and "503" in told
    assert trial_of(page)["s/text"] == "kept <b>"
    as_json = check_page(admin.send(path, {**sent, "show": "json"}))
    assert json.loads(trial_of(as_json)["raw"]) == {"text": "kept <b>"}
    assert len(tool.calls()) == 1
    wrong = admin.refused(path, 422, "tool_input_rejected", {**sent, "s/text": "", "j/mode": '"c"'})
    assert trial_of(wrong)["j/mode"] == '"c"'
    assert len(tool.calls()) == 1


def test_a_breaker_is_closed_and_a_tool_archived(app: Flask, admin: Browser) -> None:
    made = factories.tool()
    for _ in range(breakers.FAIL_MAX):
        with pytest.raises(Failing), breakers.calling(made.id, 1.0):
            raise Failing
    assert admin.get(f"/admin/tools/{made.id}").all("span", class_="status is-open")
    admin.post(f"/admin/tools/{made.id}/breaker/reset", to=f"{PREFIX}{made.id}?said=breaker-reset")
    assert breakers.state(made.id).state == "closed"
    assert "for good" in admin.get(f"/admin/tools/{made.id}/archive").one("h1").words
    admin.post(f"/admin/tools/{made.id}/archive", to=f"{PREFIX}{made.id}?said=tool-archived")
    page = admin.get(f"/admin/tools/{made.id}")
    assert f"{PREFIX}{made.id}/edit" not in [each.attributes["href"] for each in page.all("a")]
    browser_of(app, factories.customer()).get(f"/tools/{made.slug}", 404)
    sent = editor(admin.get(f"/admin/tools/{made.id}/edit"))
    admin.refused(f"/admin/tools/{made.id}", 409, "conflict", {**sent, "name": "Again"})
    actions = {entry.action for entry in audit.entries(Window(9), target=str(made.id)).items}
    assert actions == {"tool.create", "tool.breaker_reset", "tool.archive"}


# -- imported ------------------------------------------------------------------------------------------------------


def document(url: str, operations: int = 3) -> str:
    ok = {"200": {"description": "", "content": {"application/json": {}}}}
    paths: dict[str, Any] = {
        f"/echo/{n}": {"get": {"operationId": f"op{n}", "responses": ok}} for n in range(operations)
    }
    paths["/of/{id}"] = {"get": {"operationId": "withPath", "responses": ok}}
    root = {"openapi": "3.0.3", "info": {"title": "<b>T", "version": "1"}, "servers": [{"url": url}], "paths": paths}
    return json.dumps(root)


def test_operations_are_looked_at_chosen_and_become_tools(admin: Browser, tool: Tool) -> None:
    sent = {**filled(admin.get("/admin/tools/import").one("form", class_="stack")), "document": document(tool.url)}
    page = check_page(admin.send("/admin/tools/import/preview", sent))
    assert [row.all("td")[0].words for row in page.one("tbody").all("tr")] == [
        "op0op0",
        "op1op1",
        "op2op2",
        "with-pathwithPath",
    ]
    chosen = {**sent, "create": ["op0", "op2"]}
    refused = admin.refused("/admin/tools/import", 422, "validation_failed", chosen)
    assert refused.one(id="price/base_tokens").attributes["aria-invalid"] == "true"
    ticked = [each for each in refused.all("input", name="create") if "checked" in each.attributes]
    assert [each.attributes["value"] for each in ticked] == ["op0", "op2"]
    for _ in range(2):
        path = admin.post("/admin/tools/import", {**chosen, "price/base_tokens": "3"})
        assert path == "/admin/tools?said=tools-imported"
    found = tools.everything(Window(9)).items
    assert {(each.slug, each.current.price.max_tokens) for each in found} == {("op0", 3), ("op2", 3)}
    blocked = {**sent, "create": "with-path", "price/base_tokens": "3", "once": "another-key"}
    page = admin.refused("/admin/tools/import", 422, "validation_failed", blocked)
    assert "Ticked tools: " in page.one("div", id="summary").words
    wrong = sent["document"].replace('"responses"', '"parameters": [{"in": [], "name": {}}], "responses"', 1)
    page = check_page(admin.send("/admin/tools/import/preview", {**sent, "document": wrong}))
    assert "in` and `name` must be strings" in page.one("tbody").words
    page = admin.refused("/admin/tools/import/preview", 422, "validation_failed", {**sent, "document": "[]"})
    assert page.one(id="document").attributes["aria-invalid"] == "true"


def test_of_many_operations_those_that_are_ticked_or_looked_for_are_shown(admin: Browser, tool: Tool) -> None:
    def shown(**asked: str) -> list[str]:
        sent = {"document": document(tool.url, 80), **asked}
        answer = read(admin.send("/admin/tools/import/preview", sent).text)  # as large as its document
        assert "The first 60 are shown" in answer.words or "find" in asked
        return [each.attributes["value"] for each in answer.all("input", name="create")]

    assert shown(find="OP7") == ["op7", *(f"op7{n}" for n in range(10))]
    assert shown(create="op79") == ["op79", *(f"op{n}" for n in range(59))]


# -- bounded trees -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [{"a": list(range(100_000))}, [["x" * 10_000] * 500] * 50, {str(n): {"b": n} for n in range(20_000)}],
    ids=["long", "wide", "many"],
)
def test_a_tree_is_of_bounded_size_and_says_what_it_leaves_out(value: Any) -> None:
    def nodes(node: trees.Node) -> int:
        return 1 + sum(map(nodes, node.inside))

    root = trees.of(value)
    assert nodes(root) <= trees.MOST_CHARS / 70 + 2
    waiting, more = [root], 0
    while waiting:
        node = waiting.pop()
        more, waiting = more + node.more, [*waiting, *node.inside]
    assert more > 0


def test_a_tree_has_every_kind_of_value() -> None:
    deep: Any = "end"
    for _ in range(30):
        deep = [deep]
    root = trees.of({"a": None, "b": True, "c": 1.5, "d": "", "e": [], "f": {"g": "x"}, "deep": deep})
    assert [(each.label, each.said) for each in root.inside[:5]] == [
        ("a", "null"), ("b", "true"), ("c", "1.5"), ("d", ""), ("e", "[]"),
    ]  # fmt: skip
    assert root.inside[5].inside[0].said == "x"


def test_the_api_has_what_these_pages_show(app: Flask, db: None) -> None:
    owner, customer = factories.user(role="admin"), factories.keyed(factories.customer(), 500)
    headers = {"X-API-Key": keys.create(owner.user_id, "k", actor=OPERATOR, scopes=["admin"])[1]}
    made = factories.tool(headers={"Accept-Language": "en"})
    run = customer.submit(made, input={"text": "x"})
    editing.change(OPERATOR, made.id, {"is_active": False})
    http = app.test_client()

    def data(path: str, given: dict[str, str] = headers, status: int = 200) -> Any:
        answer = http.get(f"/api/v1/admin{path}", headers=given)
        assert answer.status_code == status, answer.text
        return answer.get_json().get("data")

    versions = data(f"/tools/{made.id}/versions")
    assert [(each["version"], each["is_current"], each["headers"]) for each in versions] == [
        (2, True, {"Accept-Language": "en"}), (1, False, {"Accept-Language": "en"}),
    ]  # fmt: skip
    [key] = data(f"/users/{customer.user_id}/api-keys")
    assert (key["name"], key["allowance"]["held"], "key" in key) == ("a key", 10, False)
    shown = data(f"/invocations/{run}")
    assert (shown["id"], shown["user_id"], shown["input"]) == (str(run), str(customer.user_id), {"text": "x"})
    for path in (f"/tools/{made.id}/versions", f"/users/{customer.user_id}/api-keys", f"/invocations/{run}"):
        data(path, {"X-API-Key": customer.key}, 403)
        data(path.replace(path.split("/")[2], str(UUID(int=7))), status=404)

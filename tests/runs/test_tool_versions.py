"""What the catalogue says of a tool: all its versions, how long it took, and when the caller used it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from common import invocations, usage
from common.identity.audit import OPERATOR
from common.invocations import Completion
from common.kit import db as database
from common.models.tools import ToolVersion
from common.tools import ListedTool, editing
from tests import factories
from tests.runs.conftest import Api
from tests.usage.ledger import rolled_up

PRICE = {"base_tokens": 2, "max_tokens": 20}


def changed(tool: ListedTool, **changes: Any) -> ListedTool:
    return editing.change(OPERATOR, tool.id, changes)


def ended(customer: factories.Customer, tool: ListedTool, milliseconds: int = 3, cost: int = 1) -> None:
    customer.submit(tool)
    worker = replace(factories.worker(), take_next=False)
    task = factories.taken(worker)
    end = Completion("succeeded", output={}, cost=cost, http_status=200, duration_ms=milliseconds)
    invocations.complete(task, end, worker)


def test_every_version_is_listed_newest_first_with_its_schemas_and_price(api: Api) -> None:
    tool = factories.tool(example_input={"a": 1})
    for number in range(2, 6):
        changed(tool, price={"base_tokens": number, "max_tokens": 20}, output_schema={"title": f"v{number}"})
    listed = api.all(f"/tools/{tool.slug}/versions")
    assert [each["version"] for each in listed] == [5, 4, 3, 2, 1]
    assert [each["is_current"] for each in listed] == [True, False, False, False, False]
    assert [each["price"]["base_tokens"] for each in listed] == [5, 4, 3, 2, 1]
    assert [each["output_schema"] for each in listed] == [*({"title": f"v{n}"} for n in (5, 4, 3, 2)), None]
    for each in listed:
        shown = api.get(f"/tools/{tool.slug}?version={each['version']}")
        assert {name: shown[name] for name in each.keys() & shown.keys()} == {
            name: value for name, value in each.items() if name in shown
        }
        assert shown["slug"] == tool.slug
    assert api.get(f"/tools/{tool.id}")["version"] == 5


def test_an_invocations_version_is_found_after_the_tool_was_archived(api: Api) -> None:
    tool, unused = factories.tool(), factories.tool()
    named = api.submit(tool)["tool"]
    changed(tool, price=PRICE)
    for each in (tool, unused):
        editing.archive(OPERATOR, each.id)
    assert api.problem("GET", f"/tools/{tool.slug}", 404)["code"] == "not_found"
    shown = api.get(f"/tools/{named['id']}?version={named['version']}")
    assert (shown["version"], shown["price"]["base_tokens"], shown["is_available"]) == (1, 1, False)
    assert [each["version"] for each in api.get(f"/tools/{named['slug']}/versions")] == [2, 1]
    stranger = api.of(factories.customer())
    for path in (f"/tools/{tool.slug}", f"/tools/{unused.slug}"):
        asked = stranger if path.endswith(tool.slug) else api
        assert asked.problem("GET", f"{path}/versions", 404)["code"] == "not_found"
        assert asked.problem("GET", f"{path}?version=1", 404)["code"] == "not_found"


@pytest.mark.parametrize(
    ("query", "status"),
    [("version=2", 404), ("version=0", 422), ("version=-1", 422), ("version=x", 422), ("version=1&version=1", 422)],
)
def test_a_version_that_is_not_there(api: Api, query: str, status: int) -> None:
    problem = api.problem("GET", f"/tools/{factories.tool().slug}?{query}", status)
    assert problem["code"] == ("not_found" if status == 404 else "validation_failed")
    assert api.problem("GET", "/tools/nobody/versions", 404)["code"] == "not_found"


def test_a_page_of_versions_is_bounded_in_bytes(api: Api) -> None:
    tool = factories.tool()
    for number in range(4):
        texts = [str(each) * 10 for each in range(2_500)]
        changed(tool, input_schema={"enum": [number, *texts]}, output_schema={"enum": [number, *texts]})
    large = {"examples": ["x" * 1_000_000]}
    with database.transaction() as session:  # more than the API takes, as an older release may have
        session.add(ToolVersion(**_columns(session, tool, 6), input_schema=large))
    pages, cursor = [], ""
    while True:
        page = api.call("GET", f"/tools/{tool.slug}/versions?limit=100{cursor}").get_json()
        pages.append([each["version"] for each in page["data"]])
        if not page["meta"]["has_more"]:
            break
        cursor = f"&cursor={page['meta']['next_cursor']}"
    assert [number for page in pages for number in page] == [6, 5, 4, 3, 2, 1]
    assert pages[0] == [6]


def _columns(session: Any, tool: ListedTool, number: int) -> dict[str, Any]:
    row = session.get(ToolVersion, tool.current.id)
    names = {column.name for column in ToolVersion.__table__.columns} - {"id", "version", "created_at", "input_schema"}
    return {**{name: getattr(row, name) for name in names}, "version": number}


# -- latencies, and the last use ------------------------------------------------------------------------------------


def test_latencies_are_those_of_all_accounts_in_seven_days_from_the_rollups(api: Api) -> None:
    tool, quiet = factories.tool(), factories.tool()
    others = factories.customer()
    for number in range(1, 21):
        ended(others if number % 2 else api.customer, tool, milliseconds=number * 10)
    assert api.get(f"/tools/{tool.slug}")["latency_p50_ms"] is None
    rolled_up()
    assert usage.refresh_latencies() == 1
    shown = {each["slug"]: each for each in api.get("/tools")}[tool.slug]
    assert shown["latency_p50_ms"] == pytest.approx(100, rel=0.021)
    assert shown["latency_p95_ms"] == pytest.approx(190, rel=0.021)
    assert api.get(f"/tools/{quiet.slug}")["latency_p95_ms"] is None
    assert api.get(f"/tools/{tool.slug}")["latency_p95_ms"] == shown["latency_p95_ms"]


def test_calls_of_more_than_seven_days_ago_are_forgotten(api: Api) -> None:
    tool = factories.tool()
    ended(api.customer, tool, milliseconds=50)
    rolled_up()
    assert usage.refresh_latencies() == 1
    for hours, known in ((7 * 24 - 2, True), (7 * 24 + 2, False)):
        long_ago = datetime.now(UTC) - timedelta(hours=hours)
        with database.transaction() as session:
            moved = "update usage_rollups set starts_at = date_trunc(grain, cast(:at as timestamptz), 'UTC')"
            session.execute(text(f"{moved}, first_at = :at, last_at = :at"), {"at": long_ago})
        assert usage.refresh_latencies() == int(known)
        assert (api.get(f"/tools/{tool.slug}")["latency_p50_ms"] is not None) is known


def test_the_last_use_is_the_callers_own(api: Api) -> None:
    tool, other = factories.tool(), factories.tool()
    factories.customer().submit(tool)
    assert {each["last_used_at"] for each in api.get("/tools")} == {None}
    api.submit(tool)
    last = api.submit(tool)
    seen = {each["slug"]: each["last_used_at"] for each in api.get("/tools")}
    assert seen == {tool.slug: last["created_at"], other.slug: None}
    assert api.get(f"/tools/{tool.slug}")["last_used_at"] == last["created_at"]

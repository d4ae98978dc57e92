"""What failed, by tool and error, and what running it again can cost at most."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import quote
from uuid import UUID

import psycopg
import pytest

from common import invocations
from common.identity.audit import OPERATOR
from common.invocations import Completion
from common.tools import ListedTool, breakers, editing
from tests import factories
from tests.factories import BAD, GOOD
from tests.runs.conftest import Api, Json

TIMEOUT = Completion("failed", error_code="tool_timeout", error_detail="late", duration_ms=3)


def ended(api: Api, tool: ListedTool, end: Completion) -> Json:
    made, options = api.submit(tool), replace(factories.worker(), take_next=False)
    invocations.complete(factories.taken(options), end, options)
    return api.shown(made)


def test_groups_by_tool_and_code(api: Api) -> None:
    tools = [factories.tool(), factories.tool()]
    groups: dict[tuple[str, str], list[Json]] = defaultdict(list)
    for tool, end in [(0, BAD), (1, BAD), (0, TIMEOUT), (0, BAD), (1, GOOD), (1, BAD), (0, BAD)]:
        made = ended(api, tools[tool], end)
        if made["error"]:
            groups[made["tool"]["slug"], made["error"]["code"]].append(made)
    api.post(f"/invocations/{api.submit(tools[0])['id']}/cancel")
    ended(api.of(factories.customer()), tools[0], BAD)
    editing.change(OPERATOR, tools[0].id, {"price": {"base_tokens": 1, "per_unit": None, "max_tokens": 33}})
    editing.archive(OPERATOR, tools[1].id)

    found = api.all("/invocations/failures")
    assert [group["example_id"] for group in found] == sorted((of[-1]["id"] for of in groups.values()), reverse=True)
    for group in found:
        of = groups.pop((group["tool"]["slug"], group["code"]))
        assert group["count"] == len(of)
        assert (group["first"], group["last"]) == (of[0]["created_at"], of[-1]["created_at"])
        assert group["tool"] == {name: of[0]["tool"][name] for name in ("id", "slug", "name")}
        held = 33 * len(of) if group["tool"]["slug"] == tools[0].slug else None
        assert group["max_rerun_tokens"] == held, "at today's price; a tool that is gone cannot be called"
    assert groups == {}


def test_running_them_again_costs_no_more(api: Api) -> None:
    tool = factories.tool()
    made = [ended(api, tool, BAD) for _ in range(3)]
    (group,) = api.get("/invocations/failures")
    again = [api.post(f"/invocations/{each['id']}/rerun", {}, 202) for each in made]
    assert sum(each["billing"]["held"] for each in again) == group["max_rerun_tokens"]


def test_what_a_fallback_ran_is_priced_as_what_was_asked_for(api: Api) -> None:
    """A repetition goes there again, and its fallback may take over again: the dearer of both counts."""
    other = factories.tool(price={"base_tokens": 1, "per_unit": None, "max_tokens": 7})
    dear, cheap = (
        factories.tool(fallback=other.slug, price={"base_tokens": 1, "per_unit": None, "max_tokens": most})
        for most in (40, 5)
    )
    for tool in (dear, cheap):
        breakers._breaker(str(tool.id)).open()
    made = [ended(api, tool, BAD) for tool in (dear, cheap, other)]
    (group,) = api.get("/invocations/failures")
    assert (group["tool"]["slug"], group["count"], group["max_rerun_tokens"]) == (other.slug, 3, 40 + 7 + 7)
    prices = invocations.rerun_prices(api.customer.user_id, [UUID(each["id"]) for each in made])
    assert [(price.tool, price.max_tokens) for price in prices] == [(dear.name, 40), (other.name, 7), (cheap.name, 7)]
    breakers.close(dear.id)
    again = [api.post(f"/invocations/{each['id']}/rerun", {}, 202) for each in made]
    assert [each["billing"]["held"] for each in again] == [40, 7, 7]
    editing.archive(OPERATOR, dear.id)
    assert api.get("/invocations/failures")[0]["max_rerun_tokens"] == 7 + 7, "what cannot be run again costs nothing"
    editing.archive(OPERATOR, cheap.id)
    editing.archive(OPERATOR, other.id)
    assert api.get("/invocations/failures")[0]["max_rerun_tokens"] is None


def test_within_a_time(api: Api, database_url: str) -> None:
    made = [ended(api, factories.tool(), BAD) for _ in range(3)]
    with psycopg.connect(database_url) as owner:
        owner.execute("set session_replication_role = replica")
        owner.execute(
            "update invocations set created_at = created_at - interval '45 minutes' where id = %s", (made[0]["id"],)
        )
    times = [datetime.fromisoformat(api.shown(each)["created_at"]) for each in made]

    def examples(**between: datetime) -> list[str]:
        query = "&".join(f"{name}={quote(moment.isoformat())}" for name, moment in between.items())
        return [group["example_id"] for group in api.get(f"/invocations/failures?{query}")]

    ids = [each["id"] for each in made]
    assert examples() == ids[::-1]
    assert examples(**{"from": times[1]}) == ids[:0:-1]
    assert examples(to=times[1]) == ids[:1]
    assert examples(**{"from": times[0], "to": times[2]}) == ids[1::-1]
    assert examples(to=datetime.now(UTC) - timedelta(days=1)) == []


@pytest.mark.parametrize("query", ["from=2027-01-02T00:00:00Z&to=2027-01-01T00:00:00Z", "tool=x", "from=yesterday"])
def test_queries_that_are_refused(api: Api, query: str) -> None:
    assert api.problem("GET", f"/invocations/failures?{query}", 422)["code"] == "validation_failed"

"""Invocations that are not to start before a time: held at once, without a slot, and through whatever happens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text

from common import budgets, invocations, subscriptions
from common.identity.audit import OPERATOR
from common.invocations import sweeping
from common.kit import clock
from common.kit import redis as redis_kit
from common.operations import ledger
from common.tools import editing
from tests import factories
from tests.budgets import world
from tests.client import Client
from tests.factories import GOOD
from tests.plain import plain
from tests.runs.conftest import Api, Json
from tests.subscriptions.accounts import began


def ahead(**delta: float) -> str:
    return clock.rfc3339(datetime.now(UTC) + timedelta(**delta))


def instant(shown: Any) -> datetime:
    return datetime.fromisoformat(shown)


def comes(made: Json, seconds: float = 3700) -> None:
    """So much time passes, for this one."""
    world.shift("due_at", [UUID(made["id"])], -seconds)


def sweep() -> None:
    sweeping.place_waiting([])


def gate(api: Api) -> tuple[int, int]:
    fields = budgets.gate(api.customer.user_id, api.customer.period_id)
    return int(fields["held"]), int(fields["active"])


def test_it_waits_for_its_time_and_nobody_waits_for_it(api: Api) -> None:
    tool, when = factories.tool(), ahead(hours=1)
    made = api.submit(tool, not_before=when)
    assert (made["status"], made["not_before"], made["billing"]["held"]) == ("queued", when, 10)
    assert (made["waiting"]["reason"], made["waiting"]["until"]) == ("scheduled", when)
    assert instant(made["expires_at"]) == instant(when) + timedelta(days=1), "it counts from then"
    shown = api.shown(made)
    assert {**shown, "poll_after_ms": 0} == {**made, "poll_after_ms": 0}
    assert gate(api) == (10, 0), "held, and in no slot"

    other = api.submit(tool)
    assert other["waiting"]["reason"] == "queue", "the plan's only slot is free"
    sweep()
    options = factories.worker()
    task = factories.taken(options)
    assert task.id == UUID(other["id"])
    assert invocations.complete(task, GOOD, options) is None, "its time has not come"
    assert invocations.claim(options) is None

    comes(made)
    assert api.shown(made)["waiting"]["reason"] != "scheduled"
    sweep()
    task = factories.taken(options)
    assert task.id == UUID(made["id"])
    invocations.complete(task, GOOD, options)
    ended = api.shown(made)
    assert (ended["status"], ended["waiting"], ended["billing"]["charged"]) == ("succeeded", None, 1)
    assert ledger.verify().differences == ()


def test_a_neighbour_that_ends_starts_it_once_its_time_has_come(api: Api) -> None:
    tool, options = factories.tool(), factories.worker()
    made, other = api.submit(tool, not_before=ahead(hours=1)), api.submit(tool)
    task = factories.taken(options)
    assert task.id == UUID(other["id"])
    comes(made)
    following = invocations.complete(task, GOOD, options)
    assert following is not None
    assert following.id == UUID(made["id"])


def test_the_hold_counts_from_now_on(api: Api) -> None:
    poor = api.of(factories.customer(15))
    tool = factories.tool()
    made = poor.submit(tool, not_before=ahead(days=30))
    refused = poor.problem("POST", f"/tools/{tool.slug}/invoke", 402, json={"input": {}})
    assert refused["available"] == 5
    assert poor.post(f"/invocations/{made['id']}/cancel")["status"] == "canceled"
    poor.submit(tool)
    assert ledger.verify().differences == ()


def test_through_a_wiped_redis(api: Api) -> None:
    tool = factories.tool()
    made = api.submit(tool, not_before=ahead(hours=1))
    redis_kit.client().flushall()
    other = api.submit(tool)
    assert gate(api) == (20, 1), "rebuilt from the rows: both are held, one has the slot"
    assert api.shown(made)["waiting"]["reason"] == "scheduled"
    comes(made)
    invocations.complete(factories.taken(factories.worker()), GOOD, replace(factories.worker(), take_next=False))
    redis_kit.client().flushall()
    sweep()
    assert factories.taken(factories.worker()).id == UUID(made["id"])
    assert api.shown(other)["status"] == "succeeded"
    assert ledger.verify().differences == ()


def test_through_the_end_of_the_period(api: Api) -> None:
    """It stays with the period that held it: nothing of the next one is held or charged."""
    made = api.submit(factories.tool(), not_before=ahead(hours=1))
    began(api.customer.user_id, datetime.now(UTC) - timedelta(days=32))
    assert subscriptions.renew_due() == 1
    tokens = api.get("/subscriptions/current")["tokens"]
    assert (tokens["held"], tokens["charged"]) == (0, 0)
    comes(made)
    sweep()
    invocations.complete(factories.taken(factories.worker()), GOOD, replace(factories.worker(), take_next=False))
    assert api.shown(made)["status"] == "succeeded"
    assert api.get("/subscriptions/current")["tokens"]["charged"] == 0
    charged = {(row.period_id, row.tokens_used) for row in plain(text("select * from usage_logs"), {})}
    assert charged == {(api.customer.period_id, 1)}
    assert ledger.verify().differences == ()


def test_the_end_of_the_subscription_does_not_take_it_back(api: Api) -> None:
    """As of everything that was accepted."""
    made = api.submit(factories.tool(), not_before=ahead(hours=1))
    subscriptions.cancel(api.customer.user_id, at_period_end=False)
    comes(made)
    sweep()
    assert factories.taken(factories.worker()).id == UUID(made["id"])


def test_it_expires_after_its_time(api: Api) -> None:
    made = api.submit(factories.tool(), not_before=ahead(hours=1), expires_in=60)
    assert instant(made["expires_at"]) == instant(made["not_before"]) + timedelta(seconds=60)
    sweeping.expire()
    assert api.shown(made)["status"] == "queued"
    world.shift("expires_at", [UUID(made["id"])], -3700)
    sweeping.expire()
    assert api.shown(made)["status"] == "expired"
    assert gate(api) == (0, 0)


def test_waiting_for_it_is_answered_in_time(client: Client, offer: Callable[..., str]) -> None:
    """And it starts by itself when its time has come."""
    slug = offer()
    late = client.invoke(slug, {"text": "x"}, not_before=ahead(days=1), wait=1)
    assert late["waiting"]["reason"] == "scheduled"
    made = client.invoke(slug, {"text": "x"}, not_before=ahead(seconds=2))
    ended = client.ended(made["id"])
    assert ended["status"] == "succeeded"
    assert instant(ended["started_at"]) >= instant(made["not_before"])


def test_a_time_in_the_past_is_now(api: Api) -> None:
    made = api.submit(factories.tool(), not_before=ahead(hours=-1), expires_in=100)
    assert instant(made["expires_at"]) == instant(made["created_at"]) + timedelta(seconds=100)
    assert made["waiting"]["reason"] == "slot"
    comes(made, 5)
    sweep()
    assert factories.taken(factories.worker()).id == UUID(made["id"])


def test_a_repeat_is_recognised_even_when_the_time_has_come(api: Api) -> None:
    tool, key = factories.tool(), {"Idempotency-Key": "later"}
    when = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    body: Json = {"input": {}, "not_before": when.isoformat(), "priority": 1, "version": 1}
    path = f"/tools/{tool.slug}/invoke"
    made = api.post(path, body, 202, headers=key)
    same = {**body, "not_before": when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}
    editing.change(OPERATOR, tool.id, {"timeout_seconds": 29})
    assert api.post(path, same, 202, headers=key)["id"] == made["id"], "of a version that is no more"
    for change in ({"not_before": ahead(hours=2)}, {"priority": 0}, {"version": 2}):
        assert api.problem("POST", path, 422, json={**body, **change}, headers=key)["code"] == "idempotency_key_reused"
    for missing in ("not_before", "priority", "version"):
        other = {name: value for name, value in body.items() if name != missing}
        assert api.problem("POST", path, 422, json=other, headers=key)["code"] == "idempotency_key_reused"
    assert len(api.all("/invocations")) == 1


# -- version -------------------------------------------------------------------------------------------------------


def test_only_of_this_version(api: Api) -> None:
    tool = factories.tool()
    assert api.submit(tool, version=1)["tool"]["version"] == 1
    editing.change(OPERATOR, tool.id, {"input_schema": {"type": "object", "required": ["new"]}})
    refused = api.problem("POST", f"/tools/{tool.slug}/invoke", 409, json={"input": {}, "version": 1})
    assert (refused["code"], refused["version"]) == ("conflict", 2), "before the input, which was for another"
    assert api.submit(tool, {"new": 1}, version=2)["tool"]["version"] == 2
    assert gate(api)[0] == 20, "a refusal leaves no trace"


def test_in_a_batch_each_item_for_itself(api: Api) -> None:
    tool, when = factories.tool(), ahead(days=2)
    items: list[Json] = [
        {"not_before": when, "priority": -1, "version": 1},
        {"version": 7},
        {"not_before": ahead(days=31)},
        {"priority": 2},
    ]
    answer = api.call(
        "POST", "/invocations/batch", 207, json={"items": [{"tool": tool.slug, "input": {}, **item} for item in items]}
    ).get_json()["data"]
    assert [each["status"] for each in answer] == [202, 409, 422, 422]
    first = answer[0]["invocation"]
    assert (first["not_before"], first["priority"], first["waiting"]["reason"]) == (when, -1, "scheduled")
    assert [each["problem"]["errors"][0]["pointer"] for each in answer[2:]] == ["/not_before", "/priority"]


NO_TIME: list[Any] = [
    *["", "soon", "2027-01-31", "2027-01-31T12:00:00", "2027-02-30T00:00:00Z", "9999-12-31T23:59:59-23:59"],
    *[0, True, None, [], "9999-12-31T23:59:59Z"],
]
WRONG: list[tuple[str, Any]] = [
    *(("/not_before", value) for value in NO_TIME),
    *(("/version", value) for value in (0, -1, 1.5, "1", True, None, 2**31)),
    *(("/priority", value) for value in (2, -2, 0.5, "1", True, None)),
]


def test_what_makes_no_sense_is_refused(api: Api) -> None:
    tool = factories.tool()
    for pointer, value in WRONG:
        body = {"input": {}, pointer.removeprefix("/"): value}
        refused = api.problem("POST", f"/tools/{tool.slug}/invoke", 422, json=body)
        assert [fault["pointer"] for fault in refused["errors"]] == [pointer], value
    assert api.all("/invocations") == []


def test_a_quote_and_a_rerun_take_none_of_them(api: Api) -> None:
    tool = factories.tool()
    made = api.submit(tool)
    for name, value in (("not_before", ahead(hours=1)), ("version", 1), ("priority", 1)):
        for path in (f"/tools/{tool.slug}/quote", f"/invocations/{made['id']}/rerun"):
            refused = api.problem("POST", path, 422, json={"input": {}, name: value})
            assert [fault["pointer"] for fault in refused["errors"]] == [f"/{name}"]


# -- priority ------------------------------------------------------------------------------------------------------


def order_of(api: Api, first: Json) -> list[str]:
    """The ids in which a worker comes to them, one after the other."""
    options, taken = factories.worker(), []
    task = factories.taken(options)
    assert task.id == UUID(first["id"])
    while (task := invocations.complete(task, GOOD, options)) is not None:  # type: ignore[assignment]
        taken.append(str(task.id))
    assert ledger.verify().differences == ()
    return taken


def test_among_ones_own_the_urgent_come_first(api: Api) -> None:
    tool = factories.tool()
    first = api.submit(tool)
    made = [(priority, api.submit(tool, priority=priority)) for priority in (0, -1, 1, 0, 1, -1)]
    assert [each["priority"] for _, each in made] == [0, -1, 1, 0, 1, -1]
    later = api.submit(tool, priority=1, not_before=ahead(hours=1))
    wanted = [each["id"] for priority in (1, 0, -1) for given, each in made if given == priority]
    assert order_of(api, first) == wanted
    assert api.shown(later)["status"] == "queued", "urgent, but not yet"


def test_the_sweep_gives_slots_in_the_same_order(api: Api) -> None:
    tool = factories.tool()
    made = [api.submit(tool, priority=priority, not_before=ahead(hours=1)) for priority in (-1, 0, 1, 1)]
    for each in made:
        comes(each)
    sweep()
    assert factories.taken(factories.worker()).id == UUID(made[2]["id"])


def test_never_before_other_accounts(api: Api) -> None:
    """Two accounts take turns as ever, however urgent all that one of them has is."""
    tool, options = factories.tool(), factories.worker()
    modest = api.of(factories.customer(at_once=1))
    for each, priority in ((api, 1), (modest, 0)):
        for _ in range(10):
            each.submit(tool, priority=priority)
    task, turns = factories.taken(options), []
    for _ in range(12):
        following = invocations.complete(task, GOOD, options)
        assert following is not None
        task = following
        turns.append(task.user_id)
    assert abs(turns.count(api.customer.user_id) - turns.count(modest.customer.user_id)) <= 1, turns

"""Schedules as their owners see them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import text

from common.identity import keys
from common.identity.audit import OPERATOR
from common.identity.key_limits import Allowance
from common.invocations.schedules import editing
from common.kit import db as database
from dev.platform import Platform
from tests import factories
from tests.client import Client, eventually
from tests.ops.scrape import Scrape, until
from tests.plain import plain
from tests.runs.conftest import Api, Json
from tests.schedules.conftest import Sweep

FIRED = "joyfull_schedule_firings_total"


def test_made_shown_changed_and_deleted(api: Api) -> None:
    tool = factories.tool()
    body = {"tool": tool.slug, "input": {"zeta": 1.50, "alpha": [1e2, None]}, "cron": "30 9 * * MON-FRI"}
    answer = api.call(
        "POST", "/schedules", 201, json={**body, "timezone": "Europe/Berlin", "metadata": {"b": "1", "a": ""}}
    )
    made = answer.get_json()["data"]
    assert answer.headers["Location"].endswith(f"/schedules/{made['id']}")
    assert made["tool"] == {"id": str(tool.id), "slug": tool.slug, "name": tool.name}
    assert list(made["input"]) == ["zeta", "alpha"]
    assert list(made["metadata"]) == ["b", "a"]
    assert (made["cron"], made["every_seconds"], made["timezone"]) == (body["cron"], None, "Europe/Berlin")
    assert (made["webhook_url"], made["max_tokens"], made["paused"], made["last"]) == (None, None, False, None)
    following = datetime.fromisoformat(made["next_at"])
    assert (following.minute, following.hour in (7, 8), following.weekday() < 5) == (30, True, True)
    assert api.get(f"/schedules/{made['id']}") == made

    path = f"/schedules/{made['id']}"
    changed = api.call("PATCH", path, json={"input": None, "metadata": {}}, expect=422).get_json()
    assert changed["code"] == "tool_input_rejected", "as every submit is checked"
    changed = api.call("PATCH", path, json={"every_seconds": 60, "max_tokens": 7, "input": {}}).get_json()["data"]
    assert (changed["cron"], changed["every_seconds"], changed["max_tokens"], changed["input"]) == (None, 60, 7, {})
    assert changed["metadata"] == made["metadata"]
    late = datetime.fromisoformat(changed["next_at"]) - datetime.fromisoformat(changed["updated_at"])
    assert timedelta(seconds=58) < late <= timedelta(seconds=60)
    same = api.call("PATCH", path, json={}).get_json()["data"]
    assert same == changed, "nor is it another state"
    back = api.call("PATCH", path, json={"cron": "0 0 1 1 *", "max_tokens": None, "paused": True}).get_json()["data"]
    assert (back["cron"], back["every_seconds"], back["max_tokens"], back["next_at"]) == ("0 0 1 1 *", None, None, None)
    assert api.call("DELETE", path, 204).text == ""
    assert api.problem("GET", path, 404)["code"] == "not_found"
    assert api.problem("DELETE", path, 404)["code"] == "not_found"


def test_page_by_page(api: Api, sweep: Sweep) -> None:
    tool = factories.tool()
    made = [sweep.add(tool)["id"] for _ in range(5)]
    assert [each["id"] for each in api.all("/schedules")] == made[::-1]


def test_another_account_has_no_part_in_it(api: Api, sweep: Sweep) -> None:
    path, other = f"/schedules/{sweep.add()['id']}", api.of(factories.customer())
    assert other.all("/schedules") == []
    for method, body in (("GET", None), ("PATCH", {"paused": True}), ("DELETE", None)):
        assert other.problem(method, path, 404, json=body)["code"] == "not_found"
    assert api.get(path)["paused"] is False


def test_a_key_needs_the_scope_and_is_not_needed_later(api: Api, sweep: Sweep) -> None:
    schedule = sweep.add()
    _, reading = keys.create(api.customer.user_id, "reads", scopes=["invocations:read"], actor=OPERATOR)
    refused = api.problem("GET", "/schedules", 403, headers={"X-API-Key": reading})
    assert refused["code"] == "scope_missing"
    keys.revoke(api.customer.user_id, api.key_id, actor=OPERATOR)  # type: ignore[arg-type]
    assert sweep.after(3601) == 1
    again = api.of(api.customer)
    last = again.get(f"/schedules/{schedule['id']}")["last"]
    assert again.get(f"/invocations/{last['invocation_id']}")["api_key_id"] is None


def test_a_key_with_limits_has_none(api: Api, sweep: Sweep) -> None:
    """What a schedule submits counts against no key: it would be a way around the limits."""
    path, body = f"/schedules/{sweep.add()['id']}", {"tool": factories.tool().slug, "input": {}, "every_seconds": 60}
    limits = keys.NewLimits(allowance=Allowance(5, "day"))
    _, limited = keys.create(api.customer.user_id, "limited", limits=limits, actor=OPERATOR)
    key = {"X-API-Key": limited}
    assert api.problem("POST", "/schedules", 403, json=body, headers=key)["code"] == "forbidden"
    assert api.problem("PATCH", path, 403, json={"every_seconds": 60}, headers=key)["code"] == "forbidden"
    assert api.get(path, headers=key)["every_seconds"] == 3600
    assert len(api.all("/schedules")) == 1


def test_a_repeat_makes_no_second_one(api: Api) -> None:
    body, key = {"tool": factories.tool().slug, "input": {}, "every_seconds": 60}, {"Idempotency-Key": "k"}
    made = api.post("/schedules", body, 201, headers=key)
    repeated = api.call("POST", "/schedules", 201, json=body, headers=key)
    assert repeated.headers["Idempotent-Replayed"] == "true"
    assert repeated.get_json()["data"]["id"] == made["id"]
    refused = api.problem("POST", "/schedules", 422, json={**body, "every_seconds": 61}, headers=key)
    assert refused["code"] == "idempotency_key_reused"
    assert len(api.all("/schedules")) == 1


def test_a_hundred_and_no_more(api: Api, sweep: Sweep) -> None:
    tool = factories.tool()
    first = sweep.add(tool)
    database.rowcount(
        text("""insert into schedules (id, user_id, tool_id, input, every_seconds, counted_from, paused)
                select uuid7(), user_id, tool_id, '{}', 60, now(), true from schedules, generate_series(1, :n)"""),
        {"n": editing.MOST - 1},
    )
    body = {"tool": tool.slug, "input": {}, "every_seconds": 60}
    assert api.problem("POST", "/schedules", 409, json=body)["code"] == "conflict"
    assert api.call("PATCH", f"/schedules/{first['id']}", json={"paused": True}).status_code == 200
    api.call("DELETE", f"/schedules/{first['id']}", 204)
    api.post("/schedules", body, 201)


def test_inputs_of_one_mebibyte_together(api: Api, sweep: Sweep) -> None:
    tool, large = factories.tool(), {"text": "x" * 600_000}
    sweep.add(tool, input=large)
    body = {"tool": tool.slug, "input": large, "every_seconds": 60}
    assert api.problem("POST", "/schedules", 409, json=body)["code"] == "conflict"
    small = sweep.add(tool)
    assert api.problem("PATCH", f"/schedules/{small['id']}", 409, json={"input": large})["code"] == "conflict"


WRONG: list[tuple[str, Json]] = [
    ("/tool", {"tool": "nothing"}),
    ("/tool", {"tool": ""}),
    ("/tool", {"tool": None}),
    ("/cron", {"every_seconds": None}),
    ("/cron", {"cron": "* * * * *"}),
    *(("/every_seconds", {"every_seconds": value}) for value in (59, 0, -60, 60.5, True, "60", 31_536_001)),
    *(
        ("/cron", {"every_seconds": ..., "cron": value})
        for value in ("", "* * * *", "60 * * * *", 5, None, "0 0 30 2 *")
    ),
    *(("/cron", {"every_seconds": ..., "cron": value}) for value in ("* " * 60, "٣ * * * *", "@reboot")),
    *(("/timezone", {"timezone": value}) for value in ("", "Berlin", "../../etc/passwd", "x" * 65, 1, None)),
    *(("/paused", {"paused": value}) for value in ("true", 1, None)),
    *(("/max_tokens", {"max_tokens": value}) for value in (0, -1, 2**53, True)),
    ("/metadata/a", {"metadata": {"a": 1}}),
    *((f"/{name}", {name: 1}) for name in ("expires_in", "not_before", "priority", "version", "next_at", "user_id")),
]


def test_what_makes_no_sense_is_refused(api: Api) -> None:
    tool = factories.tool()
    for pointer, change in WRONG:
        body = {"tool": tool.slug, "input": {}, "every_seconds": 60, **change}
        body = {name: value for name, value in body.items() if value is not ...}
        if change == {"every_seconds": None}:
            del body["every_seconds"]
        refused = api.problem("POST", "/schedules", 422, json=body)
        assert [fault["pointer"] for fault in refused["errors"]] == [pointer], change
    refused = api.problem("POST", "/schedules", 422, json={"tool": tool.slug, "input": 1, "every_seconds": 60})
    assert refused["code"] == "tool_input_rejected"
    body = {"tool": tool.slug, "input": {}, "every_seconds": 60, "webhook_url": "http://10.0.0.1/"}
    assert api.problem("POST", "/schedules", 422, json=body)["code"] == "url_refused"
    assert api.all("/schedules") == []


def test_changes_that_make_no_sense_change_nothing(api: Api, sweep: Sweep) -> None:
    schedule = sweep.add()
    path = f"/schedules/{schedule['id']}"
    changes: list[tuple[str, Json]] = [
        ("/tool", {"tool": schedule["tool"]["slug"]}),
        ("/cron", {"cron": "* * * * *", "every_seconds": 60}),
        ("/cron", {"cron": "nonsense"}),
        ("/cron", {"cron": None}),
        ("/timezone", {"timezone": "Mars/Olympus"}),
        ("/every_seconds", {"every_seconds": None}),
        ("/max_tokens", {"max_tokens": 0}),
    ]
    for pointer, change in changes:
        refused = api.problem("PATCH", path, 422, json={"paused": True, **change})
        assert [fault["pointer"] for fault in refused["errors"]] == [pointer], change
    assert api.get(path) == schedule
    assert plain(text("select due_at = next_at as same from schedules"), {})[0].same


def test_on_the_running_platform(
    client: Client, offer: Callable[..., str], hub: Platform, armed: Path, database_url: str
) -> None:
    """Without beat: a worker's sweep submits it and is killed before it can note that; another one finds it."""
    slug, before = offer(), Scrape(hub.url).value(FIRED, outcome="submitted")
    body: Json = {"tool": slug, "input": {"text": "x"}, "cron": "0 0 1 1 *"}
    made: Any = client.data("POST", "/schedules", 201, json=body)
    workers = [child for name, child in hub.supervisor.children.items() if name != "web"]
    (armed / "schedule.after_submit").write_text("kill9")
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("update schedules set next_at = date_trunc('minute', now()), due_at = now()")
        eventually("a worker is killed", 30, lambda: not all(child.is_up for child in workers))
        assert client.data("GET", f"/schedules/{made['id']}")["last"] is None
        (submitted,) = client.data("GET", "/invocations")
        connection.execute("update schedules set due_at = next_at")  # what it had begun is left alone for 10 seconds

    def last() -> Any:
        return client.data("GET", f"/schedules/{made['id']}")["last"]

    assert eventually("it was noted", 30, last)["invocation_id"] == submitted["id"]
    assert client.ended(submitted["id"])["status"] == "succeeded"
    assert [each["id"] for each in client.data("GET", "/invocations")] == [submitted["id"]]
    until(hub.url, lambda scrape: scrape.value(FIRED, outcome="submitted") == before + 1, "counted once")
    hub.supervisor.wait_for(lambda: all(child.is_up for child in workers), "the worker that was killed")
    with psycopg.connect(database_url) as connection:  # the next test would count the dead one for 15 seconds
        connection.execute("delete from processes where heartbeat_at < now() - interval '3 s'")

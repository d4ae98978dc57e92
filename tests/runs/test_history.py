"""What was done for an invocation: its calls, and the deliveries of its webhooks."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from common import boot, invocations, webhooks
from tests import factories
from tests.budgets import world
from tests.factories import BAD, GOOD
from tests.outside.receiver import Receiver
from tests.runs.conftest import Api


def test_attempts_as_they_were(api: Api) -> None:
    made, options = api.submit(factories.tool()), replace(factories.worker(), take_next=False)
    path = f"/invocations/{made['id']}/attempts"
    assert api.get(path) == []

    task = factories.taken(options)
    (running,) = api.get(path)
    assert (running["n"], running["ended_at"], running["outcome"], running["error"]) == (1, None, None, None)

    invocations.retry_later(task, BAD, 300.0, options)
    (failed,) = api.get(path)
    assert failed["error"] == {"code": "tool_failed", "detail": "500"}
    assert (failed["outcome"], failed["http_status"]) == ("tool_failed", 500)
    assert failed["started_at"] == running["started_at"]
    assert failed["retry_at"] == api.shown(made)["waiting"]["until"]
    assert datetime.fromisoformat(failed["retry_at"]) >= datetime.fromisoformat(failed["ended_at"]) + timedelta(
        300 / 86400
    )

    world.shift("due_at", [task.id], -301)
    invocations.sweeping.place_waiting([])
    invocations.complete(factories.taken(options), GOOD, options)
    last, first = api.get(path)
    assert first == failed
    assert (last["n"], last["outcome"], last["error"], last["retry_at"]) == (2, "succeeded", None, None)
    assert last["http_status"] == 200


def test_attempts_page_by_page(api: Api) -> None:
    made = api.submit(factories.tool(max_attempts=9))
    options = replace(factories.worker(), take_next=False)
    for _ in range(4):
        task = factories.taken(options)
        invocations.retry_later(task, BAD, 0.0, options)
        world.shift("due_at", [task.id], -60)
        invocations.sweeping.place_waiting([])
    factories.taken(options)
    found = api.all(f"/invocations/{made['id']}/attempts")
    assert [attempt["n"] for attempt in found] == [5, 4, 3, 2, 1]


def test_deliveries_to_endpoints_and_to_the_url_of_the_call(api: Api, receiver: Receiver) -> None:
    endpoint = webhooks.create(
        api.customer.user_id, boot.outbound(), url=f"{receiver.url}/endpoint", events=["completed"]
    ).endpoint
    tool = factories.tool()
    made = api.submit(tool, webhook_url=f"{receiver.url}/call", webhook_events=["invocation.queued", "completed"])
    other = api.submit(tool)
    for each in (made, other):
        api.post(f"/invocations/{each['id']}/cancel")
    found = api.all(f"/invocations/{made['id']}/deliveries")
    told = {(each["event_type"], each["endpoint_id"], each["status"]) for each in found}
    assert told == {
        ("invocation.queued", None, "pending"),
        ("invocation.canceled", None, "pending"),
        ("invocation.canceled", str(endpoint.id), "pending"),
    }
    assert [each["id"] for each in found] == sorted((each["id"] for each in found), reverse=True)
    assert len(api.all(f"/invocations/{other['id']}/deliveries")) == 1


@pytest.mark.parametrize("what", ["attempts", "deliveries"])
def test_nobody_reads_anothers(api: Api, what: str) -> None:
    made = api.submit(factories.tool())
    refused = api.of(factories.customer()).problem("GET", f"/invocations/{made['id']}/{what}", 404)
    assert refused["code"] == "not_found"

"""Why a queued invocation has not started, and what its last attempt ended with."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

from common import invocations
from common.tools import breakers
from tests import factories
from tests.factories import BAD
from tests.runs.conftest import Api


class Failed(Exception):
    """Counted against the tool."""

    counts_against_tool = True
    http_status = 503


def open_breaker(tool: UUID) -> None:
    for _ in range(breakers.FAIL_MAX):
        with suppress(Failed), breakers.calling(tool, 1):
            raise Failed


def test_for_a_worker_or_for_a_slot(api: Api) -> None:
    tool = factories.tool()
    accepted = [api.submit(tool) for _ in range(2)]
    assert [each["waiting"]["reason"] for each in accepted] == ["queue", "slot"], "the plan has one slot"
    shown = [api.shown(each) for each in accepted]
    assert [each["waiting"] for each in shown] == [each["waiting"] for each in accepted]
    assert {each["waiting"]["until"] for each in shown} == {None}
    assert [each["last_error"] for each in shown] == [None, None]

    task = factories.taken(factories.worker())
    assert api.shown(accepted[0])["waiting"] is None
    invocations.complete(task, factories.GOOD, replace(factories.worker(), take_next=False))
    assert api.shown(accepted[0])["waiting"] is None
    assert api.shown(accepted[1])["waiting"]["reason"] == "queue", "it has the slot now"


def test_for_a_retry(api: Api) -> None:
    made, options = api.submit(factories.tool()), replace(factories.worker(), take_next=False)
    tag = api.call("GET", f"/invocations/{made['id']}").headers["ETag"]
    invocations.retry_later(factories.taken(options), BAD, 300.0, options)
    shown = api.shown(made)
    assert (shown["status"], shown["attempts"], shown["error"]) == ("queued", 1, None)
    assert shown["last_error"] == {"code": "tool_failed", "detail": "500"}
    assert shown["waiting"]["reason"] == "retry"
    until = datetime.fromisoformat(shown["waiting"]["until"])
    assert until - datetime.fromisoformat(shown["started_at"]) >= timedelta(seconds=300)
    assert api.call("GET", f"/invocations/{made['id']}").headers["ETag"] != tag
    listed = api.get("/invocations")
    assert [each["waiting"] for each in listed] == [shown["waiting"]]


def test_for_a_tool_that_is_not_called_for_now(api: Api) -> None:
    tool = factories.tool()
    made = api.submit(tool)
    open_breaker(tool.id)
    waiting = api.shown(made)["waiting"]
    assert waiting["reason"] == "breaker"
    assert waiting["until"] is not None
    breakers.close(tool.id)
    assert api.shown(made)["waiting"]["reason"] == "queue"


def test_an_event_does_not_say_what_it_waited_for(api: Api) -> None:
    """An event is the state that it tells of, however late it is read."""
    api.submit(factories.tool())
    options = replace(factories.worker(), take_next=False)
    invocations.retry_later(factories.taken(options), BAD, 300.0, options)
    events = api.get("/events")
    assert [event["type"] for event in events] == ["invocation.queued", "invocation.running"]
    assert [(event["data"]["waiting"], event["data"]["last_error"]) for event in events] == [(None, None)] * 2


def test_the_key_that_it_was_submitted_with(api: Api) -> None:
    made = api.submit(factories.tool())
    assert made["api_key_id"] == api.key_id
    assert api.shown(made)["api_key_id"] == api.key_id
    through_session = api.customer.submit(factories.tool())
    assert api.get(f"/invocations/{through_session}")["api_key_id"] is None

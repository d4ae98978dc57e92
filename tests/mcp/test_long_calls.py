"""Calls that take longer than the hub waits: as a task, or as a stream with progress."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from contextlib import closing
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import invocations
from common.invocations.streams import OutputPart, PartId
from common.kit.paging import Window
from common.tools import ListedTool
from tests import factories
from tests.client import eventually
from tests.mcp.conftest import TASKS, Json, Mcp, envelope, error, events
from tests.outside.tool import Tool
from web.http.waiting import Waiter
from web.mcp import calls
from web.mcp.progress import NewText
from worker.heartbeat import WorkerProcess

TOKENS = {"pointer": "/usage/total_tokens", "tokens": 2, "unit": "token"}
METERED = {"base_tokens": 1, "per_unit": TOKENS, "max_tokens": 1_000, "metered": {"chars_per_unit": 4, "input": True}}
TALK: Json = {"messages": [{"role": "user", "content": "How are you?"}]}


@pytest.fixture(autouse=True)
def _no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is called takes longer than the hub waits."""
    monkeypatch.setattr(calls, "WAIT_SECONDS", 0)


def chat(tool: Tool, query: str, **changes: Any) -> ListedTool:
    given = {"adapter": "chat_completion", "streaming": True, "price": METERED, **changes}
    return factories.tool(endpoint_url=f"{tool.url}/stream?{query}", **given)


def status(mcp: Mcp, invocation: str) -> str:
    return invocations.get(UUID(invocation), mcp.customer.user_id).status


# -- tasks -------------------------------------------------------------------------------------------------------------


def task(mcp: Mcp, tool: ListedTool) -> Json:
    created = mcp.call(tool.slug, TALK, TASKS)
    assert created["resultType"] == "task"
    return created


def asked(mcp: Mcp, method: str, id_: str) -> Json:
    return mcp.result(method, {"taskId": id_}, meta=envelope(TASKS))


def test_a_call_that_goes_on_is_a_task(mcp: Mcp, tool: Tool, worker: WorkerProcess) -> None:
    created = task(mcp, factories.tool(endpoint_url=f"{tool.url}/echo?after=100"))
    assert created["status"] == "working"
    assert created["statusMessage"].startswith(("queued", "running"))
    assert created["ttlMs"] is None
    assert created["pollIntervalMs"] > 0
    assert not {"task", "result", "error", "content"} & created.keys()
    ended = eventually(
        "it ends", 30, lambda: (it := asked(mcp, "tasks/get", created["taskId"]))["status"] != "working" and it
    )
    assert (ended["resultType"], ended["status"]) == ("complete", "completed")
    assert ended["result"]["structuredContent"]["echo"] == TALK
    assert ended["result"]["_meta"]["com.joyfullhub/billing"]["invocation"] == created["taskId"]
    assert ended["lastUpdatedAt"] > ended["createdAt"] == created["createdAt"]


def test_a_task_that_fails_has_completed_with_an_error(mcp: Mcp, tool: Tool, worker: WorkerProcess) -> None:
    failing = factories.tool(endpoint_url=f"{tool.url}/fail?status=400&after=100")
    id_ = task(mcp, failing)["taskId"]
    ended = eventually("it ends", 30, lambda: (it := asked(mcp, "tasks/get", id_))["status"] != "working" and it)
    assert ended["status"] == "completed"
    assert (ended["result"]["isError"], ended["result"]["structuredContent"]["code"]) == (True, "tool_error")


def test_canceling_a_task_is_acknowledged_every_time(mcp: Mcp) -> None:
    id_ = task(mcp, factories.tool())["taskId"]  # no worker: it is queued
    for _ in range(2):
        assert asked(mcp, "tasks/cancel", id_).keys() == {"resultType", "_meta"}
    ended = asked(mcp, "tasks/get", id_)
    assert ended["status"] == "cancelled"
    assert "result" not in ended
    assert status(mcp, id_) == "canceled"
    assert asked(mcp, "tasks/update", id_).keys() == {"resultType", "_meta"}


def test_tasks_need_the_extension(mcp: Mcp) -> None:
    for method in ("tasks/get", "tasks/update", "tasks/cancel"):
        response = mcp.modern(method, {"taskId": "x"})
        assert error(response) == (400, -32021)
        assert response.json["error"]["data"]["requiredCapabilities"] == TASKS  # type: ignore[index]


def test_tasks_that_are_not_ones_own_are_not_there(mcp: Mcp) -> None:
    others = str(factories.customer().submit(factories.tool()))
    for id_ in (others, "x"):
        for method in ("tasks/get", "tasks/update", "tasks/cancel"):
            assert error(mcp.modern(method, {"taskId": id_}, meta=envelope(TASKS))) == (400, -32602)


# -- streams -----------------------------------------------------------------------------------------------------------


def test_without_tasks_the_response_lasts_until_the_end(mcp: Mcp, tool: Tool, worker: WorkerProcess) -> None:
    response = mcp.stream(
        factories.tool(endpoint_url=f"{tool.url}/echo?after=100").slug, {"text": "x"}, progressToken="p"
    )
    *progress, last = events(response)
    assert [each["params"]["progressToken"] for each in progress] == ["p"] * len(progress)
    assert [each["params"]["progress"] for each in progress] == [*range(1, len(progress) + 1)]
    assert {each["params"]["message"] for each in progress} <= {"queued", "running"}
    assert last["result"]["structuredContent"]["echo"] == {"text": "x"}
    assert last["result"]["resultType"] == "complete"


def test_without_a_token_there_is_only_the_result(mcp: Mcp, tool: Tool, worker: WorkerProcess) -> None:
    response = mcp.stream(factories.tool(endpoint_url=f"{tool.url}/echo?after=100").slug)
    assert response.headers["X-Accel-Buffering"] == "no"
    assert [message.keys() >= {"result"} for message in events(response)] == [True]


def test_text_is_shown_while_it_is_written(mcp: Mcp, tool: Tool, worker: WorkerProcess) -> None:
    seen, slug = "", chat(tool, "words=40&hold=20,30").slug
    with closing(mcp.stream(slug, TALK, progressToken=7)) as response:
        read = events(response)
        for wanted in (20, 30):
            whole = "".join(f"wörd{number} " for number in range(wanted))
            while len(seen) < len(whole):
                seen += next(read)["params"].get("message", "")
            assert seen == whole
            tool.let_go()
        *rest, last = read
    answer = last["result"]["content"][0]["text"]
    assert answer.startswith(seen + "".join(each["params"].get("message", "") for each in rest))
    assert len(answer.split()) == 40
    assert last["result"]["_meta"]["com.joyfullhub/billing"]["basis"] == "reported"


def part(text: str, *, is_snapshot: bool = False) -> OutputPart:
    return OutputPart(PartId(1, 1), json.dumps([{"index": 0, "delta": {"content": text}}]), is_snapshot)


@given(st.lists(st.text("abc", min_size=1), min_size=1), st.data())
def test_snapshots_bring_nothing_twice(texts: list[str], data: st.DataObject) -> None:
    """Wherever a log begins anew, and however its text is cut into pages."""
    new, whole = NewText(Waiter(UUID(int=1), UUID(int=2)), None), ""
    for text in texts:
        if data.draw(st.booleans()):
            whole += text
            new.add(part(text))
        else:
            whole += text
            cut = data.draw(st.integers(0, len(whole)))
            new.add(part(whole[:cut], is_snapshot=True))
            new.add(part(whole[cut:]))
    assert new.take() == whole


def test_streams_of_an_account_do_not_wait_for_each_other(mcp: Mcp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "WAIT_SECONDS", 1)  # so that they are read before they become streams
    slug, told = factories.tool().slug, list[Json]()
    with closing(mcp.stream(slug, progressToken=1)) as one, closing(mcp.stream(slug, progressToken=2)) as other:
        for response in (one, other):
            reading = events(response)
            threading.Thread(target=lambda it=reading: told.append(next(it)), daemon=True).start()
        eventually("both tell", 10, lambda: len(told) == 2)
    assert {message["params"]["progressToken"] for message in told} == {1, 2}


def closed(mcp: Mcp, tool: Tool, worker: WorkerProcess, ask: Callable[[str], Any]) -> str:
    """Begin a call, go away in the middle; what becomes of it."""
    name = chat(tool, "words=40&hold=20").slug
    with closing(ask(name)) as response:
        eventually("it is written", 30, tool.calls)
        next(response.iter_encoded())
    (call,) = tool.calls()
    worker._heartbeat()
    return str(call.key)


def test_closing_the_stream_cancels_the_call(mcp: Mcp, tool: Tool, worker: WorkerProcess) -> None:
    id_ = closed(mcp, tool, worker, lambda name: mcp.stream(name, TALK, progressToken=1))
    eventually("it is canceled", 30, lambda: status(mcp, id_) == "canceled")
    assert invocations.get(UUID(id_), mcp.customer.user_id).charged is not None


def test_a_connection_of_a_handshake_revision_may_break(mcp: Mcp, tool: Tool, worker: WorkerProcess) -> None:
    id_ = closed(
        mcp,
        tool,
        worker,
        lambda name: mcp.handshake("tools/call", {"name": name, "arguments": TALK, "_meta": {"progressToken": 1}}),
    )
    assert invocations.get(UUID(id_), mcp.customer.user_id).cancel_requested_at is None
    tool.let_go()
    eventually("it ends", 30, lambda: status(mcp, id_) == "succeeded")


@pytest.mark.parametrize("capabilities", [None, TASKS])
def test_who_has_too_many_streams_is_not_charged_for_another(
    settings_with: Callable[..., Mcp], capabilities: Json | None
) -> None:
    full = settings_with(MAX_STREAMS="1")
    tool = factories.tool()
    with closing(full.stream(tool.slug)) as response:
        next(response.iter_encoded())
        another = full.modern("tools/call", {"name": tool.slug}, meta=envelope(capabilities))
        newest = invocations.listing(full.customer.user_id, Window(1)).items[0]
        if capabilities is None:
            assert (error(another), newest.status) == ((429, -32000), "canceled")
        else:
            assert another.json["result"]["status"] == "working"  # type: ignore[index]


def test_refusals_that_pass_have_a_status_of_http(mcp: Mcp) -> None:
    hasty = factories.customer(per_minute=1)
    asks = Mcp(mcp.http, hasty, factories.keyed(hasty, 1_000).key)
    tool = factories.tool()
    for _ in range(2):
        response = asks.modern("tools/call", {"name": tool.slug}, meta=envelope(TASKS))
    assert error(response) == (429, -32000)
    assert int(response.headers["Retry-After"]) >= 1
    assert response.json["error"]["data"]["code"] == "rate_limited"  # type: ignore[index]
    assert response.headers["RateLimit"].startswith('"submits";r=0')

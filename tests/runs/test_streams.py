"""Answers that are shown while they are made: what a reader sees, what the end says, and what it costs."""

from __future__ import annotations

from typing import Any

import pytest

from common.errors import Invalid
from common.kit import redis as redis_kit
from common.tools import ListedTool, breakers
from dev.servers import Redis
from tests import billing, factories
from tests.client import eventually
from tests.runs.conftest import Api
from tests.runs.following import Follower
from tests.runs.streaming import METER, Stage, content, stage, words
from worker import stream_publisher

__all__ = ["stage"]
# -- what a reader sees ------------------------------------------------------------------------------------------


def test_an_answer_is_there_while_it_is_made_and_counts_at_its_end(stage: Stage) -> None:
    made, first = stage.streamed("words=6&hold=2,4")
    plain = Follower(stage.api, made, query="?output=false")
    first.has(words(2))
    late = Follower(stage.api, made)
    late.has(words(2))
    comes_back = late.leave()
    stage.tool.let_go()
    first.has(words(4))
    again = Follower(stage.api, made, after=comes_back, text=words(2))
    again.has(words(4))
    stage.tool.let_go()
    for follower in (first, plain, again, Follower(stage.api, made)):
        ended = follower.ended()
        assert (ended["status"], content(ended), ended["stream"]) == ("succeeded", words(6), True)
    bill = ended["billing"]
    assert (bill["units"], bill["basis"], bill["charged"], billing.recomputed(ended)) == (9, "reported", 19, 19)
    assert set(again.names) == {"output.delta", "invocation.succeeded"}
    assert not any(name.startswith("output.") for name in plain.names)


def test_whoever_fell_off_a_log_gets_a_snapshot(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log that has begun anew, and one that was lost."""
    monkeypatch.setattr(stream_publisher, "SNAPSHOT_EVERY", 2)
    made, follower = stage.streamed("words=6&hold=1,2,3,4,5")
    follower.has(words(1))
    old = follower.last_id
    for count in (2, 3):
        stage.tool.let_go()
        follower.has(words(count))
    late = Follower(stage.api, made, after=old, text="something else")
    late.has(words(3))
    redis_kit.client().flushall()
    for count in (4, 5):
        stage.tool.let_go()
        follower.has(words(count))
    late.has(words(5))
    stage.tool.let_go()
    assert content(follower.ended()) == content(late.ended()) == words(6)
    assert "output.snapshot" in follower.names and late.shown[0] == "output.snapshot"


def test_whoever_comes_back_after_a_change_of_status_has_nothing_twice(stage: Stage) -> None:
    """Its parts may have come before that: the first that it gets now replaces them."""
    made, follower = stage.streamed("words=3&hold=1,2")
    follower.has(words(1))
    late = Follower(stage.api, made, after=follower.last_id.partition(".")[0], text=follower.text)
    stage.tool.let_go()
    late.has(words(2))
    stage.tool.let_go()
    assert content(late.ended()) == content(follower.ended()) == words(3)
    assert (late.shown[0], late.shown.count("output.snapshot")) == ("output.snapshot", 1)


def test_redis_goes_away_and_comes_back(stage: Stage, redis_server: Redis) -> None:
    """The call goes on; what was not shown comes as a snapshot, and the end is charged as any."""
    _, follower = stage.streamed("words=4&hold=1,2,3")
    follower.has(words(1))
    redis_server.kill()
    stage.tool.let_go()
    redis_server.start()
    redis_server.wait()
    stage.tool.let_go()
    follower.has(words(3))
    stage.tool.let_go()
    ended = follower.ended()
    assert (content(ended), ended["billing"]["charged"]) == (words(4), 15)
    assert "output.snapshot" in follower.names


# -- what a stream costs that was not finished -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metered", "shown", "units"),
    [(METER, 3, 5 + 3), ({**METER, "input": False}, 3, 5), (None, 3, None), (METER, 0, None)],
    ids=["metered", "metered without the input", "not metered", "nothing shown"],
)
def test_a_cancel_keeps_and_charges_what_was_shown(
    stage: Stage, database_url: str, metered: Any, shown: int, units: int | None
) -> None:
    made, follower = stage.streamed(f"words=9&hold={shown}", metered=metered, idempotent=False)
    follower.has(words(shown))
    eventually("it is called", 30, lambda: stage.tool.calls(made))
    stage.cancel(made)
    ended = follower.ended()
    bill, charged = ended["billing"], 0 if units is None else 1 + 2 * units
    assert (ended["status"], bill["charged"], bill["units"]) == ("canceled", charged, units)
    assert (bill["basis"], bill["reason"]) == ("metered" if charged else None, "canceled")
    assert (bill["outcome"], billing.recomputed(ended)) == ("charged" if charged else "free", charged)
    assert ended["output"] is None if not shown else content(ended) == words(shown)
    assert not shown or ended["output"]["choices"][0]["finish_reason"] == "canceled"
    [entry] = stage.api.get("/usage")
    assert (entry["status"], entry["tokens_used"]) == ("canceled", charged)
    assert billing.unexplained(database_url) == []


def test_a_cancel_costs_no_more_than_was_held(stage: Stage) -> None:
    made = stage.submit(stage.chat("words=9&hold=8"), max_tokens=4)
    follower = Follower(stage.api, made)
    follower.has(words(8))
    stage.cancel(made)
    assert follower.ended()["billing"]["charged"] == 4


def test_a_stream_without_usage_is_charged_by_the_meter_or_not_at_all(stage: Stage) -> None:
    _, counted = stage.streamed("words=3&usage=0")
    ended = counted.ended()
    bill = ended["billing"]
    assert (ended["status"], bill["units"], bill["basis"], bill["charged"]) == ("succeeded", 8, "metered", 17)
    _, uncounted = stage.streamed("words=3&usage=0", metered=None)
    ended = uncounted.ended()
    assert (ended["error"]["code"], ended["billing"]["charged"]) == ("tool_bad_response", 0)


@pytest.mark.parametrize(
    ("query", "code"),
    [("words=3&hold=2", "tool_timeout"), ("words=2&end=break", "tool_bad_response")],
    ids=["silence", "broken off"],
)
def test_what_was_shown_is_never_contradicted_by_another_attempt(stage: Stage, query: str, code: str) -> None:
    made, follower = stage.streamed(f"every=100&{query}", idle_seconds=1, max_attempts=3)
    ended = follower.ended()
    assert words(2).startswith(follower.text) and follower.text
    assert (ended["error"]["code"], ended["attempts"], ended["output"]) == (code, 1, None)
    assert (ended["billing"]["charged"], ended["billing"]["basis"]) == (0, None)
    assert len(stage.tool.calls(made)) == 1


def test_before_anything_is_shown_an_attempt_may_be_repeated(stage: Stage) -> None:
    url = f"{stage.tool.url}/fail?status=503&retry_after=3600"
    made = stage.submit(factories.tool(endpoint_url=url, adapter="chat_completion", streaming=True))
    eventually("it waits for another attempt", 30, lambda: stage.api.get(f"/invocations/{made}")["last_error"])
    assert stage.api.get(f"/invocations/{made}")["last_error"]["code"] == "tool_failed"


# -- what is refused -----------------------------------------------------------------------------------------------


def chat(**changes: Any) -> ListedTool:
    return factories.tool(**{"adapter": "chat_completion", "streaming": True, **changes})


def test_only_a_tool_that_streams_can_be_asked_to(api: Api) -> None:
    for tool in (chat(streaming=False), factories.tool()):
        problem = api.problem("POST", f"/tools/{tool.slug}/invoke", 422, json={"input": {}, "stream": True})
        assert problem["code"] == "streaming_unsupported"
    assert api.submit(chat())["stream"] is False


def test_a_fallback_that_does_not_stream_does_not_take_over(api: Api) -> None:
    tool = chat(fallback=chat(streaming=False).slug)
    breakers._breaker(str(tool.id)).open()
    assert api.submit(tool)["requested_tool"]["id"] == str(tool.id)
    path = f"/tools/{tool.slug}/invoke"
    assert api.problem("POST", path, 503, json={"input": {}, "stream": True})["code"] == "tool_unavailable"


def test_another_way_to_answer_is_another_request(api: Api) -> None:
    path, headers, body = f"/tools/{chat().slug}/invoke", {"Idempotency-Key": "once"}, {"input": {}, "stream": True}
    made = api.post(path, body, 202, headers=headers)
    again = api.post(path, body, 202, headers=headers)
    assert again["id"] == made["id"] and again["stream"]
    problem = api.problem("POST", path, 422, json={"input": {}}, headers=headers)
    assert problem["code"] == "idempotency_key_reused"


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"adapter": "http_json"}, "/streaming"),
        ({"output_schema": {}}, "/streaming"),
        ({"result_pointer": "/choices"}, "/streaming"),
        ({"price": {"base_tokens": 1, "max_tokens": 9, "metered": METER}}, "/price/metered"),
    ],
    ids=["another adapter", "output_schema", "result_pointer", "metered without units"],
)
def test_a_tool_whose_answers_cannot_be_shown(db: None, changes: Any, pointer: str) -> None:
    with pytest.raises(Invalid) as caught:
        chat(**changes)
    assert [fault.pointer for fault in caught.value.errors] == [pointer]

"""Answers piece by piece, as the official client sees them."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import openai
import pytest
import requests

from common.kit import failpoints
from common.kit import redis as redis_kit
from tests.openai.conftest import MESSAGES, Stage, charges
from web.http import status_changes, waiting
from web.openai import chunks


def words(count: int) -> str:
    return "".join(f"wörd{number} " for number in range(count))


def started(stage: Stage, slug: str, **options: Any) -> openai.Stream[Any]:
    stream: openai.Stream[Any] = stage.client().chat.completions.create(
        model=slug, messages=MESSAGES, stream=True, **options
    )
    return stream


def texts(stream: Any) -> Iterator[str]:
    """The pieces of the text as they come."""
    for chunk in stream:
        for choice in chunk.choices:
            if choice.delta.content:
                yield choice.delta.content


def until(pieces: Iterator[str], text: str) -> None:
    """Read until exactly this has come."""
    found = ""
    while found != text:
        found += next(pieces)
        assert text.startswith(found)


class Raw:
    """The bytes of an answer, as they come."""

    def __init__(self, stage: Stage, slug: str, headers: dict[str, str] | None = None, **body: Any) -> None:
        sent = {"model": slug, "messages": MESSAGES, "stream": True, **body}
        given = {"Authorization": f"Bearer {stage.key}", **(headers or {})}
        path = f"{stage.url}/chat/completions"
        self.told = requests.post(path, json=sent, headers=given, stream=True, timeout=30)
        self.lines = self.told.iter_lines(chunk_size=1)

    def events(self) -> Iterator[str]:
        for line in self.lines:
            if line.startswith(b"data: "):
                yield line.decode().removeprefix("data: ")


# -- what comes ------------------------------------------------------------------------------------------------------


def test_an_answer_comes_while_it_is_made(stage: Stage) -> None:
    slug = stage.chat("/stream?words=6&hold=2,4")
    stream = started(stage, slug, stream_options={"include_usage": True})
    made = stream.response.headers["Joyfull-Invocation"]
    assert (stream.response.headers["Joyfull-Held"], stream.response.headers.get("Joyfull-Charged")) == ("1000", None)
    found: list[Any] = []
    pieces = texts(found.append(chunk) or chunk for chunk in stream)  # type: ignore[func-returns-value]
    until(pieces, words(2))
    assert charges() == []
    stage.tool.let_go()
    until(pieces, "wörd2 wörd3 ")
    stage.tool.let_go()
    assert "".join(pieces) == "wörd4 wörd5 "
    *parts, last = found
    assert {(chunk.id, chunk.object, chunk.model) for chunk in found} == {
        (f"chatcmpl-{made.replace('-', '')}", "chat.completion.chunk", slug)
    }
    assert parts[0].choices[0].delta.role == "assistant"
    assert [choice.finish_reason for chunk in parts for choice in chunk.choices][-1] == "stop"
    assert all(chunk.usage is None for chunk in parts)
    assert (last.choices, last.usage.total_tokens) == ([], 9)
    bill = last.model_dump()["joyfull"]
    assert bill.pop("receipt") and bill == {"invocation": made, "held": 1_000, "charged": 19, "basis": "reported"}
    assert charges() == [19]


def test_usage_is_sent_only_to_who_has_asked_for_it(stage: Stage) -> None:
    events = [*Raw(stage, stage.chat("/stream?words=2")).events()]
    assert events.pop() == "[DONE]"
    assert not any("usage" in event or "joyfull" in event for event in events)
    assert json.loads(events[-1])["choices"][0]["finish_reason"] == "stop"


def test_the_helper_of_the_asynchronous_client(stage: Stage) -> None:
    async def ask() -> Any:
        async with openai.AsyncOpenAI(base_url=stage.url, api_key=stage.key) as client:
            model = stage.chat("/stream?words=5&every=20")
            async with client.chat.completions.stream(model=model, messages=MESSAGES) as stream:
                return await stream.get_final_completion()

    final = asyncio.run(ask())
    assert (final.choices[0].message.content, final.choices[0].finish_reason) == (words(5), "stop")


def test_the_end_is_stored_before_it_is_sent(stage: Stage) -> None:
    raw = Raw(stage, stage.chat("/stream?words=2&hold=1"))
    seen: list[str] = []

    def read_on() -> None:
        threading.Event().wait(0.3)  # in which a stream that does not wait would end
        assert "[DONE]" not in seen and charges() == []

    with failpoints.calling("stream.before_end", read_on):
        for event in raw.events():
            seen.append(event)
            if "wörd0" in event:
                stage.tool.let_go()
            assert event != "[DONE]" or charges() == [11]
    assert seen[-1] == "[DONE]"


# -- before the first part -------------------------------------------------------------------------------------------


def test_the_status_waits_for_the_first_part_but_not_long(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "STATUS_SECONDS", 0.2)
    monkeypatch.setattr(status_changes, "HEARTBEAT_SECONDS", 0.2)
    raw = Raw(stage, stage.chat("/stream?words=1&hold=0"))
    assert (raw.told.status_code, raw.told.headers["Content-Type"]) == (200, "text/event-stream; charset=utf-8")
    comments = [next(raw.lines) for _ in range(3)]
    assert set(comments) == {b": still here"}
    stage.tool.let_go()
    assert [*raw.events()][-1] == "[DONE]"


def test_a_failure_before_the_first_part_has_a_status(stage: Stage) -> None:
    before = set(waiting.registry._waiters)  # whom an earlier test left behind
    with pytest.raises(openai.InternalServerError) as caught:
        started(stage, stage.chat("/fail?status=500"))
    assert (caught.value.status_code, caught.value.code) == (502, "tool_failed")
    assert not set(waiting.registry._waiters) - before


# -- how it ends otherwise -------------------------------------------------------------------------------------------


def test_a_failure_after_that_is_an_event_and_never_done(stage: Stage) -> None:
    raw, seen = Raw(stage, stage.chat("/stream?words=2&hold=1&end=break")), []
    for event in raw.events():
        seen.append(event)
        stage.tool.let_go()
    assert "[DONE]" not in seen
    error = json.loads(seen[-1])["error"]
    assert (error["code"], error["type"], error["joyfull"]["charged"]) == ("tool_bad_response", "server_error", 0)
    stage.tool.forget()
    stream = started(stage, stage.chat("/stream?words=2&hold=1&end=break"))
    with pytest.raises(openai.APIError, match="broke off"):
        for _ in texts(stream):
            stage.tool.let_go()


def test_a_cancel_from_elsewhere_ends_it_with_an_error(stage: Stage) -> None:
    stream = started(stage, stage.chat("/stream?words=9&hold=2"))
    pieces = texts(stream)
    until(pieces, words(2))
    path = f"{stage.url.removesuffix('/v1')}/api/v1/invocations/{stream.response.headers['Joyfull-Invocation']}/cancel"
    assert requests.post(path, headers={"X-API-Key": stage.key}, timeout=20).status_code == 202
    stage.me._heartbeat()
    with pytest.raises(openai.APIError) as caught:
        next(pieces)
    assert caught.value.code == "canceled"
    assert charges() == [1 + 2 * (3 + 3)]


# -- from its start, and past what was lost ----------------------------------------------------------------------------


def test_a_repeat_gets_the_stream_from_its_start(stage: Stage) -> None:
    """While it is made, and when it has ended."""
    slug, once = stage.chat("/stream?words=4&hold=2"), {"Idempotency-Key": "once"}
    first = texts(started(stage, slug, extra_headers=once))
    until(first, words(2))
    second = started(stage, slug, extra_headers=once)
    pieces = texts(second)
    until(pieces, words(2))
    stage.tool.let_go()
    assert "".join(first) == "".join(pieces) == "wörd2 wörd3 "
    third = started(stage, slug, extra_headers=once)
    assert [stream.response.headers["Idempotent-Replayed"] for stream in (second, third)] == ["true", "true"]
    assert third.response.headers["Joyfull-Charged"] == "15"
    assert "".join(texts(third)) == words(4)
    assert charges() == [15]


def test_what_was_lost_of_the_log_comes_all_the_same(stage: Stage) -> None:
    slug = stage.chat("/stream?words=6&hold=2,4")
    with closing(started(stage, slug)) as stream:
        pieces = texts(stream)
        until(pieces, words(2))
        redis_kit.client().flushall()
        stage.tool.let_go()
        until(pieces, "wörd2 wörd3 ")
        stage.tool.let_go()
        redis_kit.client().flushall()
        assert "".join(pieces) == "wörd4 wörd5 "

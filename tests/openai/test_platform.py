"""The official client against real processes: what gunicorn, workers and two connections add to it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import httpx
import openai
import pytest

from common.operations import ledger
from dev.platform import Platform
from tests.client import Client, eventually
from tests.openai.conftest import MESSAGES, METER, TOKENS
from tests.openai.test_streams import texts, until, words
from tests.ops.test_metrics import children
from tests.outside.tool import Tool

PRICE = {"base_tokens": 1, "per_unit": TOKENS, "max_tokens": 1_000, "metered": METER}
CHAT: dict[str, Any] = {"adapter": "chat_completion", "streaming": True, "input_schema": {}, "price": PRICE}
Offer = Callable[..., str]


@pytest.fixture
def official(hub: Platform, client: Client) -> openai.OpenAI:
    key = client.keys.create(name="for a program").key
    return openai.OpenAI(base_url=f"{hub.url}/v1", api_key=key)


def test_the_official_client_on_the_ledger(official: openai.OpenAI, client: Client, offer: Offer, tool: Tool) -> None:
    slug = offer("/chat/completions", **CHAT)
    assert [model.id for model in official.models.list()] == [slug]
    answer = official.chat.completions.create(model=slug, messages=MESSAGES)
    assert answer.choices[0].message.content == "a long answer"

    streaming = offer("/stream?words=4&hold=2", **CHAT)
    stream = official.chat.completions.create(model=streaming, messages=MESSAGES, stream=True)
    pieces = texts(stream)
    until(pieces, words(2))
    tool.let_go()
    assert "".join(pieces) == "wörd2 wörd3 "

    slow = offer("/chat/completions?after=700", **CHAT)
    impatient = official.with_options(timeout=0.4, max_retries=5).chat.completions.with_raw_response
    raw = impatient.create(model=slow, messages=MESSAGES)
    assert raw.retries_taken and raw.headers["Idempotent-Replayed"] == "true"

    with pytest.raises(openai.APIStatusError) as caught:
        official.chat.completions.create(model=offer("/fail?status=500", **CHAT), messages=MESSAGES)
    assert (caught.value.status_code, caught.value.code) == (502, "tool_failed")
    assert client.tokens()["charged"] == 25 + 15 + 25
    assert len(tool.calls()) == 4 and ledger.verify().differences == ()


@pytest.mark.chaos
def test_a_web_process_is_killed_under_a_stream(
    official: openai.OpenAI, client: Client, offer: Offer, tool: Tool, hub: Platform
) -> None:
    """The client is cut off; what it sends next, as a repeat, gets the whole of the same answer from the next one."""
    ask: Any = {"model": offer("/stream?words=4&hold=2", **CHAT), "messages": MESSAGES, "stream": True}
    pieces = texts(official.chat.completions.create(**ask))
    until(pieces, words(2))
    [web] = children(hub.supervisor.children["web"].pid)
    os.kill(web, signal.SIGKILL)
    with pytest.raises((httpx.HTTPError, openai.APIError)):
        next(pieces)
    eventually("another one serves", 30, lambda: children(hub.supervisor.children["web"].pid) not in ([], [web]))
    again = official.chat.completions.create(**ask, extra_headers={"X-Stainless-Retry-Count": "1"})
    tool.let_go()
    assert "".join(texts(again)) == words(4)
    assert again.response.headers["Idempotent-Replayed"] == "true"
    assert client.tokens()["charged"] == 15 and len(tool.calls()) == 1
    assert ledger.verify().differences == ()

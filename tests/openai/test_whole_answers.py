"""Answers that are not streamed, models and embeddings, as the official client sees them."""

from __future__ import annotations

import asyncio
import base64
import re
import struct
from typing import Any
from urllib.parse import quote
from uuid import UUID

import openai
import pytest

from common import invocations
from common.identity import keys
from common.identity.audit import OPERATOR
from common.identity.keys import NewLimits
from tests.openai.conftest import MESSAGES, Stage, charges
from web.http import large_reads
from web.openai import calling
from web.openai.parsing import input_of

SCHEMA = {
    "type": "object",
    "properties": {"model": {"const": "its-own-name"}, "messages": {"type": "array"}, "temperature": {"maximum": 2}},
    "required": ["model", "messages"],
    "additionalProperties": False,
}
VECTOR = [0.25, -1.0, 3.5]
PACKED = base64.b64encode(struct.pack("<3f", *VECTOR)).decode()


def test_an_answer_and_what_it_cost(stage: Stage) -> None:
    """The body is the tool's input but for what is about the answer, and the model has the tool's name for it."""
    slug = stage.chat(input_schema=SCHEMA)
    raw = stage.client().chat.completions.with_raw_response.create(
        model=slug, messages=MESSAGES, temperature=1, user="u-1", store=False, metadata={"order": "7"}
    )
    answer, headers = raw.parse(), raw.headers
    made = headers["Joyfull-Invocation"]
    assert (answer.choices[0].message.content, answer.model) == ("a long answer", slug)
    assert (answer.id, answer.object) == (f"chatcmpl-{made.replace('-', '')}", "chat.completion")
    assert answer.usage and answer.usage.total_tokens == 12
    bill = answer.model_dump()["joyfull"]
    assert bill.pop("receipt").count(".") == 2
    assert bill == {"invocation": made, "held": 1_000, "charged": 25, "basis": "reported"}
    assert (headers["Joyfull-Held"], headers["Joyfull-Charged"]) == ("1000", "25")
    assert headers["x-request-id"] and "RateLimit" in headers
    [call] = stage.tool.calls(made)
    assert call.body == {"model": "its-own-name", "messages": MESSAGES, "temperature": 1}
    assert invocations.get(UUID(made), stage.customer.user_id).metadata == {"order": "7"}
    assert charges() == [25]


@pytest.mark.parametrize(
    ("user", "end_user"),
    [
        ("customer-7", "customer-7"),
        ("x" * 128, "x" * 128),
        ("x" * 129, None),
        ("two\nlines", None),
        ("", None),
        (7, None),
    ],
)
def test_a_call_is_for_its_user(stage: Stage, user: Any, end_user: str | None) -> None:
    """Whatever the model's own protocol allows is accepted; what no invocation can be for is left out."""
    raw = stage.client().chat.completions.with_raw_response.create(model=stage.chat(), messages=MESSAGES, user=user)
    made = invocations.get(UUID(raw.headers["Joyfull-Invocation"]), stage.customer.user_id)
    assert made.end_user == end_user


@pytest.mark.parametrize(
    ("properties", "wanted"),
    [
        ({"model": {"const": "m"}}, {"model": "m", "input": "x"}),
        ({"model": {"type": "string"}}, {"input": "x"}),
        ({}, {"input": "x"}),
        ({"encoding_format": {}}, {"encoding_format": "base64", "input": "x"}),
    ],
    ids=["the tool's name of it", "any name", "none", "one that knows encodings"],
)
def test_what_the_tool_gets_of_a_body(properties: Any, wanted: dict[str, str]) -> None:
    ours = {"stream": True, "stream_options": {}, "metadata": {}, "store": True, "user": "u"}
    sent = {"model": "slug", "encoding_format": "base64", "input": "x", **ours}
    assert input_of(sent, {"properties": properties}) == wanted


def test_the_asynchronous_client_and_a_tool_that_shows_only_its_text(stage: Stage) -> None:
    slug = stage.chat(result_pointer="/choices/0/message/content", streaming=False)

    async def ask() -> str | None:
        async with openai.AsyncOpenAI(base_url=stage.url, api_key=stage.key) as client:
            answer = await client.chat.completions.create(model=slug, messages=MESSAGES)
            said: str | None = answer.choices[0].message.content
            return said

    assert asyncio.run(ask()) == "a long answer"


def test_the_tools_that_are_models(stage: Stage) -> None:
    chat = stage.chat(input_schema=SCHEMA)
    vectors = stage.offer("/x", adapter="embeddings")
    other = stage.offer("/x")
    found = {model.id: model for model in stage.client().models.list()}
    assert list(found) == [vectors.slug, chat]
    assert (found[chat].object, found[chat].owned_by) == ("model", "joyfull-hub")
    about = found[chat].model_dump()["joyfull"]
    assert (about["input_schema"], about["price"]["metered"]["chars_per_unit"]) == (SCHEMA, 4)
    assert stage.client().models.retrieve(str(vectors.id)) == found[vectors.slug]
    _, key = keys.create(stage.customer.user_id, "few", actor=OPERATOR, limits=NewLimits(tools=[chat]))
    limited = stage.client(api_key=key)
    assert [model.id for model in limited.models.list()] == [chat]
    for client, name in ((stage.client(), other.slug), (limited, vectors.slug), (limited, "nothing")):
        with pytest.raises(openai.NotFoundError) as caught:
            client.models.retrieve(name)
        assert caught.value.code == "model_not_found"


@pytest.mark.parametrize("said", [VECTOR, PACKED], ids=["numbers", "base64"])
def test_embeddings_in_either_encoding(stage: Stage, said: Any) -> None:
    """The client asks for base64 by itself, and decodes it; a tool need not know of that."""
    answer = f'{{"data": [{{"index": 0, "embedding": {said!r}}}], "usage": {{"total_tokens": 3}}}}'.replace("'", '"')
    tool = stage.offer(f"/garbage?body={quote(answer)}", adapter="embeddings")
    client = stage.client().embeddings
    assert client.create(model=tool.slug, input="x").data[0].embedding == VECTOR
    assert client.create(model=tool.slug, input="x", encoding_format="float").data[0].embedding == VECTOR
    packed: Any = client.create(model=tool.slug, input="x", encoding_format="base64")
    assert (packed.data[0].embedding, packed.object, packed.model) == (PACKED, "list", tool.slug)
    assert packed.model_dump()["joyfull"]["charged"] == 1
    assert [call.body for call in stage.tool.calls()] == [{"input": "x"}] * 3


@pytest.mark.parametrize("said", ["é", "AAA", "AAA=A", "AAAAAAA="])
def test_an_embedding_that_is_no_vector_is_passed_on(stage: Stage, said: str) -> None:
    answer = f'{{"data": [{{"index": 0, "embedding": "{said}"}}]}}'
    tool = stage.offer(f"/garbage?body={quote(answer)}", adapter="embeddings")
    found: Any = stage.client().embeddings.create(model=tool.slug, input="x", encoding_format="float")
    assert found.data[0].embedding == said
    assert found.model_dump()["joyfull"]["charged"] == 1


def test_a_repeat_with_a_key_is_not_another_call(stage: Stage) -> None:
    """Also one for which its client has waited too long."""
    slug, once = stage.chat("/chat/completions?after=400"), {"Idempotency-Key": "once", "Joyfull-Max-Tokens": "99"}
    create = stage.client().chat.completions.with_raw_response.create
    with pytest.MonkeyPatch.context() as patch, pytest.raises(openai.InternalServerError) as caught:
        patch.setattr(calling, "WAIT_SECONDS", 0.1)
        create(model=slug, messages=MESSAGES, extra_headers=once)
    refusal = caught.value
    assert (refusal.status_code, refusal.code) == (504, "still_running")
    told = refusal.response.headers
    assert (told["x-should-retry"], told["Joyfull-Held"], "Joyfull-Charged" in told) == ("false", "99", False)
    again = create(model=slug, messages=MESSAGES, extra_headers=once)
    assert again.headers["Joyfull-Invocation"] == told["Joyfull-Invocation"]
    assert (again.headers["Idempotent-Replayed"], again.parse().choices[0].message.content) == ("true", "a long answer")
    with pytest.raises(openai.UnprocessableEntityError, match="different request"):
        create(model=slug, messages=MESSAGES, seed=1, extra_headers=once)
    assert charges() == [25]


def test_a_repeat_is_a_read(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """It counts as one, and is paced by what is sent, as is the answer before it."""
    slug, once = stage.chat(), {"Idempotency-Key": "once"}
    create = stage.client().chat.completions.with_raw_response.create
    left = [
        int(found[1])
        for _ in range(3)
        if (
            found := re.search(
                r"r=(\d+)", create(model=slug, messages=MESSAGES, extra_headers=once).headers["RateLimit"]
            )
        )
    ]
    assert [left[0] - each for each in left] == [0, 1, 2], "the first is none: the plan counts it"
    monkeypatch.setattr(large_reads, "BYTES_PER_SECOND", 10)
    monkeypatch.setattr(large_reads, "SMALL_BYTES", 100)
    create(model=slug, messages=MESSAGES, extra_headers=once)
    with pytest.raises(openai.RateLimitError) as caught:
        create(model=slug, messages=MESSAGES, extra_headers=once)
    assert int(caught.value.response.headers["Retry-After"]) > 60

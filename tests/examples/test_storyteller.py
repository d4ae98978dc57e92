"""The storyteller speaks the OpenAI protocol, counts its tokens honestly, and says the same however it is asked."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests

from examples.tools import ngrams, storyteller
from examples.tools.catalogue import entries
from tests.examples.conftest import Service
from tests.examples.test_tools import strictly_valid

Json = dict[str, Any]
QUESTION = "How is a submit billed?"


def asked(**more: Any) -> Json:
    return {"model": "storyteller", "messages": [{"role": "user", "content": QUESTION}], **more}


def told(service: Service, **more: Any) -> Json:
    response = service.post(storyteller.PATH, asked(**more))
    assert response.status_code == 200, response.text
    return dict(response.json())


def events(service: Service, **more: Any) -> list[Json]:
    """The chunks of a streamed answer, which ends as OpenAI's do."""
    response = requests.post(service.url + storyteller.PATH, json=asked(stream=True, **more), stream=True, timeout=30)
    assert response.headers["Content-Type"].startswith("text/event-stream")
    response.encoding = "utf-8"  # of every event stream (HTML, 9.2.5)
    *lines, done = [line for line in response.iter_lines(decode_unicode=True) if line]
    assert done == "data: [DONE]"
    return [json.loads(line.removeprefix("data: ")) for line in lines]


def text_of(answer: Json) -> str:
    return str(answer["choices"][0]["message"]["content"])


def test_a_story_is_made_of_what_was_read_and_ends_with_a_sentence(service: Service) -> None:
    answer = told(service)
    read = set(ngrams.tokens("\n".join(map(ngrams.prose, ngrams.corpus()))))
    words = ngrams.tokens(text_of(answer))
    assert set(words) <= read
    assert words[-1] in ngrams.ENDS
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert (answer["object"], answer["model"]) == ("chat.completion", "storyteller")


@pytest.mark.parametrize("limit", [1, 2, 7, 40])
def test_tokens_are_counted_honestly_and_limited(service: Service, limit: int) -> None:
    answer = told(service, max_tokens=limit)
    usage = answer["usage"]
    assert usage["completion_tokens"] == len(ngrams.tokens(text_of(answer))) == limit
    assert usage["prompt_tokens"] == len(ngrams.tokens(QUESTION)) == 6
    assert usage["total_tokens"] == limit + 6
    assert answer["choices"][0]["finish_reason"] == "length"
    assert told(service, max_completion_tokens=limit)["usage"] == usage


def test_a_story_may_be_longer(service: Service) -> None:
    short, long = text_of(told(service)), told(service, min_tokens=150)
    assert text_of(long).startswith(short) and ngrams.tokens(text_of(long))[-1] in ngrams.ENDS
    assert (long["usage"]["completion_tokens"] >= 150, long["choices"][0]["finish_reason"]) == (True, "stop")
    assert told(service, min_tokens=150, max_tokens=9)["usage"]["completion_tokens"] == 9


def test_a_stream_says_the_same_and_counts_the_same(service: Service) -> None:
    whole, chunks = told(service, seed=3), events(service, seed=3, stream_options={"include_usage": True})
    *parts, last = chunks
    assert "".join(part["choices"][0]["delta"].get("content", "") for part in parts) == text_of(whole)
    assert (last["choices"], last["usage"]) == ([], whole["usage"])
    assert parts[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert [part["choices"][0]["finish_reason"] for part in parts] == [None] * (len(parts) - 1) + ["stop"]
    assert {(chunk["object"], chunk["id"]) for chunk in chunks} == {("chat.completion.chunk", parts[0]["id"])}
    assert len(parts) == 2 + whole["usage"]["completion_tokens"], "a token in each"
    assert "usage" not in events(service, max_tokens=2)[-1]


def test_the_seed_and_the_question_choose_the_story(service: Service) -> None:
    stories = [text_of(told(service, seed=seed)) for seed in (0, 0, 1)]
    assert stories[0] == stories[1] != stories[2]
    other = service.post(storyteller.PATH, {**asked(), "messages": [{"role": "user", "content": "The queue?"}]}).json()
    assert text_of(other) != stories[0]
    assert text_of(other).startswith("The "), "it begins with a word of the question"


@pytest.mark.parametrize(
    "wrong",
    [{"model": "gpt"}, {"messages": []}, {"max_tokens": 0}, {"max_tokens": 601}, {"stream": "yes"}, {"temperature": 1}],
    ids=["model", "messages", "none", "many", "stream", "unknown"],
)
def test_what_does_not_fit_is_refused(service: Service, wrong: Json) -> None:
    response = service.post(storyteller.PATH, {**asked(), **wrong})
    assert (response.status_code, response.json()["error"]["code"]) == (422, "invalid_input")


def test_it_is_in_the_catalogue_and_answers_its_own_example(service: Service) -> None:
    [entry] = [each for each in entries(service.url, environ={}) if each["slug"] == "storyteller"]
    strictly_valid(entry["example_input"], entry["input_schema"])
    answer = requests.post(entry["endpoint_url"], json=entry["example_input"], timeout=30).json()
    assert 0 < 1 + answer["usage"]["total_tokens"] <= entry["price"]["max_tokens"]

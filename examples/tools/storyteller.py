"""A chat model without a GPU: word n-grams over the project's documentation, in the OpenAI protocol, streamed or not.

Its tokens are those of `ngrams.tokens`, its usage is what it read and wrote, and both are the same however it is asked.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from itertools import islice

from examples.tools import ngrams
from examples.tools.chat import MESSAGE
from examples.tools.tool import Json, schema

NAME = "storyteller"
PATH = "/v1/chat/completions"
MOST_TOKENS = 600
#: A story ends with the first sentence that ends after so many tokens, unless `min_tokens` says otherwise.
LENGTH = 60
#: How many tokens of a streamed answer are written in a second, unless STORYTELLER_TOKENS_PER_SECOND says otherwise.
PACE = 40.0

_LIMIT: Json = {"type": "integer", "minimum": 1, "maximum": MOST_TOKENS}
_ASKED: Json = {
    "model": {"const": NAME},
    "messages": {"type": "array", "minItems": 1, "maxItems": 100, "items": MESSAGE},
    "max_tokens": _LIMIT,
    "max_completion_tokens": _LIMIT,
    "min_tokens": {**_LIMIT, "description": "It goes on to the end of a sentence after so many; 60 by default."},
    "seed": {"type": "integer", "minimum": 0, "maximum": 2**53, "description": "Another seed is another story."},
}
INPUT_SCHEMA: Json = schema(_ASKED, required=["model", "messages"])
#: What the service takes: the input, and how it is to be answered.
REQUEST_SCHEMA: Json = schema(
    {
        **_ASKED,
        "stream": {"type": "boolean"},
        "stream_options": schema({"include_usage": {"type": "boolean"}}, required=[]),
    },
    required=["model", "messages"],
)


def entry(base_url: str) -> Json:
    """The catalogue entry of the service at `base_url`."""
    return {
        "slug": NAME,
        "name": "Storyteller",
        "description": "Goes on from your question as the project's documentation might: a chat model of word n-grams.",
        "category": "language-model",
        "endpoint_url": base_url.rstrip("/") + PATH,
        "adapter": "chat_completion",
        "method": "POST",
        "headers": {},
        "auth": {"type": "none"},
        "input_schema": INPUT_SCHEMA,
        "output_schema": None,
        "price": {
            "base_tokens": 1,
            "per_unit": {"pointer": "/usage/total_tokens", "tokens": 1, "unit": "model token"},
            "max_tokens": 2_000,
            "metered": {"chars_per_unit": 4, "input": True},  # of a stream that is canceled in the middle
        },
        "streaming": True,
        "timeout_seconds": 60,
        "max_attempts": 3,
        "idempotent": True,  # the same question with the same seed has the same answer
        "example_input": {"model": NAME, "messages": [{"role": "user", "content": "How is a submit billed?"}]},
        "result_pointer": None,
        "is_active": True,
    }


def completion(body: Json) -> Json:
    """The whole answer."""
    told = list(_told(body))
    message = {"role": "assistant", "content": "".join(piece for piece, _ in told)}
    choice = {"index": 0, "message": message, "finish_reason": told[-1][1], "logprobs": None}
    return {**_head(body, "chat.completion"), "choices": [choice], "usage": _usage(body, len(told))}


def chunks(body: Json) -> Iterator[Json]:
    """The same answer, token by token."""
    head, told, pause = _head(body, "chat.completion.chunk"), 0, 1 / _pace()
    yield {**head, "choices": [_delta({"role": "assistant", "content": ""})]}
    for piece, finish_reason in _told(body):
        time.sleep(pause)
        told += 1
        yield {**head, "choices": [_delta({"content": piece})]}
        if finish_reason:
            yield {**head, "choices": [_delta({}, finish_reason)]}
    if (body.get("stream_options") or {}).get("include_usage"):
        yield {**head, "choices": [], "usage": _usage(body, told)}


def _told(body: Json) -> Iterator[tuple[str, str | None]]:
    """Each token as it is written, and with the last one why it is the last."""
    most = min(body.get(name, MOST_TOKENS) for name in ("max_tokens", "max_completion_tokens"))
    least, before = body.get("min_tokens", LENGTH), ""
    for n, token in enumerate(islice(ngrams.model().story(_asked(body), body.get("seed", 0)), most), start=1):
        over = "stop" if n >= least and token in ngrams.ENDS else "length" if n == most else None
        yield ngrams.joined(token, before), over
        if over:
            return
        before = token


def _asked(body: Json) -> str:
    return str(body["messages"][-1]["content"])


def _usage(body: Json, written: int) -> Json:
    read = sum(len(ngrams.tokens(message["content"])) for message in body["messages"])
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


def _head(body: Json, kind: str) -> Json:
    made = time.time_ns()
    return {"id": f"chatcmpl-{made:x}", "object": kind, "created": made // 10**9, "model": body["model"]}


def _delta(delta: Json, finish_reason: str | None = None) -> Json:
    return {"index": 0, "delta": delta, "finish_reason": finish_reason, "logprobs": None}


def _pace() -> float:
    return float(os.environ.get("STORYTELLER_TOKENS_PER_SECOND", PACE))

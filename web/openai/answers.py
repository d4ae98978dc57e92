"""Whole answers: the output of an invocation that has ended, with what it cost beside its usage."""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

import orjson
from flask import Response

from common.errors import Conflict
from common.invocations import Invocation, receipts
from common.kit import jsonb
from common.kit.pieces import StepCounter
from web.http.submissions import Outcome
from web.openai import errors
from web.openai.parsing import ModelCall

Json = dict[str, object]
Vector = TypeVar("Vector", list[object], bytes)
#: Numbers of a vector that are converted at once.
PIECE: Final = 1_000
#: Bytes of a number in an encoded vector.
_FLOAT: Final = 4
_pieces = StepCounter()
DROPPED: Final = "The output of this invocation is no longer stored."


def completion(asked: ModelCall, outcome: Outcome) -> Response:
    """The answer of a chat model, or why there is none. Raises `Conflict`: its output was dropped."""
    return _response(outcome, lambda invocation: _completion(asked.model, invocation))


def embeddings(asked: ModelCall, outcome: Outcome) -> Response:
    """The answer of an embeddings model, or why there is none. Raises `Conflict`: its output was dropped."""
    return _response(outcome, lambda invocation: _embeddings(asked, invocation))


def _response(outcome: Outcome, rendered: Callable[[Invocation], Json]) -> Response:
    invocation = outcome.invocation
    if not invocation.ended:
        response = errors.still_running(invocation)
    elif invocation.status != "succeeded":
        response = errors.of_end(invocation)
    else:
        shown = {**rendered(invocation), "joyfull": receipts.bill(invocation)}
        headers = errors.headers_of(invocation)
        response = Response(jsonb.encoded(shown), headers=headers, content_type="application/json")
    if outcome.replayed:
        response.headers["Idempotent-Replayed"] = "true"
    return response


# -- chat completions ------------------------------------------------------------------------------------------------


def _completion(model: str, invocation: Invocation) -> Json:
    return {**whole(invocation), **head(model, invocation), "object": "chat.completion"}


def head(model: str, invocation: Invocation) -> Json:
    """What every chunk has, too: the client's own name of the model, and an id that leads to the invocation."""
    created = int(invocation.created_at.timestamp())
    return {"id": f"chatcmpl-{invocation.id.hex}", "created": created, "model": model}


def whole(invocation: Invocation) -> Json:
    """The output of a chat model; that of a tool which shows only a part of it, as its message. Raises `Conflict`."""
    output = _output(invocation)
    return output if isinstance(output, dict) and "choices" in output else {"choices": [_said(output)]}


def _said(output: object) -> Json:
    content = output if isinstance(output, str) else jsonb.dumps(output)
    return {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}


def _output(invocation: Invocation) -> object:
    if invocation.output is None:
        raise Conflict(DROPPED)
    return jsonb.parsed(invocation.output)


# -- embeddings ------------------------------------------------------------------------------------------------------


def _embeddings(asked: ModelCall, invocation: Invocation) -> Json:
    output = _output(invocation)
    found = output if isinstance(output, dict) else {"data": output}
    data, encode = found.get("data"), _floats if asked.encoding != "base64" else _base64
    vectors = [_encoded(each, encode) for each in data] if isinstance(data, list) else data
    return {**found, "object": "list", "data": vectors, "model": asked.model}


def _encoded(entry: object, encode: Callable[[object], object]) -> object:
    if not isinstance(entry, dict) or "embedding" not in entry:
        return entry
    return {**entry, "embedding": encode(entry["embedding"])}


def _base64(vector: object) -> object:
    """The vector as OpenAI encodes it: float32, little-endian, base64. One that is encoded, or none, stays as it is."""
    if not isinstance(vector, list):
        return vector
    try:
        packed = b"".join(struct.pack(f"<{len(some)}f", *some) for some in _in_pieces(vector))
    except (struct.error, OverflowError):
        return vector
    return base64.b64encode(packed).decode()


def _floats(vector: object) -> object:
    """The vector as numbers, also if the tool has encoded it."""
    if not isinstance(vector, str):
        return vector
    try:
        packed = base64.b64decode(vector, validate=True)
    except ValueError:  # not ASCII, or not base64
        return vector
    if len(packed) % _FLOAT:
        return vector
    numbers = (struct.unpack(f"<{len(some) // _FLOAT}f", some) for some in _in_pieces(packed, _FLOAT))
    return orjson.Fragment(b"[" + b",".join(jsonb.encoded(some)[1:-1] for some in numbers) + b"]")


def _in_pieces(vector: Vector, width: int = 1) -> Iterator[Vector]:
    """Slices of some numbers, of `width` items each. Others run between them."""
    for start in range(0, len(vector), PIECE * width):
        some = vector[start : start + PIECE * width]
        _pieces.step(len(some) // width)
        yield some

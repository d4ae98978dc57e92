"""What a request to a model asks for: the tool, its input, and how it is to be answered.

The body is the model's business: all of it becomes the tool's input, checked by its `input_schema`, but for the few
members that are about the answer or about the invocation.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypedDict, cast

import marshmallow as ma
from flask import request

from common import tools
from common.errors import InvalidHeader
from common.invocations import DEFAULT_EXPIRY, SubmitFields
from common.models.base import MAX_TOKENS
from common.tools import ListedTool
from web.http import auth, body, submissions, validation
from web.http.fields import Flag, Metadata, Text
from web.http.schemas import Body

CHAT: Final = "chat_completion"
EMBEDDINGS: Final = "embeddings"
#: Members of a body that are not for the model; `model` itself is replaced by the name that the tool gives it.
TAKEN_OUT: Final = frozenset(("stream", "stream_options", "metadata", "store", "user"))
#: A `user` that an invocation can be for.
_END_USER: Final = Text(max=128, line=True)
_AMOUNT: Final = re.compile(r"0|[1-9][0-9]{0,15}", re.ASCII)


class StreamOptionsSchema(Body):
    include_usage = Flag(load_default=False, allow_none=True)


class CallSchema(Body):
    model = Text(required=True, max=64)
    stream = Flag(load_default=False, allow_none=True)
    stream_options = ma.fields.Nested(StreamOptionsSchema(unknown=ma.EXCLUDE), load_default=None, allow_none=True)
    metadata = Metadata(load_default=None, allow_none=True)


class StreamOptions(TypedDict):
    """What `StreamOptionsSchema` loads."""

    include_usage: bool | None


class CallFields(TypedDict):
    """What `CallSchema` loads."""

    model: str
    stream: bool | None
    stream_options: StreamOptions | None
    metadata: dict[str, str] | None


_CALL: Final = CallSchema()


@dataclass(frozen=True, slots=True)
class ModelCall:
    """A request to a model.

    Attributes:
        model: as the client names it.
        fields: for the submit.
        body: what a repeat is recognised by.
        encoding: of embeddings, if it matters.
        usage_wanted: a stream is to say at its end what was used.
        continues: a stream is not canceled when nobody reads it any more.
    """

    model: str
    fields: SubmitFields
    body: Mapping[str, object]
    stream: bool
    usage_wanted: bool
    encoding: str | None
    continues: bool


def read(adapter: str) -> ModelCall:
    """The current request, to a tool with this adapter.

    Raises `NotFound`, `Invalid`, `InvalidHeader`, and what `web.http.body.read_json` does.
    """
    sent = cast("Mapping[str, object]", body.read_json(request))
    call = cast("CallFields", validation.loaded(_CALL, sent, ignore_unknown=True))
    tool = tools.model(call["model"], (adapter,), only=auth.caller().tools)
    stream = adapter == CHAT and bool(call["stream"])
    options, encoding = call["stream_options"], sent.get("encoding_format")
    limits = _limits()
    fields = _fields(tool, sent, call, limits, stream=stream)
    return ModelCall(
        model=call["model"],
        fields=fields,
        body={"path": request.path, "body": sent, "quote": fields.get("quote"), **limits},
        stream=stream,
        usage_wanted=bool(options and options["include_usage"]),
        encoding=encoding if isinstance(encoding, str) else None,
        continues=_continues(),
    )


def _fields(
    tool: ListedTool, sent: Mapping[str, object], call: CallFields, limits: Mapping[str, object], *, stream: bool
) -> SubmitFields:
    fields: SubmitFields = {
        "input": input_of(sent, tool.current.input_schema),
        "expires_in": DEFAULT_EXPIRY,
        "metadata": call["metadata"] or {},
    }
    if end_user := _end_user(sent.get("user")):
        fields["end_user"] = end_user
    return submissions.with_quote(cast("SubmitFields", {**fields, **limits, **({"stream": True} if stream else {})}))


def _end_user(user: object) -> str | None:
    """Whom the client makes the call for; None if it says so in a way that no invocation can."""
    try:
        return str(_END_USER.deserialize(user))
    except ma.ValidationError:
        return None


def input_of(sent: Mapping[str, object], schema: Mapping[str, object]) -> dict[str, object]:
    """The input of a tool with this schema: what was sent, as the tool names its model and without what is ours."""
    properties = schema.get("properties")
    known = properties if isinstance(properties, Mapping) else {}
    model = known.get("model")
    named = {"model": model["const"]} if isinstance(model, Mapping) and "const" in model else {}
    gone = TAKEN_OUT | ({"model"} - named.keys()) | ({"encoding_format"} - known.keys())
    return {name: named.get(name, value) for name, value in sent.items() if name not in gone}


# -- headers ---------------------------------------------------------------------------------------------------------


def _limits() -> dict[str, object]:
    """What limits the cost. Raises `InvalidHeader`."""
    found: dict[str, object] = {}
    if (most := request.headers.get("Joyfull-Max-Tokens")) is not None:
        if not _AMOUNT.fullmatch(most.strip()) or int(most) > MAX_TOKENS:
            raise InvalidHeader(f"Joyfull-Max-Tokens must be a whole number from 0 to {MAX_TOKENS}.")
        found["max_tokens"] = int(most)
    return found


def _continues() -> bool:
    """Raises `InvalidHeader`."""
    wanted = request.headers.get("Joyfull-On-Disconnect", "cancel").strip().lower()
    if wanted not in ("cancel", "continue"):
        raise InvalidHeader("Joyfull-On-Disconnect must be cancel or continue.")
    return wanted == "continue" or "Idempotency-Key" in request.headers

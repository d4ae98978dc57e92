"""The operations of `/v1`."""

from __future__ import annotations

from typing import Final

from flask import Blueprint, Response

from common import invocations, tools
from common.kit import jsonb
from common.settings.links import OPENAI_PREFIX
from common.tools import ListedTool
from web.http import auth, limits, streams
from web.openai import answers, calling, chunks, parsing

blp: Final = Blueprint("openai", __name__, url_prefix=OPENAI_PREFIX)
OWNER: Final = "joyfull-hub"


@blp.get("/models")
@auth.needs("tools:read")
def models() -> Response:
    """The tools that are models."""
    limits.count()
    found = tools.models(only=auth.caller().tools)
    return _json({"object": "list", "data": [_model(tool) for tool in found]})


@blp.get("/models/<name>")
@auth.needs("tools:read")
def model(name: str) -> Response:
    """One of them, by slug or id."""
    limits.count()
    return _json(_model(tools.model(name, only=auth.caller().tools)))


@blp.post("/chat/completions")
@auth.needs("invocations:write")
@limits.submits
def chat_completions() -> Response:
    """An answer of a chat model."""
    wanted = parsing.read(parsing.CHAT)
    begun = calling.begin(wanted)
    if wanted.stream:
        return chunks.response(wanted, begun)
    return calling.noted(begun, answers.completion(wanted, calling.ended(begun)))


chat_completions.produces = ["application/json", streams.EVENTS]  # type: ignore[attr-defined]


@blp.post("/embeddings")
@auth.needs("invocations:write")
@limits.submits
def embeddings() -> Response:
    """Vectors of an embeddings model."""
    wanted = parsing.read(parsing.EMBEDDINGS)
    begun = calling.begin(wanted)
    return calling.noted(begun, answers.embeddings(wanted, calling.ended(begun)))


def _model(tool: ListedTool) -> dict[str, object]:
    about = {"price": invocations.priced(tool.current.price), "input_schema": tool.current.input_schema}
    created = int(tool.created_at.timestamp())
    return {"id": tool.slug, "object": "model", "created": created, "owned_by": OWNER, "joyfull": about}


def _json(value: object) -> Response:
    return Response(jsonb.encoded(value), content_type="application/json")

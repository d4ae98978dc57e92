"""Operations in the shape of another API: here they have a name, and bodies that its own reference describes."""

from __future__ import annotations

from typing import Final

from common.settings.links import OPENAI_PREFIX
from web.api.openapi.components import HEADERS, Part, header_ref

GROUP: Final = "OpenAI-compatible"
TAG: Final[Part] = {"name": GROUP, "description": "What clients of the OpenAI API call"}
_ABOUT: Final = "For clients of the OpenAI API, unmodified: see `docs/openai-clients.md` for what is different."
_REFERENCE: Final = "https://platform.openai.com/docs/api-reference"
_OBJECT: Final[Part] = {"type": "object"}
_ERROR: Final[Part] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": "string"},
            },
        }
    },
}
_TEXT: Final[Part] = {"schema": {"type": "string"}}
_AMOUNT: Final[Part] = {"schema": {"type": "integer", "minimum": 0}}
_SAID: Final[Part] = {
    "X-Request-ID": header_ref("X-Request-ID"),
    "RateLimit-Policy": header_ref("RateLimit-Policy-Known"),
    "RateLimit": header_ref("RateLimit-Known"),
    "Joyfull-Invocation": {"description": "The id of the invocation that was made.", **_TEXT},
    "Joyfull-Held": {"description": "The tokens that are held for it, or were.", **_AMOUNT},
    "Joyfull-Charged": {"description": "What it was charged, once it has ended.", **_AMOUNT},
}
_REPLAYED: Final[Part] = {
    "description": "`true`: the request repeats an earlier one, by its Idempotency-Key or by the count of its client's "
    "repeats, and this is the answer to both.",
    "schema": {"type": "string", "enum": ["true"]},
}
_SAID_OF_ERRORS: Final[Part] = {
    **_SAID,
    "WWW-Authenticate": HEADERS["WWW-Authenticate"],
    "Allow": HEADERS["Allow"],
    "Retry-After": header_ref("Retry-After"),
    "X-Should-Retry": {"description": "`false`: the client is not to repeat the request by itself.", **_TEXT},
}
#: The `object` that each answers with.
_KINDS: Final = {"models": "list", "model": "model", "chat_completions": "chat.completion", "embeddings": "list"}
_WRONG: Final[Part] = {
    "error": {
        "message": "There is no such model.",
        "type": "invalid_request_error",
        "param": None,
        "code": "model_not_found",
    }
}


def paths() -> Part:
    """The paths, to be added to those of the document."""
    model: Part = {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}
    return {
        f"{OPENAI_PREFIX}/models": {"get": _operation("models", "The tools that are models", "tools:read", "models")},
        f"{OPENAI_PREFIX}/models/{{name}}": {
            "get": {**_operation("model", "One of them, by slug or id", "tools:read", "models"), "parameters": [model]}
        },
        f"{OPENAI_PREFIX}/chat/completions": {
            "post": _asking("chat_completions", "An answer of a chat model, also as a stream", "chat")
        },
        f"{OPENAI_PREFIX}/embeddings": {
            "post": _asking("embeddings", "Vectors of an embeddings model", "embeddings"),
        },
    }


def _operation(name: str, summary: str, scope: str, reference: str) -> Part:
    error = {**_json("An error.", _ERROR, _WRONG), "headers": _SAID_OF_ERRORS}
    return {
        "tags": [GROUP],
        "operationId": f"openai_{name}",
        "summary": summary,
        "parameters": [],
        "description": f"{_ABOUT}\n\n*API keys need the scope `{scope}`.*",
        "externalDocs": {"url": f"{_REFERENCE}/{reference}"},
        "security": [{"accessToken": []}, {"apiKey": [scope]}, {"apiKeyAsBearer": [scope]}],
        "responses": {
            "200": {**_json("As in that API.", _OBJECT, {"object": _KINDS[name]}), "headers": _SAID},
            "4XX": error,
            "5XX": error,
        },
    }


def _asking(name: str, summary: str, reference: str) -> Part:
    named: Part = {**_OBJECT, "required": ["model"], "properties": {"model": {"type": "string"}}}
    sent = {"required": True, **_json("As in that API.", named, {"model": "chat"})}
    operation = _operation(name, summary, "invocations:write", reference)
    for response in operation["responses"].values():
        response["headers"] = {**response["headers"], "Idempotent-Replayed": _REPLAYED}
    return {**operation, "requestBody": sent}


def _json(description: str, schema: Part, example: Part) -> Part:
    return {"description": description, "content": {"application/json": {"schema": schema, "example": example}}}

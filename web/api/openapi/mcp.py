"""MCP in the document: that it is there. Its messages are described by its own specification."""

from __future__ import annotations

from typing import Final

from common.settings.links import MCP_PATH, RESOURCE_METADATA
from web.api.openapi.components import Part

GROUP: Final = "Model Context Protocol"
TAG: Final[Part] = {"name": GROUP, "description": "The catalogue as tools for agents"}
_SPECIFICATION: Final = "https://modelcontextprotocol.io/specification"
_RESOURCE: Final = "https://www.rfc-editor.org/rfc/rfc9728"
_OBJECT: Final[Part] = {"type": "object"}
_ASKED: Final[Part] = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
_ANSWERED: Final[Part] = {"jsonrpc": "2.0", "id": 1, "result": {}}
_WRONG: Final[Part] = {"jsonrpc": "2.0", "id": 1, "error": {"code": -32601, "message": "There is no such method here."}}
_METADATA: Final[Part] = {"resource": "https://hub.example.com/mcp", "bearer_methods_supported": ["header"]}


def paths() -> Part:
    """The paths, to be added to those of the document."""
    return {
        MCP_PATH: {"post": _message()},
        RESOURCE_METADATA: {"get": _metadata("whole", "Where clients of the hub are authorized")},
        RESOURCE_METADATA + MCP_PATH: {"get": _metadata("of_mcp", "Where clients of `/mcp` are authorized")},
    }


def _message() -> Part:
    answer = _json("The response; of a call that lasts, server-sent events with it as the last.", _ANSWERED)
    error = _json("An error.", _WRONG)
    return {
        **_operation("mcp_receive", "A message of the Model Context Protocol", _SPECIFICATION),
        "security": [{"accessToken": []}, {"apiKey": []}, {"apiKeyAsBearer": []}],
        "requestBody": {"required": True, **_json("A JSON-RPC message.", _ASKED)},
        "responses": {
            "200": answer,
            "202": {"description": "A notification was received."},
            "4XX": error,
            "5XX": error,
        },
    }


def _metadata(name: str, summary: str) -> Part:
    answer = {
        "200": _json("Protected-resource metadata (RFC 9728).", _METADATA),
        "4XX": {"description": "Refused, as by any other path: another method, or no JSON accepted."},
    }
    return {**_operation(f"resource_metadata_{name}", summary, _RESOURCE), "security": [], "responses": answer}


def _operation(name: str, summary: str, reference: str) -> Part:
    return {
        "tags": [GROUP],
        "operationId": name,
        "summary": summary,
        "parameters": [{"$ref": "#/components/parameters/X-Request-ID"}],
        "description": "For clients of MCP, unmodified: see `docs/mcp.md`.",
        "externalDocs": {"url": reference},
    }


def _json(description: str, example: Part) -> Part:
    return {"description": description, "content": {"application/json": {"schema": _OBJECT, "example": example}}}

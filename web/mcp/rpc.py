"""JSON-RPC 2.0 over HTTP: a message that was read, and responses to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from flask import Response, g

from common import errors
from common.errors import PlatformError
from common.kit import jsonb
from web.http import problems
from web.mcp import protocol

#: Members of an object, by name.
Json = dict[str, object]
JSON: Final = "application/json"

#: HTTP statuses of errors, in the modern revisions. (Handshake ones answer 200: their clients read no body of others.)
_STATUSES: Final = {protocol.METHOD_NOT_FOUND: 404, protocol.INTERNAL_ERROR: 500}


@dataclass(frozen=True, slots=True)
class Message:
    """A request. `version`: the revision that it is read and answered by.

    `extensions`: those that its client has declared.
    """

    id: str | int
    method: str
    params: Mapping[str, object]
    version: str

    @property
    def is_modern(self) -> bool:
        """Whether it is of a stateless revision of the protocol."""
        return self.version in protocol.MODERN

    @property
    def meta(self) -> Mapping[str, object]:
        """Its `_meta`; empty if it has none."""
        meta = self.params.get("_meta")
        return meta if isinstance(meta, Mapping) else {}

    @property
    def progress_token(self) -> str | int | None:
        """What its client wants to be told of progress by."""
        token = self.meta.get("progressToken")
        return token if isinstance(token, str | int) else None

    @property
    def has_tasks(self) -> bool:
        """Whether its client understands an answer that is a task."""
        declared = self.meta.get(protocol.CAPABILITIES_KEY) if self.is_modern else None
        extensions = declared.get("extensions") if isinstance(declared, Mapping) else None
        return isinstance(extensions, Mapping) and protocol.TASKS in extensions


class RpcError(Exception):
    """An error of the protocol; `status` is that of HTTP where it is not the ordinary one of `code`."""

    def __init__(self, code: int, message: str, data: object = None, *, status: int | None = None) -> None:
        super().__init__(message)
        self.code, self.message, self.data, self.status = code, message, data, status


def invalid(message: str, data: object = None) -> RpcError:
    """For parameters that are wrong."""
    return RpcError(protocol.INVALID_PARAMS, message, data)


# -- responses -------------------------------------------------------------------------------------------------------


def result_of(message: Message, result: Json) -> Json:
    """The whole response with this result, as the revision of the request has it."""
    if message.is_modern:
        meta = result.get("_meta")
        own = meta if isinstance(meta, Mapping) else {}
        result = {"resultType": "complete", **result, "_meta": {protocol.SERVER_KEY: protocol.SERVER_INFO, **own}}
    return {"jsonrpc": "2.0", "id": message.id, "result": result}


def error_of(id_: str | int | None, code: int, text: str, data: object = None) -> Json:
    """The whole response with this error."""
    error: Json = {"code": code, "message": text} | ({} if data is None else {"data": data})
    return {"jsonrpc": "2.0", "id": id_, "error": error}


def reply(message: Message, result: Json) -> Response:
    """The result as an HTTP response."""
    return Response(jsonb.encoded(result_of(message, result)), content_type=JSON)


def refusal(error: RpcError) -> Response:
    """An error of the protocol as the HTTP response to the current request."""
    g.problem_code = f"rpc{error.code}"
    status = error.status or (200 if _is_handshake() else _STATUSES.get(error.code, 400))
    body = error_of(_id(), error.code, error.message, error.data)
    return Response(jsonb.encoded(body), status, content_type=JSON)


def response_to(error: PlatformError) -> Response:
    """An error of the platform: its HTTP status, and a JSON-RPC error with the problem as `data`."""
    status = problems.status_of(type(error))
    code, data = protocol.REFUSED, problems.as_dict(error)
    if status == 500:
        code, data = protocol.INTERNAL_ERROR, {"request_id": g.get("request_id")}
    elif isinstance(error, errors.Malformed | errors.Invalid):
        code = protocol.INVALID_REQUEST
    body = problems.encode(error_of(_id(), code, error.detail, data))
    return Response(body, status, problems.headers_of(error), content_type=JSON)


def _id() -> str | int | None:
    """That of the current request, once its message was read."""
    message: Message | None = g.get("message")
    return g.get("message_id") if message is None else message.id


def _is_handshake() -> bool:
    message: Message | None = g.get("message")
    return message is not None and not message.is_modern

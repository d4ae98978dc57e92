"""Reading a message: its shape, its revision, and for modern ones the headers that repeat what it says.

The order of checks is that of the specification: a gateway, which reads only headers, and a server, which reads the
body, must come to the same conclusion, or the request is refused.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Final

from flask import Request, g

from common import errors
from web.http import body, problems
from web.mcp import protocol
from web.mcp.protocol import CAPABILITIES_KEY, HANDSHAKE, HEADER_MISMATCH, MODERN, VERSION_KEY
from web.mcp.rpc import Json, Message, RpcError, invalid

VERSION_HEADER: Final = "MCP-Protocol-Version"
METHOD_HEADER: Final = "Mcp-Method"
NAME_HEADER: Final = "Mcp-Name"
#: The parameter that `Mcp-Name` repeats, by method.
_NAMED: Final = {
    "tools/call": "name",
    "prompts/get": "name",
    "resources/read": "uri",
    "tasks/get": "taskId",
    "tasks/update": "taskId",
    "tasks/cancel": "taskId",
}
_ENCODED: Final = re.compile(r"=\?base64\?(.*)\?=")


def read(request: Request) -> Message | None:
    """The request in the body; None for a notification or a response, which need no answer.

    Raises `RpcError`, and what `body.read_json` raises of the kinds that HTTP has statuses for.
    """
    value = _value(request)
    id_ = _noted(value)
    version = request.headers.get(VERSION_HEADER)
    params = _params(value)
    is_modern = VERSION_KEY in _meta(params) or (version is not None and version not in HANDSHAKE)
    if "method" not in value or id_ is None:
        _require_acknowledged(value, version if is_modern else None)
        return None
    if not isinstance(method := value["method"], str):
        raise RpcError(protocol.INVALID_REQUEST, "`method` must be a string.")
    if is_modern:
        _require_agreement(request, method, params, version)
        return Message(id_, method, params, str(version))
    return Message(id_, method, params, version or protocol.UNNAMED)


def _value(request: Request) -> Json:
    try:
        value = body.read_json(request)
    except (errors.Malformed, errors.Invalid) as error:
        raise RpcError(protocol.PARSE_ERROR, error.detail, problems.as_dict(error), status=400) from None
    if not isinstance(value, dict) or value.get("jsonrpc") != "2.0":
        raise RpcError(protocol.INVALID_REQUEST, "The body must be one JSON-RPC 2.0 message.", status=400)
    return value


def _noted(value: Json) -> str | int | None:
    """The id of a request, also for errors in what follows."""
    if "id" not in value:
        return None
    id_ = value["id"]
    if isinstance(id_, bool) or not isinstance(id_, str | int):
        raise RpcError(protocol.INVALID_REQUEST, "`id` must be a string or an integer.", status=400)
    g.message_id = id_
    return id_


def _params(value: Json) -> Mapping[str, object]:
    params = value.get("params", {})
    if not isinstance(params, dict):
        raise RpcError(protocol.INVALID_REQUEST, "`params` must be an object.", status=400)
    return params


def _meta(params: Mapping[str, object]) -> Mapping[str, object]:
    meta = params.get("_meta")
    return meta if isinstance(meta, Mapping) else {}


def _require_acknowledged(value: Json, modern: str | None) -> None:
    """A notification, or the response to a request (which this server never sends)."""
    if modern is not None:
        _require_known(modern)
    is_response = "method" not in value and ("result" in value or "error" in value)
    if not isinstance(value.get("method"), str) and (modern is not None or not is_response):
        raise RpcError(protocol.INVALID_REQUEST, "The body must be a request or a notification.", status=400)


# -- modern requests -------------------------------------------------------------------------------------------------


def _require_agreement(request: Request, method: str, params: Mapping[str, object], version: str | None) -> None:
    if version is None:
        raise RpcError(HEADER_MISMATCH, f"The header {VERSION_HEADER} is required.")
    meta = _meta(params)
    if not isinstance(asked := meta.get(VERSION_KEY), str) or not isinstance(meta.get(CAPABILITIES_KEY), dict):
        raise invalid(f"`params._meta` must have {VERSION_KEY} (a string) and {CAPABILITIES_KEY} (an object).")
    if version != asked:
        raise RpcError(HEADER_MISMATCH, f"{VERSION_HEADER} does not match `params._meta`.")
    _require_known(version)
    if request.headers.get(METHOD_HEADER) != method:
        raise RpcError(HEADER_MISMATCH, f"{METHOD_HEADER} does not match the method of the body.")
    name = params.get(_NAMED.get(method, ""))
    if name is not None and _decoded(request.headers.get(NAME_HEADER)) != name:
        raise RpcError(HEADER_MISMATCH, f"{NAME_HEADER} does not match `params.{_NAMED[method]}`.")


def _require_known(version: str) -> None:
    if version not in MODERN:
        known = {"supported": list(MODERN), "requested": version}
        raise RpcError(protocol.UNSUPPORTED_VERSION, "This protocol version is not supported.", known)


def _decoded(header: str | None) -> str | None:
    """The value of a header, which may be in base64; None if that is not what an encoder writes."""
    found = _ENCODED.fullmatch(header or "")
    if found is None:
        return header
    try:
        value = base64.b64decode(found[1], validate=True)
        return value.decode() if base64.b64encode(value).decode() == found[1] else None
    except ValueError:  # not ASCII, not base64, or not UTF-8
        return None

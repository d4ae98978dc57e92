"""`POST /mcp`: every message of the Model Context Protocol comes in here. There are no sessions.

the request → origins → credential → messages.read → a function below → rpc.reply, or a stream
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from flask import Blueprint, Response, g, request

from common import errors
from common.settings.links import MCP_PATH
from web.http import auth, limits, streams
from web.mcp import calls, listing, messages, origins, protocol, rpc, tasks
from web.mcp.rpc import Json, Message, RpcError

blp: Final = Blueprint("mcp", __name__, url_prefix=MCP_PATH)
blp.before_request(origins.refuse_foreign)

Verb = Callable[[Message], Json]


@blp.post("")
@auth.signed_in
def receive() -> Response:
    """Any message."""
    try:
        message = messages.read(request)
        return Response(status=202) if message is None else _answered(message)
    except RpcError as error:
        return rpc.refusal(error)


receive.produces = [rpc.JSON, streams.EVENTS]  # type: ignore[attr-defined]


def _answered(message: Message) -> Response:
    g.message = message
    try:
        if message.method == "tools/call":
            return calls.call(message)
        return rpc.reply(message, _result(message))
    except errors.NotFound as error:
        raise rpc.invalid(error.detail) from None


def _result(message: Message) -> Json:
    limits.count()
    scope, verb = _known(message)
    if scope is not None:
        auth.require(scope)
    return verb(message)


def _known(message: Message) -> tuple[str | None, Verb]:
    known = _MODERN if message.is_modern else _HANDSHAKE
    if message.method not in known:
        raise RpcError(protocol.METHOD_NOT_FOUND, f"Method {message.method[:100]!r} not found.")
    return known[message.method]


# -- what needs no module of its own ---------------------------------------------------------------------------------


def discover(_: Message) -> Json:
    """`server/discover`: what this server speaks and offers."""
    return {
        "supportedVersions": [*protocol.MODERN],
        "capabilities": {"tools": {}, "extensions": {protocol.TASKS: {}}},
        "instructions": protocol.INSTRUCTIONS,
        **listing.CACHING,
    }


def initialize(message: Message) -> Json:
    """`initialize`: the client's revision if it is known here, or else the newest one that begins so."""
    asked = message.params.get("protocolVersion")
    return {
        "protocolVersion": asked if asked in protocol.HANDSHAKE else protocol.HANDSHAKE[0],
        "capabilities": {"tools": {}},
        "serverInfo": protocol.SERVER_INFO,
        "instructions": protocol.INSTRUCTIONS,
    }


def ping(_: Message) -> Json:
    """`ping`: it is there."""
    return {}


#: The scope that a method needs (None: any credential will do), and what answers it.
_MODERN: Final[Mapping[str, tuple[str | None, Verb]]] = {
    "server/discover": (None, discover),
    "tools/list": ("tools:read", listing.listed),
    "tasks/get": ("invocations:read", tasks.get),
    "tasks/update": ("invocations:write", tasks.update),
    "tasks/cancel": ("invocations:write", tasks.cancel),
}
_HANDSHAKE: Final[Mapping[str, tuple[str | None, Verb]]] = {
    "initialize": (None, initialize),
    "ping": (None, ping),
    "tools/list": ("tools:read", listing.listed),
}

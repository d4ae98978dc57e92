"""`tools/list`: the catalogue as tools of MCP, with their prices in words, and the built-in tools before it."""

from __future__ import annotations

from typing import Final

from common import errors, tools
from common.invocations import priced
from common.kit.paging import Position, Window
from common.tools import ListedTool, Price
from web.http import auth, pagination
from web.mcp import builtins, protocol, schemas
from web.mcp.rpc import Json, Message, invalid

#: Tools on a page.
MOST: Final = 100
#: Milliseconds for which a client may go on with what it has read.
TTL_MS: Final = 60_000
CACHING: Final = {"ttlMs": TTL_MS, "cacheScope": "private"}


def listed(message: Message) -> Json:
    """A page of tools, newest first. Raises `RpcError` for a cursor that is none."""
    caller = auth.caller()
    cursor = message.params.get("cursor")
    own = [] if cursor is not None else builtins.DEFINITIONS
    window = Window(MOST - len(own), None if cursor is None else _position(cursor))
    page = tools.browse(caller.user_id, window, only=caller.tools)
    shown = [*own, *(shown_as(tool, any_value=message.is_modern) for tool in page.items)]
    following: Json = {"nextCursor": pagination.encode(page.next)} if page.next is not None else {}
    return {"tools": shown, **following, **(CACHING if message.is_modern else {})}


def _position(cursor: object) -> Position:
    try:
        return pagination.decode(str(cursor))
    except errors.InvalidCursor as error:
        raise invalid(error.detail) from None


def shown_as(tool: ListedTool, *, any_value: bool) -> Json:
    """A tool of the catalogue. `any_value`: the revision has outputs that are no objects."""
    version = tool.current
    output = schemas.of_output(version, any_value=any_value)
    return {
        "name": tool.slug,
        "title": tool.name,
        "description": f"{tool.description or tool.name}\n\n{in_words(version.price)}",
        "inputSchema": schemas.of_input(version),
        **({} if output is None else {"outputSchema": output}),
        "annotations": {"title": tool.name, "idempotentHint": version.idempotent, "openWorldHint": True},
        "_meta": {f"{protocol.OURS}price": priced(version.price), f"{protocol.OURS}version": version.version},
    }


def in_words(price: Price) -> str:
    """What a call costs, for who decides whether to make it."""
    most, per_unit = _tokens(price.max_tokens), price.per_unit
    if per_unit is None:
        return f"Price: {_tokens(price.base_tokens)} a call. A call that fails is free."
    each = f"{per_unit['tokens']:g} for each {per_unit['unit']}"
    return f"Price: {_tokens(price.base_tokens)} and {each}, at most {most} a call. A call that fails is free."


def _tokens(number: int) -> str:
    return f"{number:,} token{'' if number == 1 else 's'}"

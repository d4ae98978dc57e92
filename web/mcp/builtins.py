"""Tools of the hub's own, free of charge: what a call would cost, what is left, and what became of a call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Final, NotRequired, TypedDict
from uuid import UUID

import marshmallow as ma

from common import budgets, invocations, subscriptions
from common.invocations import Quote
from common.kit.clock import rfc3339
from web.http import auth, waiting
from web.http.fields import Id, Text, Tokens
from web.http.schemas import Body
from web.http.validation import loaded
from web.mcp import results
from web.mcp.rpc import Json

#: Arguments, as they were sent.
Arguments = Mapping[str, object]


class QuoteArgumentsSchema(Body):
    tool = Text(required=True, max=64)
    input = ma.fields.Raw(required=True, allow_none=True)
    max_tokens = Tokens()


class QuoteArguments(TypedDict):
    """What `QuoteArgumentsSchema` loads."""

    tool: str
    input: object
    max_tokens: NotRequired[int]


class NamedInvocationSchema(Body):
    invocation = Id(required=True)


class NamedInvocation(TypedDict):
    """What `NamedInvocationSchema` loads."""

    invocation: UUID


# -- the tools -------------------------------------------------------------------------------------------------------


def quoted(arguments: Arguments) -> Json:
    """What a call would hold and cost, and a signed quote that pins it."""
    sent: QuoteArguments = loaded(QuoteArgumentsSchema(), arguments, "input")
    return _quote(invocations.quote(auth.caller(), sent["tool"], sent["input"], sent.get("max_tokens"), signed=True))


def _quote(quote: Quote) -> Json:
    names = ("max_tokens", "max_units", "expected_tokens", "available", "allowed", "reason", "version", "quote")
    return {
        "tool": quote.tool.slug,
        **{name: getattr(quote, name) for name in names},
        "price": invocations.priced(quote.price),
        "waiting": None if quote.waiting is None else quote.waiting.detail,
        "estimated_wait_seconds": quote.estimated_wait_seconds,
    }


def balance(arguments: Arguments) -> Json:
    """What is left of the account's tokens, and of the API key's allowance."""
    loaded(Body(), arguments, "input")
    caller = auth.caller()
    current = subscriptions.current(caller.user_id)
    allowance = budgets.credential(caller).allowance
    return {
        "plan": current.plan,
        "tokens": _told(asdict(current.balance)),
        "allowance": None if allowance is None else _told(asdict(allowance)),
    }


def _told(amounts: Json) -> Json:
    at = amounts.pop("resets_at")
    return {**amounts, "resets_at": None if at is None else rfc3339(at)}  # type: ignore[arg-type]


def invocation(arguments: Arguments) -> Json:
    """An invocation, with its output once it has ended."""
    sent: NamedInvocation = loaded(NamedInvocationSchema(), arguments, "input")
    found = waiting.wait_for_completion(sent["invocation"], auth.caller().user_id, 0)
    return invocations.represent(found)


# -- how they are listed and called ----------------------------------------------------------------------------------


def _definition(name: str, title: str, description: str, properties: Json, required: list[str]) -> Json:
    return {
        "name": name,
        "title": title,
        "description": f"{description}\n\nPrice: free.",
        "inputSchema": {
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": False,
        },
        "annotations": {"title": title, "readOnlyHint": True, "openWorldHint": False},
    }


_TOOL: Final[Json] = {"type": "string", "description": "The name of the tool."}
_INPUT: Final[Json] = {"description": "The arguments as the tool would be called with them."}
_MOST: Final[Json] = {"type": "integer", "minimum": 0, "description": "The most that the call may cost, in tokens."}
_ID: Final[Json] = {"type": "string", "format": "uuid", "description": "The id of the invocation or task."}

DEFINITIONS: Final = [
    _definition(
        "hub_balance",
        "Balance",
        "What is left of this account's tokens in the current period, and of the API key's allowance.",
        {},
        [],
    ),
    _definition(
        "hub_quote",
        "Quote",
        "What one call of a tool would cost at most, what such calls have cost lately, and whether it would be "
        "accepted now. Its `quote` pins the price for five minutes.",
        {"tool": _TOOL, "input": _INPUT, "max_tokens": _MOST},
        ["tool", "input"],
    ),
    _definition(
        "hub_invocation",
        "Invocation",
        "What became of a call: its status, its output once it has ended, and what it was charged.",
        {"invocation": _ID},
        ["invocation"],
    ),
]
#: The scope that each needs, and what it does.
_TOOLS: Final[Mapping[str, tuple[str, Callable[[Arguments], Json]]]] = {
    "hub_balance": ("subscriptions:read", balance),
    "hub_quote": ("tools:read", quoted),
    "hub_invocation": ("invocations:read", invocation),
}
NAMES: Final = frozenset(_TOOLS)


def call(name: str, arguments: Arguments) -> Json:
    """The result of one of `NAMES`. Raises `ScopeMissing`, and what the verb that it calls raises."""
    scope, verb = _TOOLS[name]
    auth.require(scope)
    return results.value(verb(arguments))

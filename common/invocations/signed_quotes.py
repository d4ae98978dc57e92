"""Signed quotes: version and price hold until one expires, although the tool is edited. A quote reserves nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from common import tools
from common.errors import NotFound, QuoteExpired, QuoteInvalid
from common.identity import signatures
from common.identity.authorization import Caller
from common.invocations import hashing, ordering
from common.invocations.choosing import ChosenTool, PinnedBy, check
from common.invocations.model import Order
from common.invocations.representation import priced
from common.kit import clock
from common.tools import ListedTool

#: `typ` of its header.
TYPE: Final = "joyfull-quote+jwt"
#: How long it holds.
SECONDS: Final = 300


def sign(caller: Caller, chosen: ChosenTool, value: object) -> str | None:
    """The quote for this account, tool and input; None for an input that cannot be hashed (RFC 8785).

    Raises `DependencyUnavailable`.
    """
    hashed = hashing.of_value(value, caller.user_id)
    if hashed is None:
        return None
    tool, asked = chosen.tool, chosen.requested or chosen.tool
    now = int(clock.wall())
    claims = {
        "iss": signatures.issuer(),
        "sub": str(caller.user_id),
        "jti": str(clock.uuid7()),
        "iat": now,
        "exp": now + SECONDS,
        "tool": {"id": str(tool.id), "version": tool.current.version},
        "requested_tool": str(asked.id),
        "input_sha256": hashed,
        "max_tokens": chosen.amount,
        "price": priced(tool.current.price),
    }
    return signatures.sign_only(TYPE, claims)


def redeem(caller: Caller, tool_ref: str, order: Order, token: str) -> ChosenTool:
    """The tool in the version that the quote names, and the tokens to hold: at most what it says.

    Raises `QuoteInvalid` (another tool, input or account; a tool that cannot be called any more), `QuoteExpired`,
    `Conflict` (another version was asked for), `DependencyUnavailable`, and what `choosing.check` does.
    """
    asked = _asked(tool_ref)
    try:
        claims = signatures.read(token, TYPE)
    except signatures.BadSignature as error:
        raise QuoteInvalid("The quote was not signed here. No invocation was created; ask for a new one.") from error
    _require_for(claims, caller, asked, order)
    expires_at = datetime.fromtimestamp(_whole(claims["exp"]), UTC)
    if clock.now() >= expires_at:
        raise QuoteExpired
    runs = _pinned(claims, caller, asked)
    ordering.require_version(runs.current, order.version)
    most = min(_whole(claims["max_tokens"]), runs.current.price.hold(order.max_tokens))
    amount = check(runs.current, order.input, most, caller.user_id)
    requested = None if runs.id == asked.id else asked
    return ChosenTool(runs, amount, requested, PinnedBy(UUID(str(claims["jti"])), expires_at))


def _asked(tool_ref: str) -> ListedTool:
    try:
        return tools.find(tool_ref)
    except NotFound as error:
        raise QuoteInvalid("The tool of this quote cannot be called any more. No invocation was created.") from error


def _require_for(claims: dict[str, object], caller: Caller, asked: ListedTool, order: Order) -> None:
    given = {
        "sub": str(caller.user_id),
        "requested_tool": str(asked.id),
        "input_sha256": hashing.of_value(order.input, caller.user_id),
    }
    names = {"sub": "account", "requested_tool": "tool", "input_sha256": "input"}
    for claim, value in given.items():
        if claims[claim] != value:
            raise QuoteInvalid(f"The quote is for another {names[claim]}. No invocation was created.")


def _pinned(claims: dict[str, object], caller: Caller, asked: ListedTool) -> ListedTool:
    """The tool that the quote says would run, with the version that it names as the current one."""
    named = claims["tool"]
    if not isinstance(named, dict):
        raise QuoteInvalid
    tool_id = UUID(named["id"])
    tool = asked if tool_id == asked.id else tools.get(tool_id)
    if not caller.may_use(tool.slug):
        raise QuoteInvalid("The API key cannot use the tool of this quote. No invocation was created.")
    return replace(tool, current=tools.numbered(tool_id, named["version"]))


def _whole(claim: object) -> int:
    if not isinstance(claim, int):
        raise QuoteInvalid
    return claim

"""Which tool an invocation runs with, and what is held for it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from common import budgets, tools
from common.errors import (
    FieldError,
    Invalid,
    NotFound,
    QuoteExpired,
    QuoteInvalid,
    RateLimited,
    StreamingUnsupported,
    ToolUnavailable,
)
from common.identity.authorization import Caller
from common.invocations import overload
from common.kit import db
from common.kit.query import Query
from common.tools import ListedTool, Version, breakers


@dataclass(frozen=True, slots=True)
class PinnedBy:
    """The signed quote by which a version is used, until then, whatever the tool's current one is."""

    quote_id: UUID
    until: datetime


class PinState(NamedTuple):
    """Whether a quote has expired by the database's clock."""

    expired: bool


_PIN_STATE: Final = Query("select now() >= cast(:until as timestamptz) as expired", PinState)


@dataclass(frozen=True, slots=True)
class ChosenTool:
    """The tool that runs, and the tokens to hold. `requested`: the tool that was asked for, where that is another."""

    tool: ListedTool
    amount: int
    requested: ListedTool | None = None
    pinned_by: PinnedBy | None = None

    def is_current(self) -> bool:
        """Whether the tools are as they were seen. What is not is dropped from the cache."""
        seen = [self.tool] if self.requested is None else [self.tool, self.requested]
        return all(tools.is_current(tool) for tool in seen)

    def require_current(self) -> None:
        """After its row was refused: raise `NotFound` if the tools are not as they were seen any more; or, if a quote
        pins them, `QuoteExpired`, and `QuoteInvalid` if one cannot be called any more.
        """
        if self.pinned_by is None:
            if not self.is_current():
                raise NotFound
        elif db.execute(_PIN_STATE, {"until": self.pinned_by.until})[0].expired:
            raise QuoteExpired
        elif not all(tools.is_live(tool.id) for tool in (self.tool, self.requested or self.tool)):
            raise QuoteInvalid("The tool of this quote cannot be called any more. No invocation was created.")


def check(tool: Version, value: object, max_tokens: int | None, account: UUID | None = None) -> int:
    """Whether a tool would take this input of an account at this limit; returns what would be held.

    Raises `ToolInputRejected`, or `Invalid` when `max_tokens` is below the least that the tool costs.
    """
    tools.validate_input(tool, value, account, overload.aside)
    amount = tool.price.hold(max_tokens)
    if amount < tool.price.least:
        least = FieldError("/max_tokens", f"must be at least {tool.price.least}, the base price of this tool")
        raise Invalid(errors=[least])
    return amount


def choose(
    caller: Caller,
    tool: ListedTool,
    value: object,
    max_tokens: int | None,
    *,
    pinned: bool = False,
    stream: bool = False,
) -> ChosenTool:
    """The tool itself, or its fallback while its circuit breaker is open, if that takes the input at this limit.

    The caller's key has to see both. `pinned`: only the tool itself will do; `stream`: what runs has to stream.
    Raises `StreamingUnsupported`, and as `check` does, for the tool itself.
    """
    if stream and not tool.current.streaming:
        raise StreamingUnsupported
    chosen = ChosenTool(tool, check(tool.current, value, max_tokens, caller.user_id))
    other = None if pinned else tools.stand_in(tool)
    if other is None or not caller.may_use(other.slug) or (stream and not other.current.streaming):
        return chosen
    try:
        return ChosenTool(other, check(other.current, value, max_tokens, caller.user_id), requested=tool)
    except Invalid:
        return chosen


def let_failing_tools_rest(account: budgets.Account, tool: Version) -> None:
    """Breaker open: 503, unless the rate limit (which is checked first) refuses too."""
    seconds = breakers.retry_after(tool.tool_id)
    if not seconds:
        return
    if wait := budgets.rate_limited(account):
        raise RateLimited(retry_after=wait, submits=account.rate_limit_per_minute)
    raise ToolUnavailable(retry_after=seconds)

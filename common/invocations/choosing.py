"""Which tool an invocation runs with, and what is held for it."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from common import tools
from common.errors import FieldError, Invalid
from common.identity.authorization import Caller
from common.tools import ListedTool, Version


@dataclass(frozen=True, slots=True)
class ChosenTool:
    """The tool that runs, and the tokens to hold. `requested`: the tool that was asked for, where that is another."""

    tool: ListedTool
    amount: int
    requested: ListedTool | None = None

    def is_current(self) -> bool:
        """Whether the tools are as they were seen. What is not is dropped from the cache."""
        seen = [self.tool] if self.requested is None else [self.tool, self.requested]
        return all(tools.is_current(tool) for tool in seen)


def check(tool: Version, value: object, max_tokens: int | None, account: UUID | None = None) -> int:
    """Whether a tool would take this input of an account at this limit; returns what would be held.

    Raises `ToolInputRejected`, or `Invalid` when `max_tokens` is below the least that the tool costs.
    """
    tools.validate_input(tool, value, account)
    amount = tool.price.hold(max_tokens)
    if amount < tool.price.least:
        least = FieldError("/max_tokens", f"must be at least {tool.price.least}, the base price of this tool")
        raise Invalid(errors=[least])
    return amount


def choose(
    caller: Caller, tool: ListedTool, value: object, max_tokens: int | None, *, pinned: bool = False
) -> ChosenTool:
    """The tool itself, or its fallback while its circuit breaker is open, if that takes the input at this limit.

    The caller's key has to see both. `pinned`: only the tool itself will do.
    Raises as `check` does, for the tool itself.
    """
    chosen = ChosenTool(tool, check(tool.current, value, max_tokens, caller.user_id))
    other = None if pinned else tools.stand_in(tool)
    if other is None or not caller.may_use(other.slug):
        return chosen
    try:
        return ChosenTool(other, check(other.current, value, max_tokens, caller.user_id), requested=tool)
    except Invalid:
        return chosen

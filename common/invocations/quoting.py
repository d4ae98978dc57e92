"""What an invocation would hold, whether it would be accepted now, and how long it would wait."""

from __future__ import annotations

from dataclasses import dataclass

from common import budgets, errors, subscriptions, tools
from common.errors import PlatformError
from common.identity.authorization import Caller
from common.invocations import keyed, sweeping
from common.invocations.submitting import check
from common.tools import breakers


@dataclass(frozen=True, slots=True)
class Quote:
    """Amounts are in tokens.

    Attributes:
        max_tokens: what would be held.
        max_units: the units that `max_tokens` pays for; None if units are free.
        available: the caller's available tokens; None: unlimited.
        reason: the code with which a submit would be refused; None if it would be accepted.
    """

    max_tokens: int
    max_units: int | None
    available: int | None
    reason: str | None
    estimated_wait_seconds: int

    @property
    def allowed(self) -> bool:
        return self.reason is None


def quote(caller: Caller, tool_ref: str, value: object, max_tokens: int | None = None) -> Quote:
    """The quote for one input; free of charge. Raises `NotFound`, `ToolInputRejected`, `Invalid`."""
    tool = keyed.visible(caller, tool_ref).current
    amount = check(tool, value, max_tokens, caller.user_id)
    available, reason = _affordable(caller, tool, amount)
    wait = sweeping.depth().oldest
    return Quote(amount, tool.price.units_within(amount), available, reason, round(wait))


def _affordable(caller: Caller, tool: tools.Version, amount: int) -> tuple[int | None, str | None]:
    """The caller's available tokens, and the code of the first refusal, in the order in which a submit checks."""
    try:
        terms = subscriptions.for_submit(caller.user_id)
        account = keyed.account_of(caller, terms)
        balance = budgets.now(terms.period_id)
        shares = budgets.spending.now(caller.user_id, [share.key_id for share in account.counted])
    except errors.SubscriptionRequired as refusal:
        return 0, refusal.code
    refusals: list[type[PlatformError]] = []
    if budgets.rate_limited(account):
        refusals.append(errors.RateLimited)
    if breakers.retry_after(tool.tool_id):
        refusals.append(errors.ToolUnavailable)
    available = [share.available for share in shares.values()]
    if min([balance.available, *available]) < amount:
        refusals.append(errors.BudgetExhausted)
    if balance.shown_available is not None:
        available.append(balance.shown_available)
    return min(available, default=None), refusals[0].code if refusals else None

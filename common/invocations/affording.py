"""What a 402 says beside the figures of the refusal: what would be accepted now, and what can be done about it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from uuid import UUID

from common import budgets, subscriptions
from common.budgets import KeyShare
from common.errors import BudgetExhausted
from common.kit.clock import rfc3339
from common.settings import links
from common.subscriptions import PeriodTerms
from common.tools import Price

Action = dict[str, object]


def explained(refusal: BudgetExhausted, account: budgets.Account, terms: PeriodTerms, price: Price) -> BudgetExhausted:
    """The refusal of a hold with what an agent needs to go on: `plans`, `affordable_max_tokens` and `actions`."""
    required, available = (int(str(refusal.members[name])) for name in ("required", "available"))
    share = next((each for each in account.counted if str(each.key_id) == refusal.members.get("api_key_id")), None)
    if share is None:
        plans, waiting_helps = subscriptions.remedies(required, terms)
        resets_at: datetime | None = terms.ends_at
    else:
        plans, waiting_helps, resets_at = [], (share.tokens or 0) >= required, share.window.ends_at
        available = min(available, _available(account, share))
    affordable = available if available >= max(1, price.least) else None
    actions = [*_retry(affordable), *_wait(resets_at if waiting_helps else None), *map(_upgrade, plans)]
    said: dict[str, object] = {"plans": plans, "affordable_max_tokens": affordable, "actions": actions}
    if resets_at is not None:
        said["resets_at"] = resets_at
    return BudgetExhausted(refusal.detail, errors=(), **{**refusal.members, **said})


def _available(account: budgets.Account, refusing: KeyShare) -> int:
    """The least that the account and its other API keys have left."""
    others: list[UUID] = [share.key_id for share in account.counted if share is not refusing]
    left = [spent.available for spent in budgets.spending.now(account.user_id, others).values()]
    return max(0, min([budgets.now(account.period_id).available, *left]))


def _retry(affordable: int | None) -> Iterator[Action]:
    if affordable is not None:
        yield {"rel": "retry_with", "max_tokens": affordable}


def _wait(until: datetime | None) -> Iterator[Action]:
    if until is not None:
        yield {"rel": "wait_until", "at": rfc3339(until)}


def _upgrade(plan: str) -> Action:
    return {"rel": "upgrade", "plan": plan, "href": links.plan_change_page(plan)}

"""What a submit with an API key has to fit beside the account's plan: the key's allowances, rates and tools."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import update
from sqlalchemy.orm import Session

from common import budgets, tools, webhooks
from common.budgets import Hold, KeyShare
from common.errors import BudgetExhausted, NotFound
from common.identity.authorization import Caller
from common.kit import clock, db, log, memory
from common.kit.cache import Cache
from common.models.accounts import ApiKey
from common.queueing import messages
from common.subscriptions import PeriodTerms
from common.tools import ListedTool

logger = log.get(__name__)

#: How many keys a process remembers to have been told of.
REMEMBERED_MOST = 10_000
#: Stands for the start of the window that has none.
FOR_EVER = datetime.fromtimestamp(0, UTC)
_told = memory.Part(lambda: Cache[tuple[UUID, int], bool](REMEMBERED_MOST))


def account_of(caller: Caller, terms: PeriodTerms) -> budgets.Account:
    """What the budget gate is asked for."""
    limits = terms.max_concurrency, terms.rate_limit_per_minute
    shares = () if caller.limits is None else _shares(caller, terms.now())
    return budgets.Account(caller.user_id, terms.period_id, *limits, shares, caller.remembered)


def _shares(caller: Caller, now: datetime) -> tuple[KeyShare, ...]:
    shares = []
    for cap in caller.limits.caps if caller.limits else ():
        tokens = None if cap.allowance is None else cap.allowance.tokens
        window = budgets.window_at("total" if cap.allowance is None else cap.allowance.window, now)
        shares.append(KeyShare(cap.key_id, tokens, window, cap.rate_limit_per_minute, cap.max_concurrency))
    return tuple(shares)


def waiting(share: KeyShare) -> KeyShare:
    """As if the key had no slot left."""
    return share if share.max_concurrency is None else replace(share, max_concurrency=0)


def visible(caller: Caller, tool_ref: str) -> ListedTool:
    """An active tool by id or slug. Raises `NotFound`, also for one that the caller's key does not see."""
    tool = tools.find(tool_ref)
    require_visible(caller, tool)
    return tool


def require_visible(caller: Caller, tool: ListedTool) -> None:
    """Raise `NotFound` for a tool that the caller's key does not see."""
    if not caller.may_use(tool.slug):
        raise NotFound("Tool not found.")


def columns(caller: Caller, hold: Hold) -> dict[str, object]:
    """What is written of the key, and when its hold is good: parameters of the INSERT."""
    limits, window = caller.limits, hold.window
    return {
        "api_key_id": caller.api_key_id,
        "api_key_root_id": limits.root_id if limits else None,
        "api_keys": (limits.counted or None) if limits else None,
        "capped_key": limits.capped if limits else None,
        "waits_for_key": hold.waits_for_key,
        "valid_from": window.starts_at if window else None,
        "valid_until": window.ends_at if window else None,
    }


def end_user_of(caller: Caller, asked: str | None) -> str | None:
    """Whom an invocation is for: whom the key is for, or else whom the caller named."""
    return (caller.limits.end_user if caller.limits else None) or asked


def refused(account: budgets.Account, refusal: BudgetExhausted) -> None:
    """An allowance did not cover a hold: record `api_key.allowance_reached`, once for each key and window.

    Best effort: the next refusal tries again.
    """
    for share in account.counted:
        if str(share.key_id) == refusal.members.get("api_key_id"):
            _tell(account.user_id, share)


def _tell(user_id: UUID, share: KeyShare) -> None:
    if _told().get((share.key_id, share.window.start)):
        return
    starts_at = share.window.starts_at or FOR_EVER
    try:
        with db.transaction() as session:
            new = ApiKey.allowance_reached_in.is_distinct_from(starts_at)
            change = update(ApiKey).where(ApiKey.id == share.key_id, new).values(allowance_reached_in=starts_at)
            first = session.scalar(change.returning(ApiKey.id)) is not None
            if first:
                webhooks.record(session, user_id, "api_key.allowance_reached", _data(session, user_id, share))
    except db.Unreachable:
        logger.warning("allowance reached, but not recorded", api_key_id=str(share.key_id))
        return
    _told().put((share.key_id, share.window.start), True)
    if first:
        messages.notify(messages.DELIVER)


def _data(session: Session, user_id: UUID, share: KeyShare) -> dict[str, object]:
    spent = budgets.spending.of_keys(session, user_id, [share.key_id])[share.key_id]
    return {
        "api_key_id": str(share.key_id),
        "tokens": spent.tokens,
        "window": spent.kind,
        "charged": spent.charged,
        "held": spent.held,
        "resets_at": None if share.window.ends_at is None else clock.rfc3339(share.window.ends_at),
    }

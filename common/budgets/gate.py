"""The budget gate in Redis: hold before the row is written, release, hand out slots."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple
from uuid import UUID

from common.budgets import failed_scripts, spending, truth
from common.budgets.damaged import forget
from common.budgets.model import (
    Account,
    Hold,
    Move,
    Rate,
    SameKey,
    allowances_key,
    budget_key,
    idempotency_key,
    rate_key,
)
from common.budgets.rebuilding import await_rebuild
from common.budgets.windows import overlap
from common.errors import BudgetExhausted, DependencyUnavailable, RateLimited
from common.identity.authorization_cache import NotConfirmed
from common.kit import clock, db, redis
from common.kit.query import Query

UNLIMITED = -1
TRIES = 4
OVER_ALLOWANCE = "The allowance of the API key does not cover the hold. No invocation was created."
#: A word, and then numbers and ids, by the header of `hold.lua`.
HoldAnswer = list[redis.Answer]


class StillWaiting(NamedTuple):
    """A row that is still waiting."""

    id: UUID


_STILL_WAITING = Query("select id from queue where id = :id and moves = :moves and slot is null", StillWaiting)


def hold(account: Account, invocation_id: UUID, amount: int, *, key: str | None = None) -> Hold | SameKey:
    """Take a hold of `amount` tokens. Idempotent by invocation id.

    Raises:
        NotConfirmed: what is remembered of the caller is not what Redis knows. No hold was taken.
        RateLimited: the submits per minute of the plan or of an API key are used up.
        BudgetExhausted: checked against PostgreSQL, with `required`, `available`, `shortfall`, and `budget`: `account`,
            or `api_key` and its `api_key_id`.
        DependencyUnavailable: the gate cannot be verified. No hold was taken.
    """
    try:
        return _asked(account, invocation_id, amount, key)
    except redis.UnreadableKey:
        keys = [*_keys(account, key), account.caller.key if account.caller else "-"]
        forget(account.user_id, account.period_id, *(name for name in keys if name != "-"))
    return _asked(account, invocation_id, amount, key)


def _asked(account: Account, invocation_id: UUID, amount: int, key: str | None) -> Hold | SameKey:
    for tried in range(TRIES):
        answer = _ask_for_hold(account, invocation_id, amount, key)
        match answer[0]:
            case "changed":
                raise NotConfirmed
            case "held":
                window = overlap([key.window for key in account.counted])
                slot, waits = max(0, answer[2]) or None, account.capped is not None and answer[2] == 0
                return Hold(answer[1], slot, _rate(answer[6], *answer[3:5]), int(answer[5]), window, waits)
            case "same":
                return SameKey(UUID(answer[1]))
            case "limited":
                raise RateLimited(retry_after=answer[3], submits=answer[1])
            case "exhausted":
                if not _stale(account, amount, answer[2]):
                    raise _exhausted(account, amount, answer[1], answer[2])
                await_rebuild(account.user_id, account.period_id)
            case _:
                await_rebuild(account.user_id, account.period_id, joining=True, again=tried > 0)
    raise DependencyUnavailable("The budget could not be verified. No invocation was created; retry.", retry_after=1)


def _ask_for_hold(account: Account, invocation_id: UUID, amount: int, key: str | None) -> HoldAnswer:
    limits = [_number(account.max_concurrency), _number(account.rate_limit_per_minute)]
    of_key = (str(account.capped.key_id), _number(account.capped.max_concurrency)) if account.capped else ("", 0)
    shares: list[str | int] = []
    for share in account.keys:
        shares += [str(share.key_id), _number(share.tokens), share.window.kind, share.window.start]
        shares.append(_number(share.rate_limit_per_minute))
    keys, caller = [*_keys(account, key), "-"], ("", "")
    if (remembered := account.caller) is not None:
        remembered.asked, keys[-1], caller = True, remembered.key, (remembered.field, remembered.entry)
    answer: HoldAnswer = redis.run("hold", keys, [str(invocation_id), amount, *limits, *of_key, *caller, *shares])
    return answer


def _keys(account: Account, key: str | None) -> list[str]:
    """The Redis keys of a hold that its release needs too."""
    return [
        budget_key(account.user_id, account.period_id),
        rate_key(account.user_id),
        idempotency_key(account.user_id, key),
        allowances_key(account.user_id) if account.counted else "-",
        *(rate_key(account.user_id, share.key_id) for share in account.keys),
    ]


def _number(limit: int | None) -> int:
    return UNLIMITED if limit is None else limit


def _rate(limit: int, remaining: int, reset: int) -> Rate | None:
    return None if limit == UNLIMITED else Rate(limit, remaining, reset)


def _exhausted(account: Account, required: int, available: int, key: str) -> BudgetExhausted:
    members: dict[str, object] = {"required": required, "available": available, "shortfall": required - available}
    for share in account.counted:
        if str(share.key_id) == key:
            members |= {"budget": "api_key", "api_key_id": key}
            return BudgetExhausted(OVER_ALLOWANCE, errors=(), **members)
    return BudgetExhausted(None, errors=(), budget="account", **members)


def rate_limited(account: Account) -> int:
    """Seconds until the account may submit again, with these API keys; 0 when it may now. Reads only."""
    if not account.rates:
        return 0
    with redis.reachable():
        windows = redis.client().mget([name for name, _ in account.rates])
    return max(_wait(str(window or "0 0"), limit) for window, (_, limit) in zip(windows, account.rates, strict=True))


def _wait(window: str, limit: int) -> int:
    start, _, count = window.partition(" ")
    if not (start.isdecimal() and count.isdecimal()):
        return 0  # garbled: a submit removes it
    left = int(start) + 60 - int(clock.wall())
    return max(1, min(60, left)) if int(count) >= limit and left > 0 else 0


def release(account: Account, invocation_id: UUID, *, key: str | None = None) -> None:
    """Undo a hold whose row was certainly not committed. Never call it while the outcome is unknown.

    Best effort: a hold that cannot be released now is an orphan, which `free_orphans` finds and a rebuild frees.
    """
    try:
        redis.run("release", _keys(account, key), [str(invocation_id)])
    except redis.RedisUnreachable as error:
        failed_scripts.note("release", error, account.user_id, account.period_id)


def reserve_slot(account: Account, waiting: Move) -> tuple[int, int, int] | None:
    """Reserve a slot for a waiting row: `(slot, epoch, server)`, or None when none is free. Report the outcome with
    `moved`. A slot of `ADMITTED`: its API key counts it, but none of the account is free.

    `waiting`: the move by which it was waiting, as you have read it. Also None when it is not there any more: a gate
    that knows nothing of such a row is right, and a rebuild would only refuse what others hold.

    Raises:
        DependencyUnavailable: the gate cannot be verified.
    """
    key = budget_key(account.user_id, account.period_id)
    limits = [_number(account.max_concurrency), _number(account.capped.max_concurrency if account.capped else None)]
    for tried in range(TRIES):
        answer = redis.run("reserve_slot", [key], [*waiting.words()[:2], *limits])
        if answer[0] != "unknown":
            return (answer[0], answer[1], int(answer[2])) if answer[0] else None
        if not db.execute(_STILL_WAITING, {"id": waiting.invocation_id, "moves": waiting.number}):
            return None
        await_rebuild(account.user_id, account.period_id, joining=True, again=tried > 0)
    raise DependencyUnavailable


def being_made(user_id: UUID, key: str | None) -> bool:
    """Whether a request with this Idempotency-Key is in progress."""
    with redis.reachable():
        return bool(redis.client().exists(idempotency_key(user_id, key)))


def _stale(account: Account, amount: int, key: str) -> bool:
    """Whether PostgreSQL would admit what the gate refused (a leaked hold, a fresh grant). Asked once a second.

    `key`: the API key whose allowance refused; empty: the budget did.
    """
    with redis.reachable():
        checked = f"checked:{{{account.user_id}}}:{key or account.period_id}"
        if not redis.client().set(checked, "1", nx=True, ex=1):
            return False
    with db.snapshot() as session:
        if key:
            shares = spending.of_keys(session, account.user_id, [UUID(key)])
            return all(share.available >= amount for share in shares.values())
        return truth.balance(session, account.period_id).available >= amount


def gate(user_id: UUID, period_id: UUID) -> Mapping[str, str]:
    """The gate's hash as it stands (for verification); empty when it is not there."""
    with redis.reachable():
        return redis.mapping(redis.client().hgetall(budget_key(user_id, period_id)))

"""The budget gate in Redis is told what was committed: completions, and rows that got a slot or lost one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from uuid import UUID

from common.budgets import failed_scripts
from common.budgets.model import Move, Settled, Settlement, allowances_key, budget_key, waiters_key
from common.budgets.rebuilding import tell
from common.budgets.windows import window_at
from common.kit import log, memory, redis
from common.kit.cache import Cache

logger = log.get(__name__)

WIDTH_SECONDS, WIDTHS_MOST = 10.0, 10_000
_widths = memory.Part(lambda: Cache[UUID, int](WIDTHS_MOST, WIDTH_SECONDS))


def settle(completions: Sequence[Settlement]) -> list[Settled | None]:
    """After completions have been committed: charge the gate, free the holds, apply the moves, wake waiting clients.

    Idempotent by invocation id. Best effort: the rows are the truth, and `free_orphans` repairs a gate that missed
    this. None: the gate had settled it before, or does not know this account.
    """
    answers = _tell([(each.user_id, each.period_id, *_settlement(each)) for each in completions])
    return [Settled(*(int(part) for part in answer)) if answer else None for answer in answers]


def _settlement(each: Settlement) -> tuple[list[str], list[str | int]]:
    """Keys and arguments of `settle.lua`."""
    keys = [budget_key(each.user_id, each.period_id), waiters_key(each.user_id, each.last.invocation_id), "-"]
    id_, number, had = each.last.words()
    starts = [0, 0]
    if each.counted_at is not None:
        keys[2] = allowances_key(each.user_id)
        starts = [window_at(kind, each.counted_at).start for kind in ("day", "month")]
    return keys, [each.message, id_, each.charge, number, had, *starts, *_words(each.moves)]


def moved(user_id: UUID, period_id: UUID, *moves: Move) -> None:
    """After rows went into slots or out of them. Idempotent, in any order, best effort, as `settle`."""
    keys = [budget_key(user_id, period_id), "-", "-"]
    _tell([(user_id, period_id, keys, ["", "", 0, 0, 0, 0, 0, *_words(moves)])])


def _words(moves: Iterable[Move]) -> list[str | int]:
    return [word for move in moves for word in move.words()]


def _tell(told: Sequence[tuple[UUID, UUID, list[str], list[str | int]]]) -> list[Sequence[str | int]]:
    """`settle.lua` for each (user, period, keys, arguments). Returns the gate's figures, empty where there are none.

    In a walk over many rows (`redis.sparing`) a Redis that does not answer is waited for once.
    """
    if redis.is_spared():
        return [()] * len(told)
    try:
        answers = redis.run_each("settle", [(keys, args) for _, _, keys, args in told])
    except redis.RedisUnreachable as error:
        redis.spare()
        logger.warning("settlement left to the sweep", period_id=str(told[0][1]), error=str(error))
        return [()] * len(told)
    return [
        _heard(user_id, period_id, answer) for (user_id, period_id, _, _), answer in zip(told, answers, strict=True)
    ]


def _heard(user_id: UUID, period_id: UUID, answer: Sequence[str | int] | redis.RedisUnreachable) -> Sequence[str | int]:
    if isinstance(answer, redis.RedisUnreachable):
        failed_scripts.note("settle", answer, user_id, period_id)
        return ()
    missed, active, *figures = answer
    _widths().put(period_id, max(0, int(active)))
    if missed:
        tell(user_id, period_id)
    return figures


def width(period_id: UUID) -> int:
    """How many rows of an account had a slot when this process last settled something of it; 0: never, or long ago."""
    return _widths().get(period_id) or 0

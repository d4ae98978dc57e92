"""From which grants tokens are spent: from those that expire first. Pure.

The order of grants by the end of their life never changes, so each is served what those before it cannot cover. That is
why only sums count, one for each stretch of time in which the same grants are valid; and why less spending never leaves
less of any grant: what has been taken off for an expiry stays right when open invocations end cheaper than they may.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID


class Lot(NamedTuple):
    """Tokens that can be spent from `since` until just before `until` (None: as long as the period lasts)."""

    id: UUID
    tokens: int
    since: datetime
    until: datetime | None

    def is_valid(self, at: datetime) -> bool:
        """Whether its tokens can be spent at that moment."""
        return self.since <= at and (self.until is None or at < self.until)


class Spent(NamedTuple):
    """Tokens that were spent from `at` on, before any grant begins or expires."""

    at: datetime
    tokens: int


def moments(lots: Iterable[Lot], others: Iterable[datetime] = ()) -> list[datetime]:
    """When anything begins or expires, and other moments, in order."""
    return sorted({moment for lot in lots for moment in (lot.since, lot.until) if moment} | set(others))


def rests(lots: Sequence[Lot], spent: Iterable[Spent], ends_at: datetime) -> dict[UUID, int]:
    """What is left of each lot, by id: at its end, if that has come. `ends_at`: of the period.

    What no valid lot covers is left out: it was spent after an expiry that was not booked yet.
    """
    left = {lot.id: lot.tokens for lot in lots}
    order = sorted(lots, key=lambda lot: (lot.until or ends_at, lot.since, lot.id))
    for at, tokens in sorted(spent):
        wanted = tokens
        for lot in order:
            if lot.is_valid(at):
                taken = min(left[lot.id], wanted)
                left[lot.id] -= taken
                wanted -= taken
    return left

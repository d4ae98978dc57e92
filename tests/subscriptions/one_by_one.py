"""What is left of a period's grants, by a balance of single tokens: each is spent before those that last longer."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import text

from tests.plain import plain

_PERIOD = text("select ends_at, closed_at is not null as closed from periods where id = :period")
_GRANTS = text("select * from grants where period_id = :period and kind <> 'expiry' order by id")
_EXPIRED = text("select source_id from grants where period_id = :period and kind = 'expiry'")
_SPENT = text("select created_at, coalesce(charged, held) as tokens from invocations where period_id = :period")
_HANDED_ON = text("""
select coalesce(sum(tokens) filter (where kind = 'rollover'), 0) as rolled,
       coalesce(sum(tokens) filter (where kind = 'carried'), 0) as carried
  from grants where source_id = :period or source_id in (select id from grants where period_id = :period)
""")
_LASTING = text("select id from grants where period_id = :period and expires_at > clock_timestamp() order by id")


@dataclass(frozen=True, slots=True)
class Coin:
    """One token of a grant."""

    grant: UUID
    since: datetime
    until: datetime | None


@dataclass(frozen=True, slots=True)
class NaiveBalance:
    """What is left: of grants that last as long as the period, of those that last longer, of those that do not."""

    lasting: int
    later: int
    over: int

    @property
    def valid(self) -> int:
        return self.lasting + self.later


def naive_balance(period_id: UUID, now: datetime) -> NaiveBalance:
    (period,) = plain(_PERIOD, {"period": period_id})
    grants = plain(_GRANTS, {"period": period_id})
    coins = [
        Coin(each.id, each.created_at, each.expires_at)
        for each in grants
        if each.tokens > 0
        for _ in range(each.tokens)
    ]
    spent = [(row.created_at, row.tokens) for row in plain(_SPENT, {"period": period_id})]
    spent += [(each.created_at, -each.tokens) for each in grants if each.tokens < 0]
    for at, tokens in sorted(spent):
        for _ in range(tokens):
            valid = [each for each in coins if each.since <= at and (each.until is None or at < each.until)]
            if valid:
                coins.remove(min(valid, key=lambda each: (each.until or period.ends_at, each.since, each.grant)))
    end = period.ends_at if period.closed else now
    expired = {row.source_id for row in plain(_EXPIRED, {"period": period_id})}  # before the period was made to end
    lasting = sum(each.until is None for each in coins)
    later = sum(each.until is not None and each.until > end and each.grant not in expired for each in coins)
    return NaiveBalance(lasting, later, len(coins) - lasting - later)


def lasting(period_id: UUID) -> list[UUID]:
    """Grants that will expire."""
    return [row.id for row in plain(_LASTING, {"period": period_id})]


def handed_on(period_id: UUID) -> tuple[int, int]:
    """What of a period was rolled over, and what was carried over."""
    (row,) = plain(_HANDED_ON, {"period": period_id})
    return int(row.rolled), int(row.carried)

"""Usage that is rolled up, and months of it that are made and dropped: verbs, and what must hold of the sums.

There are three old months: the first is rolled up whole and may be dropped, the second is not, and what was used in the
third is in the default partition, because nobody has made one for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import psycopg

from common import invocations, usage
from common.invocations import ClaimOptions, failure_sums
from common.kit import db
from tests import factories
from tests.usage.ledger import Ledger, rolled_up

MARCH, APRIL, MAY, JUNE = (datetime(2020, month, 10, tzinfo=UTC) for month in (3, 4, 5, 6))
#: Months that ended more than a year ago may be dropped.
KEPT = 12
#: As the start state has them, whatever a run has made of them.
MONTHS = """
perform usage_logs_add_month('2020-03-01'), usage_logs_add_month('2020-04-01');
if to_regclass('usage_logs_2020_05') is not null then drop table usage_logs_2020_05; end if
"""
WITHOUT_MONTHS = b"drop table if exists usage_logs_2020_03, usage_logs_2020_04, usage_logs_2020_05"


def put(world: Any, cost: int) -> Sums:
    """Old usage, and two calls that have ended, the later of which is not rolled up; one is in hand, and one waits."""
    ledger, options = Ledger(), ClaimOptions(world.me.id)

    def used(at: datetime, tokens: int, **changes: Any) -> dict[str, Any]:
        return ledger.row(at, tokens, period_id=uuid4(), **changes)

    def end(request: str) -> None:
        world.submit(request)
        task = factories.taken(options)
        world.seen.calls[task.id] += 1
        invocations.complete(task, replace(factories.GOOD, cost=cost), ClaimOptions(world.me.id, take_next=False))

    old = [used(MARCH, 1), used(JUNE, 2, invocation_id=ledger.row(MARCH)["invocation_id"])]
    new = [used(APRIL, 4), used(APRIL, 0, status="error"), used(MAY, 8)]
    ledger.write(*old)
    end("before-0")
    rolled_up()
    failure_sums.roll_up()
    ledger.write(*new[:2])
    usage.add_months(ahead=0)
    ledger.write(*new[2:])
    end("before-1")
    for number in (2, 3):
        world.submit(f"before-{number}")
    world.task = factories.taken(options)
    return Sums(ledger.user_id, tuple((row["created_at"], row["tokens_used"]) for row in (*old, *new)))


# -- verbs ---------------------------------------------------------------------------------------------------------


def roll_up(_world: Any, _name: str) -> None:
    """One step of the beat's."""
    usage.rollup()


def _roll_up_all() -> None:
    usage.catch_up()
    failure_sums.roll_up()


def work_and_roll_up(world: Any, _name: str) -> None:
    """A call begins and ends, and the beat rolls up what it can."""
    world.work()
    _roll_up_all()


def retire(_world: Any, _name: str) -> None:
    usage.retire_months(KEPT)


def roll_up_and_retire(_world: Any, _name: str) -> None:
    _roll_up_all()
    usage.retire_months(KEPT)


def add_months(_world: Any, _name: str) -> None:
    usage.add_months(ahead=0)


def make_anew(_world: Any, _name: str) -> None:
    """As `books repair` does; the next step of the beat's sums up everything."""
    usage.rebuild()


VERBS = {
    "roll up": roll_up,
    "work+roll up": work_and_roll_up,
    "retire": retire,
    "roll up+retire": roll_up_and_retire,
    "add months": add_months,
    "sums anew": make_anew,
}

# -- what must hold ------------------------------------------------------------------------------------------------

#: What was used by the invocations themselves (and what of old usage has no invocation), beside what the sums and the
#: rows behind them say: by account and hour, day or month.
_DIFFERENCES = """
with grains(grain) as (values ('hour'), ('day'), ('month')),
mark as materialized (select coalesce((select xid from watermarks where name = 'usage'), '0'::xid8) as xid),
used as (
  select user_id, finished_at as at, charged as tokens from invocations where status <> 'open'
  union all select %(user)s, o.at, o.tokens from unnest(%(at)s::timestamptz[], %(tokens)s::bigint[]) o(at, tokens)),
tail as (select user_id, created_at as at, tokens_used as tokens from usage_logs, mark where usage_logs.xid > mark.xid),
truth as (
  select user_id, grain, date_trunc(grain, at, 'UTC') as starts_at, count(*) as n, sum(tokens) as tokens
    from used, grains group by 1, 2, 3),
behind as (
  select user_id, grain, date_trunc(grain, at, 'UTC') as starts_at, count(*) as n, sum(tokens) as tokens
    from tail, grains group by 1, 2, 3),
said as (
  select 'rollups' as kind, user_id, grain, starts_at, sum(invocations) as n, sum(tokens_used) as tokens
    from usage_rollups group by 2, 3, 4
  union all select 'points', user_id, grain, starts_at, invocations, tokens_used from usage_points
  union all select kind, behind.* from behind, (values ('rollups'), ('points')) k(kind)),
summed as (select kind, user_id, grain, starts_at, sum(n) as n, sum(tokens) as tokens from said group by 1, 2, 3, 4),
wanted as (select kind, truth.* from truth, (values ('rollups'), ('points')) k(kind))
select kind, grain, starts_at::text, s.n, s.tokens, w.n, w.tokens
  from summed s full join wanted w using (kind, user_id, grain, starts_at)
 where (s.n, s.tokens) is distinct from (w.n, w.tokens) order by 1, 2, 3
"""


@dataclass(frozen=True, slots=True)
class Sums:
    """When an account without invocations has used how many tokens."""

    user_id: UUID
    old: Sequence[tuple[datetime, int]]

    def again(self) -> Sums:
        return self

    def come(self, connection: psycopg.Connection[Any]) -> None:
        """Nothing waits for a moment here."""

    def broken(self, connection: psycopg.Connection[Any], _calls: Counter[UUID], *, settled: bool) -> list[str]:
        """What differs now, and once the beat has rolled up what it can."""
        found = self._differences(connection)
        with suppress(db.Busy):
            _roll_up_all()
        return found or self._differences(connection)

    def _differences(self, connection: psycopg.Connection[Any]) -> list[str]:
        at, tokens = zip(*self.old, strict=True)
        asked = {"user": self.user_id, "at": list(at), "tokens": list(tokens)}
        return [
            f"{kind} of the {grain} of {starts_at}: {n} used {used}, the invocations are {truly} and used {owed}"
            for kind, grain, starts_at, n, used, truly, owed in connection.execute(_DIFFERENCES.encode(), asked)
        ]

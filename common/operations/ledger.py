"""Verify and repair the ledger: recompute all balances from the rows and report every difference.

PostgreSQL is read in one snapshot, so its checks are exact even under load. Redis cannot be part of that snapshot: a
budget gate that seems to differ is checked again, and only a difference that persists is reported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Final
from uuid import UUID

from sqlalchemy import TextClause, text

from common import budgets, usage, webhooks
from common.invocations import failure_sums
from common.kit import apart, clock, db, redis
from common.operations import gate_checks
from common.operations.allowance_checks import WITHIN_ALLOWANCES

LOOKS = 5
LOOK_AGAIN_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Difference:
    """A violated invariant, where (an id), and what was found."""

    invariant: str
    where: str
    found: str


@dataclass(frozen=True, slots=True)
class Report:
    """What was checked, and the differences found."""

    invocations: int
    periods: int
    gates: int
    differences: tuple[Difference, ...]


#: The smallest id of an invocation whose usage row is kept.
_KEPT = """coalesce((select uuid7_floor(at) from watermarks where name = 'usage_retired'),
                         '00000000-0000-0000-0000-000000000000')"""
_INVARIANTS: Final[dict[str, TextClause]] = {
    "granted = charged + held + available, and available >= 0": text("""
        with g as (select period_id, sum(tokens) as granted from grants group by 1),
             u as (select period_id, sum(tokens_used) as charged from usage_logs group by 1),
             q as (select period_id, sum(held) as held from queue group by 1)
        select p.id, format('granted %s, charged %s, held %s', coalesce(granted, 0), coalesce(charged, 0),
                            coalesce(held, 0))
          from periods p left join g on g.period_id = p.id left join u on u.period_id = p.id
          left join q on q.period_id = p.id
         where coalesce(granted, 0) - coalesce(charged, 0) - coalesce(held, 0) < 0
    """),
    "no more has expired, is carried over or rolled over than there was": text("""
        with s as (select source_id, sum(abs(tokens)) filter (where kind in ('carried', 'expiry')) as moved,
                          sum(tokens) filter (where kind in ('carried', 'rollover')) as again
                     from grants where source_id is not null group by 1),
             p as (select coalesce(g.period_id, s.source_id) as id, sum(s.again) as again
                     from s left join grants g on g.id = s.source_id where s.again > 0 group by 1),
             g as (select period_id, sum(tokens) as n from grants where period_id in (select id from p) group by 1),
             u as (select period_id, sum(tokens_used) as n from usage_logs
                    where period_id in (select id from p) group by 1),
             q as (select period_id, sum(held) as n from queue where period_id in (select id from p) group by 1)
        select s.source_id, format('granted %s, expired or carried over %s', coalesce(g.tokens, 0), s.moved)
          from s left join grants g on g.id = s.source_id where s.moved > coalesce(g.tokens, 0)
        union all
        select p.id, format('granted %s, charged %s, held %s, carried or rolled over %s', g.n, u.n, q.n, p.again)
          from p left join g on g.period_id = p.id left join u on u.period_id = p.id
          left join q on q.period_id = p.id
         where p.again > coalesce(g.n, 0) - coalesce(u.n, 0) - coalesce(q.n, 0)
    """),
    "every completion has exactly one usage row, and every usage row a completion": text(f"""
        select coalesce(i.id, u.invocation_id),
               format('status %s, usage %s', i.status, coalesce(u.status, 'missing'))
          from (select * from invocations where status <> 'open' and id >= {_KEPT}) i
          full join (select * from usage_logs where invocation_id >= {_KEPT}) u on u.invocation_id = i.id
         where i.id is null or u.invocation_id is null
    """),  # noqa: S608
    "the tokens charged by a completion equal those in its usage row": text("""
        select i.id, format('charged %s, usage %s', i.charged, u.tokens_used)
          from invocations i join usage_logs u on u.invocation_id = i.id
         where i.charged is distinct from u.tokens_used or i.held <> u.held or i.period_id <> u.period_id
            or i.user_id <> u.user_id or (i.status = 'succeeded') <> (u.status = 'success')
    """),
    "the queue holds exactly the open invocations": text("""
        select coalesce(i.id, q.id), format('status %s, in the queue: %s', i.status, q.id is not null)
          from (select id, status, held from invocations where status = 'open') i
          full join queue q on q.id = i.id
         where i.id is null or q.id is null or i.held <> q.held
    """),
    "attempts are numbered 1..n without gaps": text("""
        with a as (select invocation_id, count(*) as n, max(n) as last from attempts group by 1)
        select i.id, format('attempts %s, rows %s, last %s', i.attempts, coalesce(a.n, 0), coalesce(a.last, 0))
          from invocations i left join a on a.invocation_id = i.id
         where i.status <> 'open' and (coalesce(a.n, 0) <> i.attempts or coalesce(a.last, 0) <> i.attempts)
    """),
    "every completion has exactly one event": text("""
        with e as (
          select invocation_id, count(*) as n, min(type) as type from events
           where type in ('invocation.succeeded', 'invocation.failed', 'invocation.canceled', 'invocation.expired')
           group by 1)
        select i.id, format('status %s, events %s %s', i.status, coalesce(e.n, 0), e.type)
          from invocations i left join e on e.invocation_id = i.id
         where i.status <> 'open' and i.finished_at > now() - interval '29 days'
           and (coalesce(e.n, 0) <> 1 or e.type <> 'invocation.' || i.status)
    """),
    "charged + held <= the allowance of each API key, in each of its windows": WITHIN_ALLOWANCES,
    "no account has more running invocations than its plan allows": text("""
        select q.period_id, format('%s running, %s allowed', count(*), pl.max_concurrency)
          from queue q join periods p on p.id = q.period_id join plans pl on pl.id = p.plan_id
         where q.token is not null and pl.max_concurrency is not null
         group by q.period_id, pl.max_concurrency having count(*) > pl.max_concurrency
    """),
    "no API key has more running invocations in a period than it may": text("""
        select q.capped_key, format('%s running, %s allowed', count(*), k.max_concurrency)
          from queue q join api_keys k on k.id = q.capped_key
         where q.token is not null
         group by q.capped_key, q.period_id, k.max_concurrency having count(*) > k.max_concurrency
    """),
}


def verify() -> Report:
    """Check every invariant; read-only.

    Raises:
        db.Unreachable, redis.RedisUnreachable: a server could not be read.
    """
    found: list[Difference] = []
    with db.snapshot() as session:
        db.without_timeout(session)  # the queries read whole tables
        for invariant, query in _INVARIANTS.items():
            found += [Difference(invariant, str(where), what) for where, what in session.execute(query.bindparams())]
        counted = session.execute(text("select (select count(*) from invocations), (select count(*) from periods)"))
        invocations, periods = counted.one()
    found += [_rolled_up(difference) for difference in usage.differences()]
    found += [_failed(difference) for difference in failure_sums.differences()]
    gates = list(_gates())
    found += _persistent_differences(gates)
    return Report(invocations, periods, len(gates), tuple(found))


def repair(report: Callable[[str], None] = lambda _: None) -> int:
    """Rebuild derived data: differing rollups, the order of events in a restored dump, then differing budget gates.

    Rollups come first, because gates are rebuilt from them. `report` is called with a line for each repair. Returns
    the number of repairs.
    """
    rebuilt = 0
    if usage.differences(limit=1):
        usage.rebuild()
        report(f"rollups rebuilt from {usage.catch_up(inf)} usage rows")
        rebuilt += 1
    if failure_sums.differences(limit=1):
        failure_sums.rebuild()
        report("rollups of failures rebuilt from the invocations")
        rebuilt += 1
    if webhooks.repair_feed():
        report("order of restored events repaired")
        rebuilt += 1
    return rebuilt + apart.total("repair-gates", _gates(), partial(_repair_gate, report), lambda gate: gate[1])


def _repair_gate(report: Callable[[str], None], gate: tuple[UUID, UUID]) -> int:
    differences = _gate_differences(*gate)
    if not differences:
        return 0
    if any(difference.found == gate_checks.UNREADABLE for difference in differences):
        budgets.forget(*gate)
    budgets.rebuild(*gate)
    report(f"budget gate of period {gate[1]} rebuilt")
    return 1


def _rolled_up(it: usage.RollupDifference) -> Difference:
    where = f"{it.grain} {it.starts_at:%Y-%m-%d %H:%M}, account {it.user_id}"
    history, rolled = f"{it.tokens} in {it.invocations}", f"{it.rolled_tokens} in {it.rolled_invocations}"
    return Difference("rollups are the sums of the usage history", where, f"history {history}, rollup {rolled}")


def _failed(it: failure_sums.FailureDifference) -> Difference:
    where = f"{it.grain} {it.starts_at:%Y-%m-%d %H:%M}, account {it.user_id}, tool {it.tool_id}, {it.code}"
    return Difference(
        "rollups of failures count the failed invocations", where, f"failed {it.number}, rollup {it.rolled_up}"
    )


# -- budget gates compared with the rows ---------------------------------------------------------------------------


def _gates() -> Iterator[tuple[UUID, UUID]]:
    with redis.reachable():
        for key in redis.client().scan_iter(match="budget:*", count=500):
            if owner := budgets.owner_of(str(key)):
                yield owner


def _persistent_differences(gates: list[tuple[UUID, UUID]]) -> list[Difference]:
    """Differences found at every check: settlements that were under way at one check have arrived by the next."""
    differing = gates
    differences: list[Difference] = []
    for look in range(LOOKS):
        if look:
            clock.sleep(LOOK_AGAIN_SECONDS)
        found = {gate: _gate_differences(*gate) for gate in differing}
        differing = [gate for gate, each in found.items() if each]
        differences = [difference for each in found.values() for difference in each]
        if not differing:
            break
    return differences


def _gate_differences(user_id: UUID, period_id: UUID) -> list[Difference]:
    invariant = "budget gates in Redis match the rows in PostgreSQL"
    return [Difference(invariant, str(period_id), each) for each in gate_checks.differences(user_id, period_id)]

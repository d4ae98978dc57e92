"""Roll usage up, each row exactly once, despite late commits and concurrent runs.

The watermark is a transaction id: exactly the rows written by that transaction or an older one are in the rollups. It
moves only past transactions that have all ended, so no row can appear behind it later; it moves in the transaction that
adds the rows, so a reader sees both or neither. docs/decisions/rollups.md has the argument.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from common.kit import clock, db, log
from common.models.usage import NO_KEY

logger = log.get(__name__)

ADOPT_BATCH = 20_000

_BEGIN = text("""
insert into watermarks (name, xid, cluster)
select 'usage', '0', system_identifier from pg_control_system() on conflict do nothing
""")
_LOCK = text("""
select w.xid::text as xid, w.cluster = (select system_identifier from pg_control_system()) as native
  from watermarks w where w.name = 'usage' for update
""")
#: The sum of two histograms.
_ADDED_HISTOGRAM = """(buckets, counts) = (
           select coalesce(array_agg(b order by b), '{}'), coalesce(array_agg(n order by b), '{}')
             from (select b, sum(n)::integer as n
                     from unnest(r.buckets || excluded.buckets, r.counts || excluded.counts) x(b, n) group by b) y)"""
#: `done`: the newest transaction of this batch. A transaction is never split, even if it exceeds the batch.
_ROLL_UP = text(f"""
with ended as materialized (
  select xid from usage_logs
   where xid > cast(:mark as xid8) and xid < pg_snapshot_xmin(pg_current_snapshot()) order by xid limit :limit),
done as materialized (select max(xid) as xid from ended),
fresh as materialized (
  select u.* from usage_logs u
   where u.xid > cast(:mark as xid8) and u.xid <= (select xid from done)),
cells as materialized (
  select g.grain, date_trunc(g.grain, f.created_at, 'UTC') as starts_at, f.user_id, f.period_id, f.tool_id, f.status,
         coalesce(f.api_key_id, :no_key) as api_key_id, latency_bucket(f.latency_ms) as latency, count(*) as n,
         sum(f.tokens_used) as tokens, min(f.created_at) as first_at, max(f.created_at) as last_at
    from fresh f cross join (values ('hour'), ('day'), ('month')) g(grain)
   where f.created_at >= coalesce((select at from watermarks where name = 'usage_retired'), '-infinity')
   group by 1, 2, 3, 4, 5, 6, 7, 8),
added as (
  insert into usage_rollups as r (grain, starts_at, user_id, period_id, tool_id, status, api_key_id, invocations,
                                  tokens_used, first_at, last_at, buckets, counts)
  select grain, starts_at, user_id, period_id, tool_id, status, api_key_id, sum(n), sum(tokens), min(first_at),
         max(last_at), coalesce(array_agg(latency order by latency) filter (where latency is not null), '{{}}'),
         coalesce(array_agg(n::integer order by latency) filter (where latency is not null), '{{}}')
    from cells group by 1, 2, 3, 4, 5, 6, 7
  on conflict (user_id, grain, starts_at, period_id, tool_id, status, api_key_id) do update
     set invocations = r.invocations + excluded.invocations,
         tokens_used = r.tokens_used + excluded.tokens_used,
         first_at = least(r.first_at, excluded.first_at),
         last_at = greatest(r.last_at, excluded.last_at),
         {_ADDED_HISTOGRAM}),
latencies as (
  select grain, starts_at, user_id, latency, sum(n) as n, coalesce(sum(n) filter (where status = 'success'), 0) as good,
         coalesce(sum(n) filter (where status in ('error', 'timeout')), 0) as bad, sum(tokens) as tokens,
         min(first_at) as first_at, max(last_at) as last_at
    from cells group by 1, 2, 3, 4),
pointed as (
  insert into usage_points as r (grain, starts_at, user_id, invocations, succeeded, failed, tokens_used, first_at,
                                 last_at, buckets, counts)
  select grain, starts_at, user_id, sum(n), sum(good), sum(bad), sum(tokens), min(first_at), max(last_at),
         coalesce(array_agg(latency order by latency) filter (where latency is not null), '{{}}'),
         coalesce(array_agg(n::integer order by latency) filter (where latency is not null), '{{}}')
    from latencies group by 1, 2, 3
  on conflict (user_id, grain, starts_at) do update
     set invocations = r.invocations + excluded.invocations,
         succeeded = r.succeeded + excluded.succeeded,
         failed = r.failed + excluded.failed,
         tokens_used = r.tokens_used + excluded.tokens_used,
         first_at = least(r.first_at, excluded.first_at),
         last_at = greatest(r.last_at, excluded.last_at),
         {_ADDED_HISTOGRAM}),
moved as (
  update watermarks set xid = done.xid, at = now() from done where name = 'usage' and done.xid is not null)
select count(*) from fresh
""")  # noqa: S608


def rollup(limit: int = 5_000) -> int:
    """Roll up about `limit` rows after the watermark. Returns their number, 0 when there are none.

    Safe to run concurrently: runs are serialised by a lock. Adopts a restored database first.
    """
    with db.transaction() as session:
        mark, native = _lock(session)
        if native:
            return int(session.execute(_ROLL_UP, {"mark": mark, "limit": limit, "no_key": NO_KEY}).scalar_one())
    adopt()
    return rollup(limit)


def catch_up(seconds: float = 5.0) -> int:
    """Periodic task: roll up until nothing is left, or for about `seconds`. Returns the number of rows."""
    deadline, total = clock.monotonic() + seconds, 0
    while rolled := rollup():
        total += rolled
        if clock.monotonic() > deadline:
            break
    return total


def _lock(session: Session) -> tuple[str, bool]:
    """Lock the rollups until the transaction ends. Returns the watermark, and whether it is of this cluster."""
    session.execute(_BEGIN)
    row = session.execute(_LOCK).one()
    return row.xid, row.native


# -- repair --------------------------------------------------------------------------------------------------------

#: Rollups of dropped months cannot be rebuilt, so they are kept.
_KEPT = "starts_at >= coalesce((select at from watermarks where name = 'usage_retired'), '-infinity')"
_EMPTY = (text(f"delete from usage_rollups where {_KEPT}"), text(f"delete from usage_points where {_KEPT}"))  # noqa: S608
_RESET = text("""
update watermarks set xid = '0', at = now(), cluster = (select system_identifier from pg_control_system())
 where name = 'usage'
""")
_MAINTENANCE = text("set local joyfull.usage_maintenance = 'on'")
#: 2 is FrozenTransactionId, older than all transactions.
_FREEZE = text("""
update usage_logs set xid = '2'
 where invocation_id in (select invocation_id from usage_logs
                          where xid >= pg_snapshot_xmin(pg_current_snapshot()) limit :limit)
""")


def rebuild() -> None:
    """Reset the rollups; follow with `rollup`. Meanwhile summaries stay correct, but slower."""
    with db.transaction() as session:
        _lock(session)
        for emptying in _EMPTY:
            session.execute(emptying)
        session.execute(_RESET)


def adopt() -> None:
    """Adapt usage rows restored into another cluster, whose transaction ids may be lower.

    Transaction ids that this cluster has not reached become "frozen" (older than all); then the rollups are rebuilt.
    Until then, readers see that the watermark is of another cluster and count single rows. Idempotent.
    """
    frozen = batch = _freeze()
    while batch == ADOPT_BATCH:
        batch = _freeze()
        frozen += batch
    rebuild()
    logger.warning("usage adopted from another cluster", rows=frozen)


def _freeze() -> int:
    with db.transaction() as session:
        session.execute(_MAINTENANCE)
        return session.execute(_FREEZE, {"limit": ADOPT_BATCH}).rowcount  # type: ignore[attr-defined,no-any-return]


# -- verification --------------------------------------------------------------------------------------------------

_SUMS = text("""
select count(*) as invocations, coalesce(sum(tokens_used), 0)::bigint as tokens
  from usage_logs where user_id = (select user_id from periods where id = :period) and period_id = :period
""")
#: Compare rollups with usage rows, as far back as rows are kept, and points with rollups.
_DIFFERENCES = text(f"""
with logs as (
  select g.grain, date_trunc(g.grain, u.created_at, 'UTC') as starts_at, u.user_id, u.period_id, u.tool_id, u.status,
         coalesce(u.api_key_id, :no_key) as api_key_id, count(*) as n, sum(u.tokens_used) as tokens
    from usage_logs u cross join (values ('hour'), ('day'), ('month')) g(grain)
   where u.xid <= coalesce(usage_mark(), '0')
     and u.created_at >= coalesce((select at from watermarks where name = 'usage_retired'), '-infinity')
   group by 1, 2, 3, 4, 5, 6, 7),
sums as (select * from usage_rollups where usage_mark() is not null and {_KEPT}),
wrong as (
  select grain, starts_at, user_id, coalesce(logs.n, 0) as n, coalesce(logs.tokens, 0) as tokens,
         coalesce(sums.invocations, 0) as rolled, coalesce(sums.tokens_used, 0) as rolled_tokens
    from logs full join sums using (grain, starts_at, user_id, period_id, tool_id, status, api_key_id)
   where (logs.n, logs.tokens) is distinct from (sums.invocations, sums.tokens_used)),
totals as (
  select grain, starts_at, user_id, sum(invocations) as n, sum(tokens_used) as tokens, min(first_at) as first_at,
         max(last_at) as last_at, coalesce(sum(invocations) filter (where status = 'success'), 0) as good,
         coalesce(sum(invocations) filter (where status in ('error', 'timeout')), 0) as bad
    from usage_rollups group by 1, 2, 3),
apart as (
  select grain, starts_at, user_id, coalesce(t.n, 0) as n, coalesce(t.tokens, 0) as tokens,
         coalesce(p.invocations, 0) as rolled, coalesce(p.tokens_used, 0) as rolled_tokens
    from totals t full join usage_points p using (grain, starts_at, user_id)
   where (t.n, t.tokens, t.good, t.bad, t.first_at, t.last_at)
         is distinct from (p.invocations, p.tokens_used, p.succeeded, p.failed, p.first_at, p.last_at))
select grain, starts_at, user_id, n::bigint as invocations, tokens::bigint as tokens,
       rolled::bigint as rolled_invocations, rolled_tokens::bigint as rolled_tokens
  from (select * from wrong union all select * from apart) w limit :limit
""")  # noqa: S608


@dataclass(frozen=True, slots=True)
class RollupDifference:
    """A rollup that differs from its rows: one hour, day or month of one account."""

    grain: str
    starts_at: datetime
    user_id: UUID
    invocations: int
    tokens: int
    rolled_invocations: int
    rolled_tokens: int


def differences(limit: int = 100) -> list[RollupDifference]:
    """For verification: rollups that differ from the rows, including missing and extra ones. Reads every row."""
    with db.snapshot() as session:
        db.without_timeout(session)
        return [
            RollupDifference(**row._mapping)
            for row in session.execute(_DIFFERENCES, {"limit": limit, "no_key": NO_KEY})
        ]


def sums(session: Session, period_id: UUID) -> tuple[int, int]:
    """For verification: the completed invocations of a period and their tokens, from the rows alone."""
    row = session.execute(_SUMS, {"period": period_id}).one()
    return row.invocations, row.tokens

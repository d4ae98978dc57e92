"""Roll usage up, each row exactly once, despite late commits and concurrent runs.

The watermark is a transaction id: exactly the rows written by that transaction or an older one are in the rollups. It
moves only past transactions that have all ended, so no row can appear behind it later; it moves in the transaction that
adds the rows, so a reader sees both or neither. docs/decisions/rollups.md has the argument.
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.orm import Session

from common.kit import clock, db, log
from common.kit.query import Query
from common.models.usage import NO_KEY
from common.usage import partitions

logger = log.get(__name__)

ADOPT_BATCH = 20_000

_BEGIN = text("""
insert into watermarks (name, xid, cluster)
select 'usage', '0', system_identifier from pg_control_system() on conflict do nothing
""")


class LockedMark(NamedTuple):
    """The watermark, and whether it was taken in this cluster."""

    xid: str
    native: bool


_LOCK = Query(
    """
select w.xid::text as xid, w.cluster = (select system_identifier from pg_control_system()) as native
  from watermarks w where w.name = 'usage' for update
""",
    LockedMark,
)
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
         coalesce(f.api_key_id, :no_key) as api_key_id, f.api_key_root_id, latency_bucket(f.latency_ms) as latency,
         count(*) as n,
         sum(f.tokens_used) as tokens, min(f.created_at) as first_at, max(f.created_at) as last_at
    from fresh f cross join (values ('hour'), ('day'), ('month')) g(grain)
   where f.created_at >= coalesce((select at from watermarks where name = 'usage_retired'), '-infinity')
   group by 1, 2, 3, 4, 5, 6, 7, 8, 9),
added as (
  insert into usage_rollups as r (grain, starts_at, user_id, period_id, tool_id, status, api_key_id,
                                  api_key_root_id, invocations, tokens_used, first_at, last_at, buckets, counts)
  select grain, starts_at, user_id, period_id, tool_id, status, api_key_id, api_key_root_id, sum(n), sum(tokens),
         min(first_at), max(last_at),
         coalesce(array_agg(latency order by latency) filter (where latency is not null), '{{}}'),
         coalesce(array_agg(n::integer order by latency) filter (where latency is not null), '{{}}')
    from cells group by 1, 2, 3, 4, 5, 6, 7, 8
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


def _lock(session: Session) -> LockedMark:
    """Lock the rollups until the transaction ends."""
    session.execute(_BEGIN)
    (mark,) = db.fetch(session, _LOCK)
    partitions.settle(session)
    return mark


# -- repair --------------------------------------------------------------------------------------------------------

#: Rollups of dropped months cannot be rebuilt, so they are kept.
KEPT = "starts_at >= coalesce((select at from watermarks where name = 'usage_retired'), '-infinity')"
_EMPTY = (text(f"delete from usage_rollups where {KEPT}"), text(f"delete from usage_points where {KEPT}"))  # noqa: S608
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
#: What was summed of failures by transaction ids that are now others.
_UNKNOWN = text("update watermarks set cluster = 0 where name = 'failures'")


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
        frozen: int = session.execute(_FREEZE, {"limit": ADOPT_BATCH}).rowcount  # type: ignore[attr-defined]
        if frozen:
            session.execute(_UNKNOWN)
        return frozen

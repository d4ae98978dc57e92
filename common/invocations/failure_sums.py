"""Failed invocations, rolled up by hour, day and month of their creation, each exactly once.

As usage is (docs/decisions/rollups.md), with a watermark of its own: the usage row of an invocation tells which
transaction ended it. Invocations are never deleted, so the sums can be made anew at any time, whatever has become of
old usage rows.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from common.kit import clock, db
from common.kit.query import Query
from common.usage import partitions

#: Usage rows that one step looks at.
BATCH: Final = 5_000

_BEGIN: Final = text("insert into watermarks (name, xid, cluster) values ('failures', '0', 0) on conflict do nothing")


class FailureMark(NamedTuple):
    """The watermark; whether it was taken in this cluster; and whether usage rows are still to be adopted by it."""

    xid: str
    native: bool
    adopted: bool


_LOCK: Final = Query(
    """
with this as materialized (select system_identifier as cluster from pg_control_system())
select w.xid::text as xid, w.cluster = (select cluster from this) as native,
       not exists (select from watermarks u where u.name = 'usage' and u.cluster <> (select cluster from this))
         as adopted
  from watermarks w where w.name = 'failures' for update
""",
    FailureMark,
)


def _summed(rows: str) -> str:
    """The sums of these failed invocations."""
    return f"""
  select i.user_id, g.grain, date_trunc(g.grain, i.created_at, 'UTC') as starts_at, i.tool_id, i.error_code as code,
         coalesce(i.requested_tool_id, i.tool_id) as called_id, count(*) as number, min(i.created_at) as first_at,
         max(i.created_at) as last_at, max(i.id::text)::uuid as last_id
    from {rows} cross join (values ('hour'), ('day'), ('month')) g(grain)
   where i.error_code is not null group by 1, 2, 3, 4, 5, 6"""  # noqa: S608  (a constant)


#: Usage rows of failures.
FAILED: Final = "status in ('error', 'timeout')"
#: `done`: the newest transaction of this step; a transaction is never split.
_ROLL_UP: Final = text(f"""
with ended as materialized (
  select xid from usage_logs
   where xid > cast(:mark as xid8) and xid < pg_snapshot_xmin(pg_current_snapshot()) order by xid limit :limit),
done as materialized (select max(xid) as xid from ended),
fresh as materialized (
  select u.invocation_id from usage_logs u
   where u.xid > cast(:mark as xid8) and u.xid <= (select xid from done) and u.{FAILED}),
added as (
  insert into failure_rollups as r (user_id, grain, starts_at, tool_id, code, called_id, number, first_at, last_at,
                                    last_id)
  {_summed("fresh join invocations i on i.id = fresh.invocation_id")}
  on conflict (user_id, grain, starts_at, tool_id, code, called_id) do update
     set number = r.number + excluded.number,
         first_at = least(r.first_at, excluded.first_at),
         last_at = greatest(r.last_at, excluded.last_at),
         last_id = greatest(r.last_id, excluded.last_id)),
moved as (
  update watermarks set xid = done.xid, at = now() from done where name = 'failures' and done.xid is not null)
select count(*) from ended
""")  # noqa: S608
_EMPTY: Final = text("delete from failure_rollups")
#: All that had ended before any transaction that is still open; without a usage row: of a month that was dropped.
_REBUILD: Final = text(f"""
with done as materialized (
  select ((pg_snapshot_xmin(pg_current_snapshot())::text)::bigint - 1)::text::xid8 as xid),
added as (
  insert into failure_rollups (user_id, grain, starts_at, tool_id, code, called_id, number, first_at, last_at, last_id)
  {
    _summed(
        "(select i.* from invocations i left join usage_logs u on u.invocation_id = i.id"
        " where i.error_code is not null and coalesce(u.xid, '0') <= (select xid from done)) i"
    )
})
update watermarks set xid = done.xid, at = now(), cluster = (select system_identifier from pg_control_system())
  from done where name = 'failures'
""")  # noqa: S608


def roll_up(seconds: float = 5.0) -> int:
    """For the beat: roll up until nothing is left, or for about `seconds`. Returns how many usage rows were looked at.

    The first time, everything at once. Nothing, as long as usage rows of another cluster are not adopted.
    """
    give_up, total = clock.monotonic() + seconds, 0
    while looked_at := _step():
        total += looked_at
        if clock.monotonic() > give_up:
            break
    return total


def _step() -> int:
    with db.transaction() as session:
        session.execute(_BEGIN)
        (mark,) = db.fetch(session, _LOCK)
        partitions.settle(session)
        if mark.native:
            return int(session.execute(_ROLL_UP, {"mark": mark.xid, "limit": BATCH}).scalar_one())
    if mark.adopted:
        rebuild()
    return 0


def rebuild() -> None:
    """Make the sums anew, from all invocations."""
    with db.transaction() as session:
        session.execute(_BEGIN)
        db.fetch(session, _LOCK)
        partitions.settle(session)
        db.without_timeout(session)
        session.execute(_EMPTY)
        session.execute(_REBUILD)


class FailureDifference(NamedTuple):
    """A sum that differs from its rows: one hour, day or month of one account, one tool and one error code."""

    grain: str
    starts_at: datetime
    user_id: UUID
    tool_id: UUID
    code: str
    number: int
    rolled_up: int


_DIFFERENCES: Final = Query(
    f"""
with mark as materialized (select failure_mark() as xid),
counted as ({
        _summed(
            "(select i.* from invocations i left join usage_logs u on u.invocation_id = i.id"
            " where i.error_code is not null and coalesce(u.xid, '0') <= (select xid from mark)) i"
        )
    }),
sums as (select * from failure_rollups where (select xid from mark) is not null)
select grain, starts_at, user_id, tool_id, code, coalesce(c.number, 0) as number, coalesce(s.number, 0) as rolled_up
  from counted c full join sums s using (user_id, grain, starts_at, tool_id, code, called_id)
 where (c.number, c.first_at, c.last_at, c.last_id) is distinct from (s.number, s.first_at, s.last_at, s.last_id)
 limit :limit
""",  # noqa: S608
    FailureDifference,
)


def differences(limit: int = 100) -> list[FailureDifference]:
    """For verification: sums that differ from the rows, including missing and extra ones. Reads every row."""
    with db.snapshot() as session:
        db.without_timeout(session)
        return db.fetch(session, _DIFFERENCES, {"limit": limit})

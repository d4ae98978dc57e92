"""Monthly partitions of usage: created ahead of time, dropped at the end of their retention.

A row belongs to the month in which its invocation was *created*. The default partition takes rows of missing months, so
that completing an invocation never fails; creating the month moves them. A dropped month is never created again: late
rows of it stay in the default partition.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.orm import Session

from common.kit import apart, db, log
from common.kit.query import Query

logger = log.get(__name__)

_ADD = text("select usage_logs_add_month(:month)")
_SETTLED = text("lock table usage_logs in access share mode")
#: Attaching and dropping wait for a lock that blocks everyone queued behind it, so give up soon and retry later. The
#: limit exceeds `deadlock_timeout` (1 s), after which PostgreSQL cancels an autovacuum in the way.
_LOCK_TIMEOUT = text("set local lock_timeout = '3s'")


class MonthRow(NamedTuple):
    """A month that needs a partition."""

    month: datetime


class PartitionRow(NamedTuple):
    """A partition, and its month."""

    name: str
    month: datetime


#: The months ahead, and those of rows in the default partition.
_WANTED = Query(
    """
select month from (
  select date_trunc('month', now(), 'UTC') + make_interval(months => n) as month from generate_series(0, :ahead) n
  union
  select distinct date_trunc('month', to_timestamp(
           ('x' || left(translate(invocation_id::text, '-', ''), 12))::bit(48)::bigint / 1000.0), 'UTC')
    from usage_logs_default) m
 where month >= coalesce((select at from watermarks where name = 'usage_retired'), '-infinity')
 order by month
""",
    MonthRow,
)
_OLD = Query(
    """
select c.relname as name, to_date(right(c.relname, 7), 'YYYY_MM')::timestamp at time zone 'UTC' as month
  from pg_inherits i join pg_class c on c.oid = i.inhrelid
 where i.inhparent = 'usage_logs'::regclass and c.relname ~ '^usage_logs_[0-9]{4}_[0-9]{2}$'
   and to_date(right(c.relname, 7), 'YYYY_MM') + make_interval(months => 1 + :keep)
       <= date_trunc('month', now(), 'UTC') at time zone 'UTC'
 order by 1
""",
    PartitionRow,
)
_RETIRE = text("select usage_logs_retire_month(:month) where to_regclass(:name) is not null")
#: One at a time: the second one looks whether the month is still there.
_RETIRE_ALONE = text("select pg_advisory_xact_lock(hashtext('usage_logs_retire_month'))")


def settle(session: Session) -> None:
    """Wait until no month is being added or dropped; none is until the transaction ends.

    A statement that was planned before a month was added would not see the rows that were moved there.
    """
    session.execute(_SETTLED)


def add_months(ahead: int = 3) -> int:
    """Periodic task: create this month's partition and the next `ahead`. Returns the number created."""
    return apart.total(
        "add-usage-months", db.execute(_WANTED, {"ahead": ahead}), _add, lambda row: f"{row.month:%Y-%m}"
    )


def _add(row: MonthRow) -> int:
    with db.transaction() as session:
        session.execute(_LOCK_TIMEOUT)
        return int(session.scalar(_ADD, {"month": row.month}))


def retire_months(keep: int) -> list[str]:
    """Drop partitions of months that ended more than `keep` months ago. Returns their names.

    The rollups stay, so summaries and balances do not change; only the history of single invocations is lost. A month
    with rows that are not rolled up yet, or that is being read, is skipped until the next run.
    """
    retired: list[str] = []

    def retire(row: PartitionRow) -> int:
        if _retire(row):
            retired.append(row.name)
        return 1

    apart.total("retire-usage-months", db.execute(_OLD, {"keep": keep}), retire, lambda row: row.name)
    return retired


def _retire(row: PartitionRow) -> bool:
    """Raises `db.Busy`: it is being read."""
    with db.transaction() as session:
        session.execute(_LOCK_TIMEOUT)
        session.execute(_RETIRE_ALONE)
        retired = session.scalar(_RETIRE, {"month": row.month, "name": row.name})
    if retired is False:
        logger.warning("usage partition not dropped: not rolled up yet", partition=row.name)
    return bool(retired)

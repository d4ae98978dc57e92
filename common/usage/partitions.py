"""Months of usage as partitions: made ahead of time, and dropped whole when nobody wants their rows any more.

A row lies in the month in which its invocation was *made*. One for which there is no month yet is caught by the default
partition, so an end never fails; making the month moves it. A month that was dropped is never made again: the few rows
of it that belong to later sums stay in the default partition.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import text

from common.kit import db, log

logger = log.get(__name__)

_ADD = text("select usage_logs_add_month(:month)")
#: Attaching and dropping want a lock that everybody else waits behind: not for long, there will be another time. But
#: for longer than PostgreSQL takes (`deadlock_timeout`, a second) to call back an autovacuum that is in the way.
_PATIENCE = text("set local lock_timeout = '3s'")
#: The months ahead, and those of rows that the default partition caught.
_WANTED = text("""
select month from (
  select date_trunc('month', now(), 'UTC') + make_interval(months => n) as month from generate_series(0, :ahead) n
  union
  select distinct date_trunc('month', to_timestamp(
           ('x' || left(translate(invocation_id::text, '-', ''), 12))::bit(48)::bigint / 1000.0), 'UTC')
    from usage_logs_default) m
 where month >= coalesce((select at from watermarks where name = 'usage_retired'), '-infinity')
 order by month
""")
_OLD = text("""
select c.relname as name, to_date(right(c.relname, 7), 'YYYY_MM')::timestamp at time zone 'UTC' as month
  from pg_inherits i join pg_class c on c.oid = i.inhrelid
 where i.inhparent = 'usage_logs'::regclass and c.relname ~ '^usage_logs_[0-9]{4}_[0-9]{2}$'
   and to_date(right(c.relname, 7), 'YYYY_MM') + make_interval(months => 1 + :keep)
       <= date_trunc('month', now(), 'UTC') at time zone 'UTC'
 order by 1
""")
_RETIRE = text("select usage_logs_retire_month(:month)")


def add_months(ahead: int = 3) -> int:
    """For the beat: make this month's partition and those `ahead`. Returns how many were missing."""
    months: list[datetime] = [row.month for row in db.execute(_WANTED, {"ahead": ahead})]
    return sum(_add(month) for month in months)


def _add(month: datetime) -> bool:
    with db.transaction() as session:
        session.execute(_PATIENCE)
        return bool(session.scalar(_ADD, {"month": month}))


def retire_months(keep: int) -> list[str]:
    """Drop the rows of months that ended more than `keep` months ago; returns the names of the partitions.

    The rollups stay, so that summaries and balances do not change; only the history of single invocations ends there.
    A month with rows that are not rolled up yet, or that somebody reads for long, is left for the next time.
    """
    return [row.name for row in db.execute(_OLD, {"keep": keep}) if _retire(row.name, row.month)]


def _retire(name: str, month: datetime) -> bool:
    try:
        with db.transaction() as session:
            session.execute(_PATIENCE)
            retired = bool(session.scalar(_RETIRE, {"month": month}))
    except db.Busy:
        logger.warning("usage not retired: it is being read", partition=name)
        return False
    if not retired:
        logger.warning("usage not retired: not rolled up yet", partition=name)
    return retired

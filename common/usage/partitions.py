"""Months of usage as partitions: made ahead of time, and dropped whole when nobody wants their rows any more.

A row lies in the month in which its invocation was *made*. One for which there is no month yet is caught by the default
partition, so an end never fails; making the month moves it.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import text

from common.kit import db, log

logger = log.get(__name__)

_ADD = text("select usage_logs_add_month(:month)")
#: The months ahead, and those of rows that the default partition caught.
_WANTED = text("""
select date_trunc('month', now(), 'UTC') + make_interval(months => n) as month from generate_series(0, :ahead) n
union
select distinct date_trunc('month', to_timestamp(
         ('x' || left(translate(invocation_id::text, '-', ''), 12))::bit(48)::bigint / 1000.0), 'UTC')
  from usage_logs_default
order by 1
""")
_OLD = text("""
select c.relname as name, to_date(right(c.relname, 7), 'YYYY_MM') + interval '1 month' as ends
  from pg_inherits i join pg_class c on c.oid = i.inhrelid
 where i.inhparent = 'usage_logs'::regclass and c.relname ~ '^usage_logs_[0-9]{4}_[0-9]{2}$'
   and to_date(right(c.relname, 7), 'YYYY_MM') + make_interval(months => 1 + :keep)
       <= date_trunc('month', now(), 'UTC') at time zone 'UTC'
 order by 1
""")
_RETIRED = text("""
insert into watermarks (name, cluster, at)
select 'usage_retired', system_identifier, cast(:ends as timestamp) at time zone 'UTC' from pg_control_system()
on conflict (name) do update set at = greatest(watermarks.at, excluded.at)
""")


def add_months(ahead: int = 3) -> int:
    """For the beat: make this month's partition and those `ahead`. Returns how many were missing."""
    months: list[datetime] = [row.month for row in db.once(_WANTED, {"ahead": ahead})]
    return sum(bool(db.once(_ADD, {"month": month})[0][0]) for month in months)


def retire_months(keep: int) -> list[str]:
    """Drop the rows of months that ended more than `keep` months ago; returns the names of the partitions.

    The rollups stay, so that summaries and balances do not change; only the history of single invocations ends there.
    A month with rows that are not rolled up yet is left alone.
    """
    return [row.name for row in db.once(_OLD, {"keep": keep}) if _retire(row.name, row.ends)]


def _retire(name: str, ends: datetime) -> bool:
    with db.transaction() as session:
        session.execute(text(f"lock table {name} in access exclusive mode"))
        behind = text(f"select exists (select from {name} where xid > coalesce(usage_mark(), '0'))")  # noqa: S608
        if session.scalar(behind):
            logger.warning("usage not retired: not rolled up yet", partition=name)
            return False
        session.execute(_RETIRED, {"ends": ends})
        session.execute(text(f"drop table {name}"))
    return True

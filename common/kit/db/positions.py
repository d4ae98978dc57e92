"""What `replica` asks the two servers: how far they are in the WAL, and which commits each of them shows."""

from __future__ import annotations

from typing import Final, NamedTuple

from common.kit.query import Query


class Position(NamedTuple):
    """Which database the primary has, and up to where its WAL is flushed (None: it is itself a replica)."""

    system: int
    database: str
    timeline: int | None
    flushed: str | None
    has_standbys: bool


class ReplicaState(NamedTuple):
    """Whether it is a replica of that database, on that timeline; what it has not replayed, in bytes; its time."""

    is_ours: bool
    behind: int | None
    seconds: float

    @property
    def lag(self) -> int:
        """Bytes of WAL; 0 when it is in step."""
        return max(0, self.behind or 0)


class PrimarySnapshot(NamedTuple):
    """Which transactions the primary shows (PostgreSQL's `pg_snapshot`)."""

    snapshot: str


class AheadRow(NamedTuple):
    """A transaction that has committed on the replica, and that the primary did not show."""

    xid: str


class Unshown(NamedTuple):
    """How many of these the primary does not show yet."""

    several: int


#: Without synchronous commits, others see them before they are flushed.
POSITION: Final = Query(
    """
select (select system_identifier from pg_control_system()) as system, current_database()::text as database,
       ('x' || left(pg_walfile_name(w.flushed), 8))::bit(32)::int as timeline, w.flushed::text as flushed,
       current_setting('synchronous_standby_names') <> '' as has_standbys
  from (select case when pg_is_in_recovery() then null
                    when current_setting('synchronous_commit') = 'off' then pg_current_wal_insert_lsn()
                    else pg_current_wal_flush_lsn() end as flushed) w
""",
    Position,
)
#: The timeline is that of the last restartpoint: a replica that has followed to another is not ours until the next.
STATE: Final = Query(
    """
select pg_is_in_recovery() and current_database() = cast(:database as text)
       and (select system_identifier from pg_control_system()) = cast(:system as bigint)
       and (select timeline_id from pg_control_checkpoint()) = cast(:timeline as int) as is_ours,
       pg_wal_lsn_diff(cast(:flushed as pg_lsn), pg_last_wal_replay_lsn())::bigint as behind,
       extract(epoch from clock_timestamp())::float8 as seconds
""",
    ReplicaState,
)
SNAPSHOT: Final = Query("select pg_current_snapshot()::text as snapshot", PrimarySnapshot)
#: Of the transactions that the primary did not show: those that were running, and those from `xmax` on.
AHEAD: Final = Query(
    """
with primary_shows as (select cast(:snapshot as pg_snapshot) as s),
here as materialized (select pg_snapshot_xmax(pg_current_snapshot()) as xmax),
hidden as (
  select pg_snapshot_xip(s) as xid from primary_shows
  union all
  select n::text::xid8 from primary_shows, here, generate_series(pg_snapshot_xmax(s)::text::bigint,
                                                                 here.xmax::text::bigint - 1) n)
select hidden.xid::text as xid from hidden, here
 where case when hidden.xid < here.xmax then pg_xact_status(hidden.xid) = 'committed' end
""",
    AheadRow,
)
#: (A commit that waits for a standby is in progress.)
UNSHOWN: Final = Query(
    """
select count(*) as several from unnest(cast(cast(:xids as text[]) as xid8[])) x(xid)
 where pg_xact_status(x.xid) = 'in progress'
""",
    Unshown,
)

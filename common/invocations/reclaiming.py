# ruff: noqa: S608  (the statements are put together from constants)
"""Worker processes and their heartbeat; the rows of those that died are requeued, or completed as `worker_lost`.

A process without a heartbeat is suspect after `SUSPECT_AFTER` seconds and dead `REAP_AFTER` seconds later. Its rows,
and those whose lease has ended, are first taken over under a fencing token of their own, so that what was read about
them (was the call dispatched?) stays true until it is acted upon, whichever process wakes up in between.

Leases are set by the claim and renewed with heartbeats, of calls that have been answered and whose results wait to be
read or stored. One that has ended counts from the next heartbeat on: after an outage of PostgreSQL, or of its
connections, a process that lives can still renew it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from common import tools
from common.invocations.claiming import ClaimOptions
from common.invocations.completing import WORKER_LOST, complete
from common.invocations.model import Task
from common.invocations.retrying import retry_later
from common.kit import apart, db, failpoints, log
from common.kit.clock import uuid7
from common.kit.query import Query

logger = log.get(__name__)

SUSPECT_AFTER = 20.0
REAP_AFTER = 10.0
BATCH = 500
#: A payload that crashed so many workers is not given to another.
CRASHES_MOST = 3
#: A lease is renewed once it would end so many seconds before it may: not with each heartbeat.
RENEWED_BEFORE = 10.0


class Heartbeat(NamedTuple):
    """When a process was last alive, and the same as it was stored before; None: it was not there."""

    at: datetime
    before: datetime | None


class Lease(NamedTuple):
    """A call of a process may go on for so many seconds more: until then its row is not taken over."""

    id: UUID
    token: UUID
    seconds: float


#: (Locked rows are skipped: they are being completed. The heartbeat must not wait.)
RENEW: Final = text(f"""
with r as materialized (
  select q.id, l.seconds
    from unnest(cast(:ids as uuid[]), cast(:tokens as uuid[]), cast(:seconds as double precision[]))
         as l(id, token, seconds)
    join queue q on q.id = l.id and q.token = l.token
   where q.lease_expires_at < now() + make_interval(secs => l.seconds - {RENEWED_BEFORE})
     for update of q skip locked)
update queue q set lease_expires_at = now() + make_interval(secs => r.seconds) from r where q.id = r.id
""")
#: `renewed`: leases were renewed before; else the process is not silent, but no lease has ended for it. (Suspected in a
#: while: its own sweep, which comes at once, would suspect it because of its old heartbeat.)
HEARTBEAT: Final = Query(
    """
insert into processes (id, kind, name, stopping) values (:id, :kind, :name, :stopping)
on conflict (id) do update set stopping = excluded.stopping,
   suspect_at = case when :renewed then null else now() + interval '20 seconds' end,
   heartbeat_at = case when :renewed then now() else processes.heartbeat_at end,
   progress_at = case when :progress then now() else processes.progress_at end
returning heartbeat_at as at, (select p.heartbeat_at from processes p where p.id = :id) as before
""",
    Heartbeat,
)
_SILENT = f"suspect_at is null and heartbeat_at <= now() - interval '{SUSPECT_AFTER} seconds'"
_DEAD = f"suspect_at <= now() - interval '{REAP_AFTER} seconds'"
SUSPECT: Final = text(f"update processes set suspect_at = now() where {_SILENT}")


class ReapedRow(NamedTuple):
    """A worker process that is dead now."""

    id: UUID
    name: str


REAP: Final = Query(f"delete from processes where {_DEAD} returning id, name", ReapedRow)
LEAVE: Final = text("delete from processes where id = :id")


class OrphanedRow(NamedTuple):
    """A row that was taken over. `sent`: its call was dispatched and must not be repeated, or its output was shown."""

    id: UUID
    token: UUID
    tool_version_id: UUID
    attempts: int
    crash_count: int
    sent: bool
    cancel_at: datetime | None


_ORPHANED = (
    "q.id, q.token, q.tool_version_id, q.attempts, q.crash_count, q.dispatched_at is not null as sent, q.cancel_at"
)
#: (`claimed_at < now()`: a process that has claimed a lost row meanwhile may be one that this snapshot does not know.
#: The second `exists` stands under an `or`, so that it is asked again of a row whose lease was just renewed.)
_LOST = """q.lease_expires_at is not null and q.claimed_at < now()
     and (not exists (select 1 from processes p where p.id = q.worker)
          or q.lease_expires_at <= now()
             and exists (select 1 from processes p where p.id = q.worker and p.heartbeat_at > q.lease_expires_at))"""
#: Whether `reap_dead_processes` has something to do.
DUE: Final = f"""
   exists (select 1 from processes where ({_SILENT}) or {_DEAD}) or exists (select 1 from queue q where {_LOST})"""
TAKE_OVER_LOST: Final = Query(
    f"""
with lost as materialized (
  select q.id from queue q
   where {_LOST}
   order by q.lease_expires_at limit :limit for update of q skip locked)
update queue q set token = uuid7() from lost where q.id = lost.id
returning {_ORPHANED}
""",
    OrphanedRow,
)
#: Rows that a process holds in the database but that none of its threads works on.
TAKE_OVER_OWN: Final = Query(
    f"""
update queue q set token = uuid7()
 where q.worker = :worker and q.token = any(cast(:tokens as uuid[])) and q.lease_expires_at is not null
returning {_ORPHANED}
""",
    OrphanedRow,
)


def heartbeat(worker: UUID, *, name: str, progress: bool, stopping: bool, leases: Sequence[Lease] = ()) -> Heartbeat:
    """Record that a worker process lives. Without this, it loses its rows in two steps (`reap_dead_processes`).

    `progress`: since the last heartbeat it has consumed a message or completed a call; `leases`: of calls that have
    been answered, which are renewed before: once it is recorded, those that have ended are given up.
    """
    beat = {"id": worker, "kind": "worker", "name": name, "progress": progress, "stopping": stopping}
    return db.execute(HEARTBEAT, {**beat, "renewed": _renewed(leases)})[0]


def _renewed(leases: Sequence[Lease]) -> bool:
    """Renew them. False: the table is locked."""
    if not leases:
        return True
    ids, tokens, seconds = (list(each) for each in zip(*leases, strict=True))
    try:
        db.rowcount(RENEW, {"ids": ids, "tokens": tokens, "seconds": seconds})
    except db.Busy as error:
        logger.warning("leases not renewed", reason=str(error), leases=len(leases))
        return False
    return True


def leave(worker: UUID) -> None:
    """A process shuts down in order: rows that it still holds are orphaned at once."""
    db.rowcount(LEAVE, {"id": worker})


def reap_dead_processes() -> int:
    """Declare processes without a heartbeat suspect, then dead, and reclaim orphaned rows. Returns how many rows."""
    db.rowcount(SUSPECT, {})
    for dead in db.execute(REAP, {}):
        logger.warning("worker process lost", worker=str(dead.id), name=dead.name)
    rows = db.execute(TAKE_OVER_LOST, {"limit": BATCH})
    if rows:
        failpoints.at("reaper.after_select")
    return requeue_or_fail(rows)


def take_over(worker: UUID, tokens: Collection[UUID]) -> int:
    """Reclaim rows that a process holds in the database but that none of its threads works on. Returns how many."""
    return requeue_or_fail(db.execute(TAKE_OVER_OWN, {"worker": worker, "tokens": list(tokens)}))


def requeue_or_fail(rows: Iterable[OrphanedRow]) -> int:
    """Requeue rows that were taken over from a worker, or complete them, each under its new token. Returns how many.

    Those for which there is no time are lost still, and taken over again.
    """
    return apart.in_turn("take-back", rows, _requeue_or_fail, lambda row: row.id)


def _requeue_or_fail(row: OrphanedRow) -> int:
    version = tools.version(row.tool_version_id)
    task = _task(row)
    options = ClaimOptions(worker=uuid7(), take_next=False, once=True)
    exhausted = row.attempts >= version.max_attempts or row.crash_count + 1 >= CRASHES_MOST
    if row.sent or exhausted or row.cancel_at is not None:
        complete(task, WORKER_LOST, options)
    else:
        retry_later(task, WORKER_LOST, 0.0, options, lost=True)
    return 1


def _task(row: OrphanedRow) -> Task:
    nil = UUID(int=0)
    return Task(
        row.id, row.token, nil, nil, nil, row.tool_version_id, "null", 0, row.attempts, row.crash_count, "", 0.0
    )

"""What is going on: the queue, deliveries, workers, sweeps and breakers, as metrics and operators' pages show it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Final, NamedTuple
from uuid import UUID

from common.kit import db
from common.kit.query import Query
from common.tools import breakers
from common.tools.breakers import BreakerState

#: More running invocations than this are not listed one by one.
MOST_LISTED: Final = 200


class QueueDepth(NamedTuple):
    """Open invocations by state, the age of the oldest due one in seconds, and what is held for all of them."""

    running: int
    ready: int
    waiting: int
    oldest: Decimal
    holds: int
    held: Decimal


class OldestDue(NamedTuple):
    """Seconds since the first that is due has been due."""

    oldest: float


class DeliveriesDepth(NamedTuple):
    """Pending deliveries by state (`parked`: their receiver is at its limit), and the age of the oldest due one."""

    running: int
    parked: int
    waiting: int
    oldest: Decimal


class SweepRecord(NamedTuple):
    """Periodic work: when it last ran and for how long, and how often it has run and failed."""

    name: str
    ran_at: datetime
    milliseconds: int
    runs: int
    failures: int


class WorkersOfKind(NamedTuple):
    """Workers of a kind with a recent heartbeat, and when one of them last made progress."""

    kind: str
    several: int
    progress_at: datetime


class ListedWorker(NamedTuple):
    """A worker process. `is_alive`: its heartbeat is recent."""

    id: UUID
    name: str
    started_at: datetime
    heartbeat_at: datetime
    progress_at: datetime
    stopping: bool
    is_alive: bool


class RunningCall(NamedTuple):
    """An invocation that a worker process is working on; `attempt` counts from 1."""

    worker: UUID
    id: UUID
    tool: str
    attempt: int
    claimed_at: datetime


class ToolName(NamedTuple):
    """A tool in the catalogue."""

    id: UUID
    slug: str


_QUEUE = Query(
    """
select count(*) filter (where token is not null) as running,
       count(*) filter (where token is null and slot is not null) as ready,
       count(*) filter (where slot is null) as waiting,
       coalesce(extract(epoch from now() - min(due_at) filter (where token is null and due_at <= now())), 0) as oldest,
       count(*) as holds, coalesce(sum(held), 0) as held
  from queue
""",
    QueueDepth,
)
#: Each part uses its own partial index (its condition matches literally); most rows are completed deliveries.
_DELIVERIES = Query(
    """
with running as (select count(*) as n from deliveries where lease_until is not null),
parked as (select count(*) as n, min(due_at) as due_at from deliveries where parked),
waiting as (
  select count(*) as n, min(due_at) as due_at from deliveries
   where status = 'pending' and lease_until is null and not parked)
select running.n as running, parked.n as parked, waiting.n as waiting,
       greatest(0, coalesce(extract(epoch from now() - least(parked.due_at, waiting.due_at)), 0)) as oldest
  from running, parked, waiting
""",
    DeliveriesDepth,
)
_SCHEDULES = Query(
    """
select coalesce(extract(epoch from now() - min(due_at)), 0)::float8 as oldest from schedules where due_at <= now()
""",
    OldestDue,
)
_SWEEPS = Query("select name, ran_at, milliseconds, runs, failures from sweep_runs order by name", SweepRecord)
_KINDS = Query(
    """
select k.kind, count(*) as several, max(p.progress_at) as progress_at
  from processes p cross join string_to_table(split_part(p.name, '@', 1), ',') k(kind)
 where not p.stopping and p.heartbeat_at > now() - interval '15 seconds' group by k.kind
""",
    WorkersOfKind,
)
_WORKERS = Query(
    """
select id, name, started_at, heartbeat_at, progress_at, stopping,
       heartbeat_at > now() - interval '15 seconds' as is_alive
  from processes order by name, started_at
""",
    ListedWorker,
)
_RUNNING = Query(
    """
select q.worker, q.id, t.slug as tool, q.attempts as attempt, q.claimed_at
  from queue q join tools t on t.id = q.tool_id
 where q.lease_expires_at is not null and q.worker is not null order by q.claimed_at limit :most
""",
    RunningCall,
)
_TOOLS = Query("select id, slug from tools where archived_at is null and is_active order by slug", ToolName)


def oldest_due_schedule() -> float:
    """For how many seconds a schedule has been due that was not fired; 0: none is."""
    return db.execute(_SCHEDULES, {})[0].oldest


def queue() -> QueueDepth:
    """The open invocations of all accounts."""
    return db.execute(_QUEUE, {})[0]


def deliveries() -> DeliveriesDepth:
    """The pending deliveries to all receivers."""
    return db.execute(_DELIVERIES, {})[0]


def sweeps() -> list[SweepRecord]:
    """All periodic work that has run at least once."""
    return db.execute(_SWEEPS, {})


def kinds_of_workers() -> list[WorkersOfKind]:
    """The kinds of workers that are alive."""
    return db.execute(_KINDS, {})


def workers() -> list[ListedWorker]:
    """All worker processes that are not yet taken for dead."""
    return db.execute(_WORKERS, {})


def running() -> list[RunningCall]:
    """What the workers are running, longest first; at most `MOST_LISTED`."""
    return db.execute(_RUNNING, {"most": MOST_LISTED})


def breakers_of_tools() -> Iterator[tuple[str, BreakerState]]:
    """Slug and breaker of each tool that can be invoked."""
    for tool in db.execute(_TOOLS, {}):
        yield tool.slug, breakers.state(tool.id)

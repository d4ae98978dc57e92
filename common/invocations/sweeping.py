"""What the sweep does every second: bounded, harmless when done twice or by two processes at once."""

from __future__ import annotations

from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from common.invocations import completion_sql, reclaiming
from common.invocations.admitting import admit_waiting
from common.invocations.completing import after_commit, completion_of, completion_parameters
from common.invocations.model import Completion
from common.invocations.placing import place_waiting, raise_start_tags, unplace_paused
from common.invocations.reclaiming import reap_dead_processes
from common.invocations.thresholds import record_missed as record_missed_thresholds
from common.kit import apart, batches, db, failpoints
from common.kit.query import Query
from common.queueing import messages

__all__ = [
    "Depth",
    "admit_waiting",
    "depth",
    "expire",
    "forget_old_keys",
    "lately",
    "note",
    "notify_for_ready",
    "place_waiting",
    "raise_start_tags",
    "reap_dead_processes",
    "record_missed_thresholds",
    "unheard",
    "unplace_paused",
]

BATCH = 500
#: Whether a step has something to do: rows wait for a slot, a worker or their deadline, or were lost by theirs.
DUE: Final = f"""
  ((select true from queue where token is null order by expires_at limit 1) is not null or {reclaiming.DUE})"""  # noqa: S608
#: Seconds for which old keys are dropped at a time: more of them than a busy minute brings.
KEY_SECONDS = 5.0


class OverdueRow(NamedTuple):
    """A row past its deadline. `last_error`: code and detail of its last attempt."""

    id: UUID
    started: bool
    last_error: dict[str, str] | None


OVERDUE: Final = Query(
    """
select id, started_at is not null as started, last_error from queue
 where token is null and expires_at <= now() and id <> all(cast(:left as uuid[])) order by expires_at limit :limit
""",
    OverdueRow,
)
COMPLETE_OVERDUE: Final = completion_of(
    f"delete from queue where id = :id and token is null and expires_at <= now() returning {completion_sql.DELETED}"  # noqa: S608
)


class _Ready(NamedTuple):
    ready: int


READY: Final = Query(
    """
select count(*) as ready from (select 1 from queue where token is null and slot is not null limit :limit) x
""",
    _Ready,
)


class _Unheard(NamedTuple):
    unheard: bool


#: Work could begin now, and no process has consumed a message or completed a call for so long.
UNHEARD: Final = Query(
    """
select exists (select 1 from queue where token is null and slot is not null and expires_at > now())
       and not exists (select 1 from processes where 'invocations' = any(string_to_array(split_part(name, '@', 1), ','))
                          and progress_at > now() - make_interval(secs => :seconds)) as unheard
""",
    _Unheard,
)


class Depth(NamedTuple):
    """Open rows in the queue, how many of them run, and the age in seconds of the oldest row that is due."""

    depth: int
    running: int
    oldest: float


DEPTH: Final = Query(
    """
select count(*) as depth, count(*) filter (where token is not null) as running,
       coalesce(extract(epoch from now() - min(due_at) filter (where token is null and due_at <= now())), 0)::float8
         as oldest
  from queue
""",
    Depth,
)
FORGET_KEYS: Final = text("""
with old as (select user_id, key from idempotency_keys where created_at <= now() - interval '25 hours' limit :limit)
delete from idempotency_keys k using old where k.user_id = old.user_id and k.key = old.key
""")


class _Lately(NamedTuple):
    lately: bool


LATELY: Final = Query(
    """
select exists (select 1 from sweep_runs
                where name = :name and ran_at > now() - make_interval(secs => :seconds)) as lately
""",
    _Lately,
)
RAN: Final = text("""
insert into sweep_runs as s (name, milliseconds, failures) values (:name, :milliseconds, :failed)
on conflict (name) do update set ran_at = now(), milliseconds = excluded.milliseconds,
   runs = s.runs + 1, failures = s.failures + excluded.failures
""")


def expire() -> int:
    """Complete rows past their deadline: `expired` if they never started, otherwise `failed`. Returns how many."""
    rows = db.execute(OVERDUE, {"limit": BATCH, "left": apart.left("expire")})
    return apart.in_turn("expire", rows, _expire, lambda row: row.id)


def _expire(row: OverdueRow) -> int:
    last = row.last_error or {"code": "worker_lost", "detail": "The deadline passed."}
    failed = Completion("failed", error_code=last["code"], error_detail=last["detail"])
    late = failed if row.started else Completion("expired")
    for completed in db.execute(COMPLETE_OVERDUE, completion_parameters(row.id, late)):
        after_commit(completed)
    return 1


def notify_for_ready(threads: int) -> int:
    """Publish a message for each ready row that none waits for in the queue; at most one for each worker thread."""
    ready = db.execute(READY, {"limit": threads})[0].ready
    if ready:
        failpoints.at("reaper.after_select")
    return messages.notify_times(messages.RUN_INVOCATION, ready) if ready else 0


def forget_old_keys(*, seconds: float = KEY_SECONDS) -> int:
    """Drop idempotency keys that are older than their 24 hours: all of them, or for about so many seconds."""
    return batches.repeat(lambda: db.rowcount(FORGET_KEYS, {"limit": BATCH}), BATCH, seconds)


def unheard(seconds: float) -> bool:
    """Whether work could begin, and no worker process has consumed a message or completed a call for so long."""
    return db.execute(UNHEARD, {"seconds": seconds})[0].unheard


def depth() -> Depth:
    """The queue now."""
    return db.execute(DEPTH, {})[0]


def lately(name: str, seconds: float) -> bool:
    """Whether a periodic job ran within the last so many seconds, by the database's clock."""
    return db.execute(LATELY, {"name": name, "seconds": seconds})[0].lately


def note(name: str, milliseconds: int, *, failed: bool) -> None:
    """Record that a periodic job ran, for `doctor` and the alerts."""
    db.rowcount(RAN, {"name": name, "milliseconds": milliseconds, "failed": int(failed)})

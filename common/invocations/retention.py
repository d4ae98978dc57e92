"""Dropping the payloads of old invocations: what was sent and what came back. What was charged, and why, stays."""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID

from common.kit import clock, db
from common.kit.query import Query

BATCH = 500
SECONDS = 5.0
UNUSED_DAYS = 30

#: From where the last walk ended up to the horizon, or to the oldest invocation that is still open. The rows on the way
#: are found by their ids, which begin with the time they were made at.
_WALK = """
with bound as materialized (
  select least(uuid7_floor(now() - make_interval(days => :days)), (select id from queue order by id limit 1)) as id),
old as materialized (
  select i.id from invocations i
   where i.id >= uuid7_floor(coalesce((select at from watermarks where name = '{name}'), 'epoch'))
     and i.id < (select id from bound) and {which} and (i.input is not null or i.output is not null)
   order by i.id limit :limit),
dropped as (
  update invocations i set input = null, output = null, input_bytes = null, output_bytes = null
    from old where i.id = old.id
  returning i.id),
way as (
  select count(*) as several,
         case when count(*) < :limit then (select id from bound) else (select id from old order by id desc limit 1) end
           as reached
    from dropped),
marked as (
  insert into watermarks (name, cluster, at)
  select '{name}', system_identifier,
         to_timestamp(('x' || left(translate(way.reached::text, '-', ''), 12))::bit(48)::bigint / 1000.0)
    from way, pg_control_system()
  on conflict (name) do update set at = greatest(watermarks.at, excluded.at))
select several from way
"""


class DroppedRow(NamedTuple):
    """How many rows one step has emptied."""

    several: int


_DROP = Query(_WALK.format(name="payloads", which="i.status <> 'open'"), DroppedRow)
#: Canceled or expired before the first attempt: the input was never used.
_DROP_UNUSED = Query(
    _WALK.format(name="unused_payloads", which="i.failure is not null and i.started_at is null"), DroppedRow
)


def drop_payloads(days: int, *, seconds: float = SECONDS, batch: int = BATCH) -> int:
    """For the beat: forget input and output of what ended and was made more than `days` days ago. Returns how many.

    Stops when there is nothing left, or after about so many seconds.
    """
    return _drop(_DROP, days, seconds, batch)


def drop_unused_payloads(*, seconds: float = SECONDS, batch: int = BATCH) -> int:
    """For the beat: forget the input of what was canceled or expired before it ran, a month after it was made."""
    return _drop(_DROP_UNUSED, UNUSED_DAYS, seconds, batch)


#: By the index of the account's invocations, from where the last batch ended.
class DroppedOf(NamedTuple):
    """How many rows one step has emptied, and the last of them."""

    several: int
    reached: UUID


_DROP_OF = Query(
    """
with old as materialized (
  select i.id from invocations i
   where i.user_id = :user_id and i.id > :after and i.status <> 'open'
     and (i.input is not null or i.output is not null)
   order by i.id limit :limit),
dropped as (
  update invocations i set input = null, output = null, input_bytes = null, output_bytes = null
    from old where i.id = old.id
  returning i.id)
select count(*) as several, (select id from old order by id desc limit 1) as reached from dropped
""",
    DroppedOf,
)


def drop_payloads_of(user_id: UUID, *, seconds: float = SECONDS, batch: int = BATCH) -> bool:
    """Forget input and output of everything of the account that has ended. Returns whether none are left."""
    give_up, after = clock.monotonic() + seconds, UUID(int=0)
    while clock.monotonic() < give_up:
        done = db.execute(_DROP_OF, {"user_id": user_id, "after": after, "limit": batch})[0]
        if done.several < batch:
            return True
        after = done.reached
    return False


def _drop(walk: Query[DroppedRow], days: int, seconds: float, batch: int) -> int:
    give_up, total = clock.monotonic() + seconds, 0
    while True:
        dropped = db.execute(walk, {"days": days, "limit": batch})[0].several
        total += dropped
        if dropped < batch or clock.monotonic() > give_up:
            return total

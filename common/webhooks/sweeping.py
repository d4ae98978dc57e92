# ruff: noqa: S608  (the statements are put together from constants)
"""Upkeep of the queue of deliveries: park and unpark rows, expire leases, disable failing endpoints, notify workers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from common.kit import apart, batches, db, log
from common.kit.query import Query
from common.queueing import messages
from common.webhooks.disabling import DISABLED
from common.webhooks.queue import ATTEMPT_COLUMNS, BATCH, DUE, LEASE, NEXT_N
from common.webhooks.schedule import MAX_TRIES

logger = log.get(__name__)

FAILING_LIMIT: Final = timedelta(days=5)
#: How many parked rows of a lane the sweep brings back at once.
UNPARK: Final = 8
#: How many messages the sweep sends at most, each second. Most of a long queue may be for lanes that are full.
NOTIFIED: Final = 8

#: Only the front of the queue: rows behind it do not slow the scan yet.
_PARK: Final = text(f"""
with front as (select id, lane from deliveries where {DUE} order by due_at limit {BATCH}),
p as (
  select d.id from deliveries d join front f on f.id = d.id
   where f.lane = any(cast(:full as bigint[])) and d.lease_until is null for update of d skip locked)
update deliveries d set parked = true from p where d.id = p.id and d.status = 'pending' and d.lease_until is null
""")

#: The lanes with parked rows, by one index probe each.
_ALL_LANES = """
with recursive lanes as (
  (select lane from deliveries where parked order by lane limit 1)
  union all
  select (select d.lane from deliveries d where d.parked and d.lane > l.lane order by d.lane limit 1)
    from lanes l where l.lane is not null)
"""
_OLDEST = f"""
p as (
  select x.id from lanes l cross join lateral (
    select id from deliveries where parked and lane = l.lane order by due_at limit {UNPARK} for update skip locked) x)
update deliveries d set parked = false from p where d.id = p.id
"""
_UNPARK: Final = text(f"{_ALL_LANES}, {_OLDEST}")
_UNPARK_LANES: Final = text(f"with lanes as (select unnest(cast(:lanes as bigint[])) as lane), {_OLDEST}")

_EXPIRE: Final = text(f"""
with x as (
  select id, lease_until from deliveries where lease_until < now()
   order by lease_until limit {BATCH} for update skip locked),
d as (
  update deliveries v
     set token = null, lease_until = null, due_at = now(),
         status = case when v.tries < {MAX_TRIES} then 'pending' else 'failed' end,
         finished_at = case when v.tries < {MAX_TRIES} then null else now() end
    from x where v.id = x.id
  returning v.id, x.lease_until)
insert into delivery_attempts ({ATTEMPT_COLUMNS})
select d.id, {NEXT_N}, d.lease_until - interval '{LEASE.seconds} seconds', null, {LEASE.seconds * 1000},
       'The attempt was interrupted on our side; the receiver may have received it.', null
  from d
""")


#: Whether `expire_leases`, `unpark` or `notify_due` has something to do.
SOMETHING_DUE: Final = f"""
  ((select true from deliveries where {DUE} order by due_at limit 1) is not null
   or (select true from deliveries where lease_until < now() order by lease_until limit 1) is not null
   or (select true from deliveries where parked order by lane limit 1) is not null)"""


class DisabledEndpoint(NamedTuple):
    """An endpoint that was just disabled, and its owner."""

    id: UUID
    user_id: UUID


class DueRow(NamedTuple):
    """How many deliveries are due, at most `NOTIFIED`."""

    due: int


_DISABLE_FAILING: Final = Query(
    f"""
with w as (
  update webhook_endpoints x
     set status = 'disabled', disabled_reason = 'failing', updated_at = now()
   where x.status = 'enabled' and x.failing_since <= now() - interval '{FAILING_LIMIT.days} days'
     and exists (select 1 from deliveries d where d.endpoint_id = x.id and d.status = 'pending' and d.tries > 0)
  returning x.id, x.user_id, x.url, x.disabled_reason),
{DISABLED}
select id, user_id from w
""",
    DisabledEndpoint,
)

_COUNT_DUE: Final = Query(
    f"select count(*) as due from (select 1 from deliveries where {DUE} limit {NOTIFIED}) x", DueRow
)


def park(full: Sequence[int]) -> int:
    """Park the due rows of full lanes. Returns their number, at most `BATCH`."""
    return db.rowcount(_PARK, {"full": list(full)})


def unpark(lanes: Sequence[int] | None = None) -> int:
    """Unpark the oldest rows of these lanes (None: all), in case no running delivery of the lane is left to do it."""
    return db.rowcount(_UNPARK, {}) if lanes is None else db.rowcount(_UNPARK_LANES, {"lanes": list(lanes)})


def expire_leases() -> int:
    """Make deliveries with an expired lease due again, for `apart.SECONDS`; the attempt counts. Returns how many."""
    return batches.repeat(lambda: db.rowcount(_EXPIRE, {}), BATCH, apart.SECONDS)


def disable_failing() -> int:
    """Disable endpoints that have failed for five days, and mail their owners. Returns their number."""
    disabled = db.execute(_DISABLE_FAILING, {})
    for row in disabled:
        logger.warning("webhook endpoint disabled", endpoint_id=str(row.id), user_id=str(row.user_id))
    return len(disabled)


def notify_due() -> int:
    """Notify workers of due deliveries (retries, lost messages). Returns the number of messages sent.

    A few are enough: whoever finds work notifies another.
    """
    return messages.notify_times(messages.DELIVER, db.execute(_COUNT_DUE, {})[0].due)

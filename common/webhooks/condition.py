"""How endpoints are doing, for their owner: what became of the last deliveries, and what a replay would send."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from decimal import Decimal
from typing import Final, NamedTuple
from uuid import UUID

from common.errors import NotFound
from common.kit import clock, db
from common.kit.paging import Window
from common.kit.query import Query
from common.webhooks.endpoints import endpoint
from common.webhooks.history import MAX_REPLAY, DeliveryRecord, deliveries

#: The deliveries of each endpoint that are looked at: the newest.
LOOKED_AT: Final = 50


class Health(NamedTuple):
    """The last `LOOKED_AT` deliveries by status, and the newest attempt of them; its fields are None without one."""

    endpoint_id: UUID
    delivered: int
    failed: int
    pending: int
    at: datetime | None
    http_status: int | None
    error: str | None


class Several(NamedTuple):
    """A number of rows."""

    n: int


class Progress(NamedTuple):
    """The deliveries of an account: `mark` is another one after each attempt; `pending`: there are attempts to come."""

    user_id: UUID
    mark: Decimal
    pending: bool


_HEALTH: Final = Query(
    """
select e.id as endpoint_id, d.delivered, d.failed, d.pending, a.at, a.http_status, a.error
  from webhook_endpoints e
 cross join lateral (
   select count(*) filter (where status = 'delivered') as delivered,
          count(*) filter (where status = 'failed') as failed,
          count(*) filter (where status = 'pending') as pending, array_agg(id) as ids
     from (select id, status from deliveries where endpoint_id = e.id order by id desc limit :most) l) d
  left join lateral (
   select at, http_status, error from delivery_attempts where delivery_id = any(d.ids)
    order by at desc limit 1) a on true
 where e.user_id = :user_id and (cast(:endpoint_id as uuid) is null or e.id = cast(:endpoint_id as uuid))
""",
    Health,
)
_FAILED: Final = Query(
    """
select count(*) as n from (
  select from deliveries
   where endpoint_id = :endpoint_id and status = 'failed' and id >= :floor and created_at >= :since
   limit :most) f
""",
    Several,
)

#: The newest events of each account whose deliveries are looked at.
_LATEST: Final = 50
_PROGRESS: Final = Query(
    """
select w.user_id,
       coalesce(sum(hashtextextended(concat(d.id, d.status, d.tries, d.due_at), 0)) filter (where d.id is not null), 0)
         as mark,
       coalesce(bool_or(d.status = 'pending'), false) as pending
  from unnest(cast(:users as uuid[])) w(user_id)
 cross join lateral (select id from events where user_id = w.user_id
                      order by era desc, events.xid desc, events.id desc limit :most) e
  left join deliveries d on d.event_id = e.id
 group by w.user_id
""",
    Progress,
)


def progress(users: Collection[UUID]) -> dict[UUID, Progress]:
    """How far the deliveries of each account's latest events are; without an account that has no events."""
    rows = db.execute(_PROGRESS, {"users": list(users), "most": _LATEST}) if users else []
    return {row.user_id: row for row in rows}


def health(user_id: UUID) -> dict[UUID, Health]:
    """How each of the account's endpoints is doing."""
    return {row.endpoint_id: row for row in _health(user_id, None)}


def health_of(user_id: UUID, endpoint_id: UUID) -> Health:
    """How one of them is doing. Raises `NotFound`."""
    rows = _health(user_id, endpoint_id)
    if not rows:
        raise NotFound("Webhook endpoint not found.")
    return rows[0]


def _health(user_id: UUID, endpoint_id: UUID | None) -> list[Health]:
    return db.execute(_HEALTH, {"user_id": user_id, "endpoint_id": endpoint_id, "most": LOOKED_AT})


def replayable(user_id: UUID, endpoint_id: UUID, since: datetime) -> int:
    """How many deliveries a replay from then on would send now, at most `MAX_REPLAY`. Raises `NotFound`."""
    endpoint(user_id, endpoint_id)
    chosen = {"endpoint_id": endpoint_id, "since": since, "floor": clock.uuid7_floor(since), "most": MAX_REPLAY}
    return db.execute(_FAILED, chosen)[0].n


def delivery(user_id: UUID, endpoint_id: UUID, delivery_id: UUID) -> DeliveryRecord:
    """One delivery to an endpoint, with every attempt. Raises `NotFound`."""
    here = Window(1, (UUID(int=min(delivery_id.int + 1, 2**128 - 1)),))
    found = deliveries(user_id, endpoint_id, here).items
    if not found or found[0].id != delivery_id:
        raise NotFound("Delivery not found.")
    return found[0]

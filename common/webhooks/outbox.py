# ruff: noqa: S608  (the statements are put together from constants)
"""The transactional outbox: `record` an event in your transaction; `feed` reads events in order, by cursor.

Events are ordered by (era, transaction id, event id). Only events older than every open transaction are returned, so a
late commit never appears behind a reader's cursor (docs/decisions/outbox.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Final, NamedTuple
from uuid import UUID

import orjson
from sqlalchemy import text
from sqlalchemy.orm import Session

from common.kit import clock, db
from common.kit.paging import MAX_PAYLOAD_BYTES, Page, Window
from common.kit.query import Query
from common.webhooks.model import OutboxEvent

RETENTION_DAYS: Final = 30

_RECORD: Final = text("""
with e as (
  insert into events (id, user_id, type, data) values (:id, :user_id, :type, cast(:data as jsonb))
  returning id, user_id, type)
insert into deliveries (id, event_id, user_id, endpoint_id)
select uuid7(), e.id, e.user_id, w.id
  from e join webhook_endpoints w on w.user_id = e.user_id and w.status = 'enabled' and w.events && array[e.type]
""")


def record(session: Session, user_id: UUID, kind: str, data: Mapping[str, object]) -> UUID:
    """Insert an event, and a delivery for each endpoint subscribed to it, in your transaction. Returns its id.

    After the commit, call `messages.notify(messages.DELIVER)`. Events of invocations are inserted by the statements
    that change the invocation.
    """
    event_id = clock.uuid7()
    values = {"id": event_id, "user_id": user_id, "type": kind, "data": orjson.dumps(data).decode()}
    session.execute(_RECORD, values)
    return event_id


# -- the feed --------------------------------------------------------------------------------------------------

_ERA = "coalesce(pg_sequence_last_value('feed_era'::regclass), 0)"


class FeedRow(NamedTuple):
    """An event and its place in the order."""

    id: UUID
    user_id: UUID
    type: str
    invocation_id: UUID | None
    data: Mapping[str, object] | None
    attempts: int
    created_at: datetime
    era: int
    xid: str
    #: Running total of the payloads, so that the caller can cut the page before reading the invocations.
    bytes: Decimal


_FEED: Final = Query(
    f"""
with page as materialized (
select id, user_id, type, invocation_id, data, attempts, created_at, era, xid
  from events
 where user_id = :user_id and created_at > now() - interval '{RETENTION_DAYS} days'
   and (era < {_ERA} or xid < pg_snapshot_xmin(pg_current_snapshot()))
   and (era, xid, id) > (cast(:era as integer), cast(cast(:xid as text) as xid8), cast(:id as uuid))
 order by era, events.xid, id limit :limit)
select p.id, p.user_id, p.type, p.invocation_id, p.data, p.attempts, p.created_at, p.era, p.xid::text as xid,
       sum(coalesce(octet_length(p.data::text), 0)
           + coalesce(i.input_bytes, octet_length(i.input::text), 0)
           + coalesce(i.output_bytes, octet_length(i.output::text), 0))
         over (order by p.era, p.xid, p.id) as bytes
  from page p left join invocations i on i.id = p.invocation_id
 order by p.era, p.xid, p.id
""",
    FeedRow,
)

_START = (0, 0, UUID(int=0))


def feed(user_id: UUID, window: Window, *, payloads: bool = True) -> Page[OutboxEvent]:
    """The account's events of the last 30 days, oldest first, each once. `next` stays valid and can be polled.

    With `payloads`, a page ends before the inputs and outputs of its invocations exceed `MAX_PAYLOAD_BYTES`.
    """
    era, xid, event_id = window.after or _START
    values = {"user_id": user_id, "era": era, "xid": str(xid), "id": event_id, "limit": window.limit + 1}
    rows = db.execute(_FEED, values)
    fitting = [row for row in rows[1:] if not payloads or row.bytes <= MAX_PAYLOAD_BYTES]
    shown = [*rows[:1], *fitting][: window.limit]
    return Page.of(shown, window, _position, more=len(rows) > len(shown), feed=True).map(_event)


def _position(row: FeedRow) -> tuple[int, int, UUID]:
    return row.era, int(row.xid), row.id


def _event(row: FeedRow) -> OutboxEvent:
    return OutboxEvent(row.id, row.user_id, row.type, row.invocation_id, row.data, row.attempts, row.created_at)


# -- restored databases ---------------------------------------------------------------------------------------------

_LOCK: Final = text("lock table events in share row exclusive mode")
#: Rows whose transaction ids this cluster has not reached: they come from another cluster.
_FOREIGN: Final = text(f"""
select max(created_at) as until from events where era = {_ERA} and xid >= pg_snapshot_xmax(pg_current_snapshot())
""")
_NEW_ERA: Final = text("select nextval('feed_era')")
#: Rows written here since the restore, still in the old cluster's era.
_MOVE: Final = text("""
update events set era = :era where era < :era and created_at > :until and xid < pg_snapshot_xmax(pg_current_snapshot())
""")


def repair_feed() -> bool:
    """Start a new era after a dump was restored into a cluster with other transaction ids.

    Otherwise restored events stay hidden until the new cluster's transaction ids catch up, and new events sort before
    cursors that readers hold. Returns whether there was anything to do. Safe at any time; blocks writers briefly.
    """
    with db.transaction() as session:
        session.execute(_LOCK)
        until = session.execute(_FOREIGN).scalar_one()
        if until is None:
            return False
        era = session.execute(_NEW_ERA).scalar_one()
        session.execute(_MOVE, {"era": era, "until": until})
    return True

# ruff: noqa: S608  (the statements are put together from constants)
"""The feed: an account's events in order, by cursor, each once; and whether there are new ones, for many waiters.

Events are ordered by (era, transaction id, event id). Only events older than every open transaction are returned, so a
late commit never appears behind a reader's cursor (docs/decisions/outbox.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from common.kit import clock, db
from common.kit.paging import MAX_PAYLOAD_BYTES, Page, Position, Window
from common.kit.query import Query
from common.webhooks.model import OutboxEvent

RETENTION_DAYS: Final = 30
#: How many events one request looks through for those that match its filters.
LOOKED_THROUGH: Final = 2_000
#: How far the time in an event's id may be from its `created_at` (other clocks, long transactions), as part of an id.
_SKEW: Final = 86_400_000 << 80

_ERA = "coalesce(pg_sequence_last_value('feed_era'::regclass), 0)"
_SETTLED = f"(era < {_ERA} or xid < pg_snapshot_xmin(pg_current_snapshot()))"


class FeedRow(NamedTuple):
    """An event and its place in the order. `wanted`: it matches the filters; `looked`: how many were looked through."""

    id: UUID
    user_id: UUID
    type: str
    invocation_id: UUID | None
    data: Mapping[str, object] | None
    attempts: int
    created_at: datetime
    era: int
    xid: str
    wanted: bool
    looked: int
    #: Running total of the payloads, so that the caller can cut the page before reading the invocations.
    bytes: Decimal


#: The events that match, and the last that was looked at.
_FEED: Final = Query(
    f"""
with looked as materialized (
select id, user_id, type, invocation_id, data, attempts, created_at, era, xid,
       (cast(:types as text[]) is null or type = any(cast(:types as text[])))
       and created_at >= coalesce(cast(:since as timestamptz), '-infinity') as wanted
  from events
 where user_id = :user_id and created_at > now() - interval '{RETENTION_DAYS} days' and {_SETTLED}
   and (era, xid, id) > (cast(:era as integer), cast(cast(:xid as text) as xid8), cast(:id as uuid))
   and id >= cast(:floor as uuid)
 order by era, events.xid, id limit :most),
counted as (
select l.*, count(*) filter (where wanted) over o as nth, row_number() over o as n, count(*) over () as looked
  from looked l window o as (order by era, l.xid, id)),
page as materialized (select * from counted where (wanted and nth <= :limit) or n = looked)
select p.id, p.user_id, p.type, p.invocation_id, p.data, p.attempts, p.created_at, p.era, p.xid::text as xid,
       p.wanted, p.looked,
       sum(case when p.wanted then coalesce(octet_length(p.data::text), 0)
                                   + coalesce(i.input_bytes, octet_length(i.input::text), 0)
                                   + coalesce(i.output_bytes, octet_length(i.output::text), 0) else 0 end)
         over (order by p.era, p.xid, p.id) as bytes
  from page p left join invocations i on i.id = p.invocation_id and p.wanted
 order by p.era, p.xid, p.id
""",
    FeedRow,
)

START: Final[Position] = (0, 0, UUID(int=0))


def feed(
    user_id: UUID,
    window: Window,
    *,
    payloads: bool = True,
    since: datetime | None = None,
    types: Sequence[str] = (),
) -> Page[OutboxEvent]:
    """The account's events of the last 30 days, oldest first, each once. `next` stays valid and can be polled.

    `since` (inclusive) and `types` leave others out; `next` is then after those too. A page that has looked through
    `LOOKED_THROUGH` events ends, with `has_more`. With `payloads`, it ends before the inputs and outputs of its
    invocations exceed `MAX_PAYLOAD_BYTES`.
    """
    after = window.after or START
    filtered = bool(types) or since is not None
    most = max(LOOKED_THROUGH, window.limit + 1) if filtered else window.limit + 1
    floor = UUID(int=0 if since is None else max(0, clock.uuid7_floor(since).int - _SKEW))
    filters = {"since": since, "types": list(types) or None, "floor": floor}
    place = {"user_id": user_id, "era": after[0], "xid": str(after[1]), "id": after[2]}
    rows = db.execute(_FEED, {**place, **filters, "most": most, "limit": window.limit + 1})
    found = [row for row in rows if row.wanted][: window.limit + 1]
    fitting = [row for row in found[1:] if not payloads or row.bytes <= MAX_PAYLOAD_BYTES]
    shown = [*found[:1], *fitting][: window.limit]
    if len(found) > len(shown):
        return Page(shown, window.limit, has_more=True, next=_position(shown[-1])).map(OutboxEvent.of)
    last = _position(rows[-1]) if rows else after
    return Page(shown, window.limit, has_more=bool(rows) and rows[-1].looked == most, next=last).map(OutboxEvent.of)


def _position(row: FeedRow) -> Position:
    return row.era, int(row.xid), row.id


# -- waiting -------------------------------------------------------------------------------------------------------


class NewsRow(NamedTuple):
    """Which of the places asked about has an event after it."""

    n: int


_NEWS: Final = Query(
    f"""
select w.n from unnest(cast(:users as uuid[]), cast(:eras as integer[]), cast(:xids as text[]), cast(:ids as uuid[]))
       with ordinality as w(user_id, era, xid, id, n)
 where exists (
  select 1 from events
   where user_id = w.user_id and {_SETTLED} and (events.era, events.xid, events.id) > (w.era, w.xid::xid8, w.id))
""",
    NewsRow,
)


def with_news(places: Sequence[tuple[UUID, Position]]) -> list[int]:
    """The indexes of the places (an account, a position in its feed) after which there are events: one statement."""
    positions = [position for _, position in places]
    asked = {
        "users": [user_id for user_id, _ in places],
        "eras": [era for era, _, _ in positions],
        "xids": [str(xid) for _, xid, _ in positions],
        "ids": [event_id for _, _, event_id in positions],
    }
    return [row.n - 1 for row in db.execute(_NEWS, asked)]


class LastEvent(NamedTuple):
    """The end of a feed."""

    era: int
    xid: str
    id: UUID


_LAST: Final = Query(
    f"""
select era, xid::text as xid, id from events where user_id = :user_id and {_SETTLED}
 order by era desc, events.xid desc, id desc limit 1
""",
    LastEvent,
)


def feed_end(user_id: UUID) -> Position:
    """Where the account's feed ends now, as `next` of a page."""
    rows = db.execute(_LAST, {"user_id": user_id})
    return (rows[0].era, int(rows[0].xid), rows[0].id) if rows else START


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

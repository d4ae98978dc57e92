"""Turns at endpoints with a limit per second: one for each delivery, whichever process makes it.

The row says when the next delivery may begin, by the clock of the database. A process that gets no turn parks the
delivery and treats its lane as full until then; the rows wait in the queue as they do for a slow receiver.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from sqlalchemy import text

from common.kit import db
from common.kit.query import Query
from common.webhooks.model import Claim


class TurnRow(NamedTuple):
    """Seconds until the turn (0: it is taken), and between two turns."""

    wait: float
    interval: float


#: A statement that waited for another one's lock sees its turn; one that lost to it answers by what was there before.
_TAKE: Final = Query(
    """
with turn as (
  update webhook_endpoints w
     set next_send_at = clock_timestamp() + make_interval(secs => 1.0 / w.rate_limit_per_second)
    from deliveries d
   where d.id = :id and w.id = d.endpoint_id and w.rate_limit_per_second is not null
     and coalesce(w.next_send_at, '-infinity') <= clock_timestamp()
  returning 1.0 / w.rate_limit_per_second as interval)
select 0.0::float as wait, turn.interval::float as interval from turn
 union all
select greatest(extract(epoch from w.next_send_at - clock_timestamp()), 0.25 / w.rate_limit_per_second)::float,
       (1.0 / w.rate_limit_per_second)::float
  from deliveries d join webhook_endpoints w on w.id = d.endpoint_id
 where d.id = :id and w.rate_limit_per_second is not null and not exists (select 1 from turn)
""",
    TurnRow,
)
NO_LIMIT: Final = TurnRow(0.0, 0.0)

_UNPARK_ONE: Final = text("""
with p as (
  select id from deliveries where parked and lane = :lane order by due_at limit 1 for update skip locked)
update deliveries d set parked = false from p where d.id = p.id
""")


def take_turn(claim: Claim) -> TurnRow:
    """Take the turn of this delivery at its endpoint, or learn when to ask again."""
    rows = db.execute(_TAKE, {"id": claim.id}) if claim.paced else []
    return rows[0] if rows else NO_LIMIT


def unpark_one(lane: int) -> int:
    """Unpark the oldest row of this lane. Returns their number."""
    return db.rowcount(_UNPARK_ONE, {"lane": lane})

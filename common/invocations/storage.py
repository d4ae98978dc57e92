"""How much input and output an account has stored, held against its plan.

Summed up for everybody now and then (`measure`), and for one account from there on when it submits; a process remembers
it for a while, the shorter the less room is left, and adds what it takes in itself. So a quota may be exceeded by what
other processes take in meanwhile, and outputs of older invocations are seen by the next sum only. After many submits
since the last sum, as after an upgrade, it is caught up with in steps. What was stored before sizes were noted counts
nothing.

Summing up reads all invocations that may have anything stored, once an hour: with a retention period those of that
period, otherwise all. Sums that are only added to would have to know which of the payloads that are dropped they had
counted, and would still have to be compared with the rows; a sample would refuse who has room.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from common.errors import StorageExhausted
from common.kit import clock, db, jsonb, memory
from common.kit.cache import Cache
from common.kit.query import Query

#: Seconds that a process goes on with what it knows: with room for as much again, and with less.
LONG: Final = 60.0
SHORT: Final = 5.0
REMEMBER_MOST: Final = 10_000


class StoredBytes(NamedTuple):
    """The size of an account's inputs and outputs; `all`: whether nothing newer is left to be added."""

    bytes: Decimal
    all: bool


#: What is new is added up at most so many rows at a time (each may be a page to be read from disk), and once: the sum
#: is kept when it has got on by `KEEP`. The youngest rows are added up again, because a transaction that is still open
#: may have an older id.
READ: Final = 2_000
KEEP: Final = 500
_STORED: Final = Query(
    f"""
with s as materialized (
  select coalesce(max(bytes), 0) as bytes, coalesce(max(measured_at), 'epoch') as measured_at
    from stored_payloads where user_id = :user_id),
new as materialized (
  select i.id, coalesce(i.input_bytes, 0) + coalesce(i.output_bytes, 0) as bytes from invocations i
   where i.user_id = :user_id and i.id >= (select uuid7_floor(measured_at) from s) order by i.id limit {READ}),
settled as (
  select sum(bytes) as bytes,
         to_timestamp((1 + max(('x' || left(replace(id::text, '-', ''), 12))::bit(48)::bigint)) / 1000.0) as at
    from new where id < uuid7_floor(now() - interval '1 minute') having count(*) >= {KEEP}),
moved as (
  update stored_payloads p set bytes = p.bytes + settled.bytes, measured_at = settled.at from s, settled
   where p.user_id = (select user_id from stored_payloads where user_id = :user_id for update skip locked)
     and p.measured_at = s.measured_at),
made as (
  insert into stored_payloads (user_id, bytes, measured_at)
  select :user_id, settled.bytes, settled.at from s, settled where s.measured_at = 'epoch'
  on conflict do nothing)
select s.bytes + coalesce((select sum(bytes) from new), 0) as bytes, (select count(*) from new) < {READ} as "all" from s
""",  # noqa: S608  (constants)
    StoredBytes,
)
#: All payloads before it, in the order of ids, have been dropped (`retention.py`). Asked for first, so that the plan of
#: what follows can use it.
_DROPPED: Final = text("select coalesce(max(at), 'epoch') from watermarks where name = 'payloads'")
_MEASURE: Final = text("""
with m as materialized (
  select user_id, sum(coalesce(input_bytes, 0) + coalesce(output_bytes, 0)) as bytes from invocations
   where id >= uuid7_floor(:dropped) and id < uuid7_floor(now()) group by user_id),
gone as (
  update stored_payloads s set bytes = 0, measured_at = now()
   where s.bytes > 0 and not exists (select 1 from m where m.user_id = s.user_id))
insert into stored_payloads (user_id, bytes, measured_at) select user_id, bytes, now() from m
on conflict (user_id) do update set bytes = excluded.bytes, measured_at = excluded.measured_at
""")


class _Known(NamedTuple):
    good_until: float
    stored: int


_known = memory.Part(lambda: Cache[UUID, _Known](REMEMBER_MOST))


def refuse_if_full(user_id: UUID, most: int | None, value: object) -> None:
    """Before `value` is stored too. `most`: bytes; None: unlimited. Raises `StorageExhausted`."""
    if most is None:
        return
    known = _known().get(user_id) or _measured(user_id, most)
    full = known.stored >= most
    adds = 0 if full else len(jsonb.dumps(value))
    _known().put(user_id, _Known(known.good_until, known.stored + adds), known.good_until)
    if full:
        raise StorageExhausted(stored=known.stored, limit=most)


def _measured(user_id: UUID, most: int) -> _Known:
    (found,) = db.execute(_STORED, {"user_id": user_id})
    roomy = found.all and 2 * found.bytes < most
    return _Known(clock.monotonic() + (LONG if roomy else SHORT), int(found.bytes))


def measure() -> None:
    """For the beat: sum up everybody's anew."""
    with db.transaction() as session:
        db.without_timeout(session)
        dropped = session.execute(_DROPPED).scalar_one()
        session.execute(_MEASURE, {"dropped": dropped})

# ruff: noqa: S608  (the statements are put together from constants)
"""What API keys with an allowance have used and hold, computed from the rows: what a rebuild and a comparison go by.

A key is charged what its invocations and those of the keys delegated from it were charged in its current window, by the
moment at which they ended; it holds what all of theirs that are open hold. A key that was delegated from another knows
its ancestors as long as its row is there; usage keeps the last of them (`api_key_root_id`) for ever.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy.orm import Session

from common.kit import db
from common.kit.query import Query


class SpentRow(NamedTuple):
    """A key with an allowance, its current window, and what it was charged there. `start`: Unix time; 0: total."""

    id: UUID
    tokens: int
    kind: str
    start: int
    charged: Decimal


class CountedHold(NamedTuple):
    """An open invocation that counts against the allowances of `api_keys`."""

    id: UUID
    held: int
    api_keys: list[UUID]


class HeldByKey(NamedTuple):
    """What a key holds."""

    id: UUID
    held: Decimal


#: Usage up to the watermark is summed up, by months and by days; the rest is in single rows. Months whose rows were
#: dropped count in any case: also when the watermark is another cluster's, and all other sums are to be made anew.
#: (The account's own rows first, and none if it has no such keys: then they are few for the joins.)
_USED: Final = """
r as materialized (
  select u.api_key_id, u.api_key_root_id, u.grain, u.starts_at as at, u.tokens_used from usage_rollups u
   where u.user_id = :user_id and exists (select from k)
     and (u.grain = 'month' and ((select xid from mark) is not null or u.starts_at < (select retired from mark))
          or u.grain = 'day' and u.starts_at = date_trunc('day', now(), 'UTC') and (select xid from mark) is not null)),
t as materialized (
  select u.api_key_id, u.api_key_root_id, 'tail' as grain, u.created_at as at, u.tokens_used from usage_logs u
   where u.user_id = :user_id and exists (select from k)
     and u.xid > coalesce((select xid from mark), '0'::xid8) and u.tokens_used > 0 and u.api_key_id is not null),
used as (select * from r union all select * from t)"""
#: In the window of the key: sums of the days or the months that it is made of.
_IN_WINDOW: Final = """u.at >= k.since and u.grain in ('tail', case k.kind when 'day' then 'day' else 'month' end)"""
#: A key's own usage and that of keys in between; and that of all that come from it in the end.
_WHOSE: Final = (
    "join m on m.api_key_id = u.api_key_id join k on k.id = m.key",
    "join k on k.id = u.api_key_root_id",
)
_PARTS = "\n  union all\n".join(
    f"  select k.id, u.tokens_used from used u {whose} where {_IN_WINDOW}" for whose in _WHOSE
)
#: (A delegated key lives for a day; what comes from it was made and ends in that time.)
_ALIVE = "revoked_at is null and (expires_at is null or expires_at > now())"


def _spent(which: str) -> Query[SpentRow]:
    return Query(
        f"""
with mark as materialized (
  select usage_mark() as xid, (select at from watermarks where name = 'usage_retired') as retired),
k as materialized (
  select id, allowance_tokens as tokens, allowance_window as kind,
         case allowance_window when 'total' then '-infinity'
                               else date_trunc(allowance_window, now(), 'UTC') end as since
    from api_keys
   where user_id = :user_id and allowance_tokens is not null and {which}),
m as materialized (
  select id as api_key_id, id as key from k
  union all
  select c.id, a.key from api_keys c cross join unnest(c.ancestors) a(key) join k on k.id = a.key
   where c.user_id = :user_id and c.is_delegated and a.key <> c.root_id
     and c.expires_at > now() - interval '25 hours'),{_USED},
spent as (
{_PARTS})
select k.id, k.tokens, k.kind,
       case k.kind when 'total' then 0 else extract(epoch from k.since)::bigint end as start,
       coalesce(s.charged, 0) as charged
  from k left join (select id, sum(tokens_used) as charged from spent group by id) s on s.id = k.id
""",
        SpentRow,
    )


_SPENT = _spent(_ALIVE)
_SPENT_BY = _spent("id = any(cast(:keys as uuid[]))")
_HOLDS = Query(
    """
select id, held, api_keys from queue where user_id = :user_id and api_keys is not null and id > :after
 order by id limit :limit
""",
    CountedHold,
)
_HELD_BY = Query(
    """
select a.key as id, sum(q.held) as held from queue q cross join unnest(q.api_keys) a(key)
 where q.user_id = :user_id and q.api_keys is not null and a.key = any(cast(:keys as uuid[])) group by 1
""",
    HeldByKey,
)


@dataclass(frozen=True, slots=True)
class Spending:
    """What a key with an allowance has used of it in its current window, and holds."""

    tokens: int
    kind: str
    start: int
    charged: int
    held: int = 0

    @property
    def available(self) -> int:
        """What a new hold may take."""
        return self.tokens - self.charged - self.held


def charged(session: Session, user_id: UUID) -> dict[UUID, Spending]:
    """What each living key of an account was charged in its current window; without holds."""
    return _spendings(db.fetch(session, _SPENT, {"user_id": user_id}), {})


def of_keys(session: Session, user_id: UUID, keys: Sequence[UUID]) -> dict[UUID, Spending]:
    """What these keys of an account have used and hold, as far as they have an allowance."""
    which = {"user_id": user_id, "keys": list(keys)}
    held = {row.id: int(row.held) for row in db.fetch(session, _HELD_BY, which)}
    return _spendings(db.fetch(session, _SPENT_BY, which), held)


def _spendings(rows: Sequence[SpentRow], held: Mapping[UUID, int]) -> dict[UUID, Spending]:
    return {
        row.id: Spending(row.tokens, row.kind, int(row.start), int(row.charged), held.get(row.id, 0)) for row in rows
    }


def holds(session: Session, user_id: UUID, at_once: int) -> Iterator[Sequence[CountedHold]]:
    """The open invocations of an account that count against allowances, whatever period they are in, in pieces.

    All of one moment if the session is a snapshot.
    """
    after = UUID(int=0)
    while True:
        piece = db.fetch(session, _HOLDS, {"user_id": user_id, "after": after, "limit": at_once})
        yield piece
        if len(piece) < at_once:
            return
        after = piece[-1].id


def now(user_id: UUID, keys: Sequence[UUID]) -> dict[UUID, Spending]:
    """As `of_keys`, at this moment."""
    if not keys:
        return {}
    with db.snapshot() as session:
        return of_keys(session, user_id, keys)

"""A period's invocations, one by one: what they cost or may still cost, by the time at which they were accepted."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy.orm import Session

from common.kit import db
from common.kit.query import Query

#: The account's invocations of a period, as `p join i`. Found by their ids, which begin with the time of their submit.
#: (The clocks of two hosts differ by less than a day.)
PERIOD: Final = """
  select id, user_id, uuid7_floor(least(starts_at, created_at) - interval '1 day') as first,
         uuid7_floor(greatest(ends_at, closed_at) + interval '1 day') as last
    from periods where id = :period"""
OF_PERIOD: Final = "i.user_id = p.user_id and i.id >= p.first and i.id < p.last and i.period_id = p.id"


class StretchRow(NamedTuple):
    """What was accepted from the `n`th moment on, before the next; `open_rows` of it may still become cheaper."""

    n: int
    tokens: int
    open_rows: int


_SPENT = Query(
    f"""
with p as ({PERIOD})
select width_bucket(i.created_at, cast(:moments as timestamptz[])) as n,
       cast(sum(coalesce(i.charged, i.held)) as bigint) as tokens,
       count(*) filter (where i.status = 'open') as open_rows
  from p join invocations i on {OF_PERIOD}
 group by 1
""",  # noqa: S608
    StretchRow,
)


def spent(session: Session, period_id: UUID, moments: Sequence[datetime]) -> list[StretchRow]:
    """What was spent in each stretch between these moments, which are in order (`n` 0: before the first)."""
    return list(db.fetch(session, _SPENT, {"period": period_id, "moments": list(moments)}))

"""Rows that wait for their API key, which has as many at once as it may: they are admitted when it has room again.

A slot that becomes free goes from a row of the key to the next one by itself (`fragments.SUCCESSOR`). The rest is done
here: for rows that become due later, and where a slot of the key went to another row of the account. Only the gate
knows how many the key has, so it is asked first, as for a slot. What is admitted gets a slot at once if the account has
one, and is due like any other row of the account if not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple
from uuid import UUID

from common import budgets
from common.errors import DependencyUnavailable
from common.invocations import placing
from common.invocations.placing import BATCH, BEHIND, WaitingRow
from common.kit import apart, db, log, memory
from common.kit.query import Query

logger = log.get(__name__)


class KeyWithRows(NamedTuple):
    """An API key for which rows wait in a period, whose gate counts them."""

    key_id: UUID
    period_id: UUID
    user_id: UUID
    max_concurrency: int | None
    plan_concurrency: int | None


#: Key by key (a loose scan, as for accounts in `placing`).
KEYS: Final = Query(
    """
with recursive k as (
  (select q.capped_key, q.period_id from queue q
    where q.key_due_at is not null and (q.capped_key, q.period_id) > (:after_key, :after_period)
    order by q.capped_key, q.period_id limit 1)
  union all
  select n.capped_key, n.period_id
    from k cross join lateral (
         select q.capped_key, q.period_id from queue q
          where q.key_due_at is not null and (q.capped_key, q.period_id) > (k.capped_key, k.period_id)
          order by q.capped_key, q.period_id limit 1) n),
few as (select * from k limit :limit)
select k.capped_key as key_id, k.period_id, p.user_id, a.max_concurrency, pl.max_concurrency as plan_concurrency
  from few k join periods p on p.id = k.period_id join plans pl on pl.id = p.plan_id
  left join api_keys a on a.id = k.capped_key
 order by k.capped_key, k.period_id
""",
    KeyWithRows,
)
ROWS: Final = Query(
    """
select q.id, q.moves from queue q
 where q.capped_key = :key_id and q.period_id = :period_id and q.key_due_at <= now() - make_interval(secs => :behind)
   and q.expires_at > now() and not q.tool_id = any(cast(:paused as uuid[]))
 order by q.priority desc, q.key_due_at limit :limit
""",
    WaitingRow,
)


class _KeyRound:
    """Where this process's walk over the keys goes on."""

    after = UUID(int=0), UUID(int=0)


_round = memory.Part(_KeyRound)


def admit_waiting(paused: Sequence[UUID]) -> int:
    """Admit due rows of the keys that have room (a completion that found no successor may have missed them)."""
    after_key, after_period = _round().after
    keys = db.execute(KEYS, {"after_key": after_key, "after_period": after_period, "limit": BATCH})
    _round().after = (keys[-1].key_id, keys[-1].period_id) if len(keys) == BATCH else _KeyRound.after
    in_time = apart.InTime("admit", keys)
    admitted = apart.total("admit", in_time, lambda key: _admit_all(key, paused), lambda key: key.key_id)
    if (last := in_time.last) is not None:
        _round().after = last.key_id, last.period_id
    return admitted


def _admit_all(key: KeyWithRows, paused: Sequence[UUID]) -> int:
    shares = () if key.max_concurrency is None else (budgets.capped_share(key.key_id, key.max_concurrency),)
    account = budgets.Account(key.user_id, key.period_id, key.plan_concurrency, None, shares)
    where = {"key_id": key.key_id, "period_id": key.period_id, "behind": BEHIND, "paused": list(paused), "limit": BATCH}
    admitted = 0
    try:
        for row in db.execute(ROWS, where):
            if not placing.place(account, row, for_key=True):
                break
            admitted += 1
    except DependencyUnavailable:
        logger.warning("rows of an API key not admitted", period_id=str(key.period_id))
    return admitted

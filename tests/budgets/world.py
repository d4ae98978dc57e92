"""What a model of the budget and the queue does to the real ones, and what it believes of them afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from common import budgets
from common.kit import db
from common.kit import redis as redis_kit
from tests.plain import plain
from tests.timing import Hurried, using

Word = Callable[[], object]


@dataclass(slots=True)
class Open:
    """An open invocation, as the model believes it."""

    account: int
    held: int
    max_attempts: int
    token: UUID | None = None
    worker: UUID | None = None
    attempts: int = 0
    crash_count: int = 0
    sent: bool = False
    canceled: bool = False


@dataclass(frozen=True, slots=True)
class Ended:
    """An ended one."""

    status: str
    charged: int
    attempts: int


@dataclass(slots=True)
class Post:
    """The way of words from workers to the gate: at once, later in any order, or never (the worker died)."""

    how: str = "at once"
    late: list[Word] = field(default_factory=list)

    @contextmanager
    def sending(self, how: str) -> Iterator[None]:
        self.how = how
        yield
        self.how = "at once"

    def carrier(
        self, function: Callable[..., Any], unheard: Callable[..., Any] = lambda *_: None
    ) -> Callable[..., Any]:
        """`unheard`: what the sender is told as long as nobody has heard."""

        def carry(*args: Any, **kwargs: Any) -> Any:
            if self.how == "at once":
                return function(*args, **kwargs)
            if self.how == "late":
                self.late.append(lambda: function(*args, **kwargs))
            return unheard(*args)

        return carry


@contextmanager
def post() -> Iterator[Post]:
    """Inside the block, what workers tell the gate goes through this post."""
    office = Post()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(budgets, "settle", office.carrier(budgets.settle, lambda each: [None] * len(each)))
        patch.setattr(budgets, "moved", office.carrier(budgets.moved))
        with using(Hurried()):
            yield office


# -- what the rows say -------------------------------------------------------------------------------------------

_OPEN = text("select id, token, held, attempts, slot from queue")
_ENDED = text("select id, status, charged, attempts from invocations where status <> 'open'")
#: Placed and at work, for each period.
_BUSY = text("""
select period_id, count(slot) as placed, count(token) as running from queue group by period_id
""")
#: Placed, or admitted by the key, and how many it may have; for each period.
_BUSY_KEYS = text("""
select count(*) as placed, k.max_concurrency as most from queue q join api_keys k on k.id = q.capped_key
 where q.key_due_at is null group by q.period_id, k.id
""")
_OVERDRAWN = text("""
select p.id, (select coalesce(sum(tokens), 0) from grants g where g.period_id = p.id) as granted,
       (select coalesce(sum(tokens_used), 0) from usage_logs u where u.period_id = p.id) as charged,
       (select coalesce(sum(held), 0) from queue q where q.period_id = p.id) as held
  from periods p
""")


@dataclass(frozen=True, slots=True)
class Books:
    """One period, by plain sums over the rows."""

    granted: int
    charged: int
    held: int

    @property
    def available(self) -> int:
        return self.granted - self.charged - self.held


def open_rows() -> dict[UUID, tuple[UUID | None, int, int]]:
    return {row.id: (row.token, row.held, row.attempts) for row in plain(_OPEN, {})}


def ended_rows() -> dict[UUID, Ended]:
    return {row.id: Ended(row.status, row.charged, row.attempts) for row in plain(_ENDED, {})}


def books() -> dict[UUID, Books]:
    return {row.id: Books(int(row.granted), int(row.charged), int(row.held)) for row in plain(_OVERDRAWN, {})}


def busy() -> dict[UUID, tuple[int, int]]:
    return {row.period_id: (row.placed, row.running) for row in plain(_BUSY, {})}


def busy_keys() -> list[tuple[int, int]]:
    return [(row.placed, row.most) for row in plain(_BUSY_KEYS, {})]


def shift(column: str, ids: list[UUID], seconds: float) -> None:
    """Move a moment of these queue rows: backwards if `seconds` is negative."""
    query = text(f"update queue set {column} = {column} + make_interval(secs => :by) where id = any(:ids)")
    db.rowcount(query, {"by": seconds, "ids": ids})


# -- what keys have used -------------------------------------------------------------------------------------------

_KEYS = text("""
select k.id, k.allowance_tokens as granted,
       (select coalesce(sum(u.tokens_used), 0) from usage_logs u
         where (u.api_key_id = k.id or u.api_key_root_id = k.id)
           and (k.allowance_window = 'total'
                or date_trunc('day', u.created_at, 'UTC') = date_trunc('day', now(), 'UTC'))) as charged,
       (select coalesce(sum(q.held), 0) from queue q join invocations i on i.id = q.id
         where i.api_key_id = k.id or i.api_key_root_id = k.id) as held
  from api_keys k where k.allowance_tokens is not null
""")
_YESTERDAY = text("update usage_logs set created_at = created_at - interval '1 day'")


def keys() -> dict[UUID, Books]:
    """What each key has used of its allowance, with those that come from it, by plain sums over the rows."""
    return {row.id: Books(int(row.granted), int(row.charged), int(row.held)) for row in plain(_KEYS, {})}


def a_day_passes() -> None:
    """What was used until now was used a day earlier, by the rows (which are not rolled up) and by what Redis has."""
    with db.transaction() as session:
        session.execute(text("set local joyfull.usage_maintenance = 'on'"))
        session.execute(_YESTERDAY)
    client = redis_kit.client()
    for hash_ in client.scan_iter(match="allowances:*"):
        for name, value in redis_kit.mapping(client.hgetall(hash_)).items():
            kind, _, rest = value.partition(",")
            start, _, rest = rest.partition(",")
            if name.startswith("k:") and kind == "day":
                client.hset(hash_, name, f"{kind},{int(start) - 86_400},{rest}")


# -- an old dump -------------------------------------------------------------------------------------------------


def dumped() -> dict[str, dict[str, str]]:
    """All gates and what goes with them, as a dump would keep them."""
    client = redis_kit.client()
    keys = [key for match in ("budget:*", "allowances:*") for key in client.scan_iter(match=match)]
    return {key: redis_kit.mapping(client.hgetall(key)) for key in keys}


def restored(dump: dict[str, dict[str, str]]) -> None:
    """As if Redis had been started again from that dump: everything else is gone, and it is another run."""
    client = redis_kit.client()
    client.flushall()
    for key, fields in dump.items():
        client.hset(key, mapping=dict[Any, Any](fields | ({"run": "f" * 40} if "run" in fields else {})))

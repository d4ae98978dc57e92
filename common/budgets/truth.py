"""The ledger of one period, computed from the rows: what the gate is built from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from common.budgets.model import ADMITTED, Balance
from common.kit import db
from common.kit.query import Query
from common.models.subscriptions import UNLIMITED_TOKENS

#: Which run of PostgreSQL answers: one that lacks what another has committed (a promoted replica, a restored copy) has
#: begun at another moment.
SERVER = "cast(extract(epoch from pg_postmaster_start_time()) * 1000000 as bigint)"
_SERVER = text(f"select {SERVER}")


class BalanceRow(NamedTuple):
    """What a period is charged and granted, and what is held of it."""

    charged: Decimal
    granted: Decimal
    by_plans: Decimal
    held: Decimal


class HeldInvocation(NamedTuple):
    """An open invocation as a gate holds it; `slot` 0: waiting; `ADMITTED`: counted by its API key, and waiting.

    `capped_key`: that API key, if it has a `max_concurrency`.
    """

    id: UUID
    held: int
    slot: int
    moves: int
    capped_key: UUID | None


class RaisedEpoch(NamedTuple):
    """The epoch of a period after it was raised. `open`: no other period has taken over."""

    epoch: int
    user_id: UUID
    open: bool


_BALANCE = Query(
    """
select period_charged(p.id, p.user_id) as charged,
       g.granted, g.by_plans, (select coalesce(sum(q.held), 0) from queue q where q.period_id = p.id) as held
  from periods p cross join lateral (
       select coalesce(sum(tokens), 0) as granted,
              coalesce(sum(tokens) filter (where kind in ('plan', 'upgrade')), 0) as by_plans
         from grants where period_id = p.id) g
 where p.id = :period
""",
    BalanceRow,
)
#: The slot of a row of the queue as the gate has it.
SLOT = f"""coalesce(slot, case when capped_key is not null and key_due_at is null then {ADMITTED} else 0 end)"""
_OPEN = Query(
    f"""
select id, held, {SLOT} as slot, moves, capped_key from queue where period_id = :period and id > :after
 order by id limit :limit
""",  # noqa: S608
    HeldInvocation,
)
_COUNT = text("select count(*) from queue where period_id = :period")
_BUMP = Query(
    """
update periods set epoch = greatest(epoch, :above) + 1 where id = :period
returning epoch, user_id, closed_at is null as open
""",
    RaisedEpoch,
)


class UnknownPeriod(Exception):
    """The database knows no such period."""


def balance(session: Session, period_id: UUID) -> Balance:
    """One period's balance, computed from the rows, with every completion a client has seen.

    Raises `UnknownPeriod`.
    """
    rows = db.fetch(session, _BALANCE, {"period": period_id})
    if not rows:
        raise UnknownPeriod
    row = rows[0]
    return Balance(int(row.granted), int(row.charged), int(row.held), row.by_plans >= UNLIMITED_TOKENS)


def server(session: Session) -> int:
    """Which run of PostgreSQL this session is with."""
    return int(session.execute(_SERVER).scalar_one())


def bump(session: Session, period_id: UUID, *, above: int = 0) -> int:
    """Raise the period's epoch inside your transaction: no hold taken before can commit a row after.

    Raises `UnknownPeriod`.
    """
    return raised(session, period_id, above=above).epoch


def raised(session: Session, period_id: UUID, *, above: int = 0) -> RaisedEpoch:
    """As `bump`, and what else a rebuild has to know."""
    rows = db.fetch(session, _BUMP, {"period": period_id, "above": above})
    if not rows:
        raise UnknownPeriod
    return rows[0]


def open_rows(session: Session, period_id: UUID, at_once: int) -> Iterator[Sequence[HeldInvocation]]:
    """The open rows of a period in pieces of at most `at_once`.

    At least one piece, which may be empty. All of one moment if the session is a snapshot.
    """
    after = UUID(int=0)
    while True:
        piece = db.fetch(session, _OPEN, {"period": period_id, "after": after, "limit": at_once})
        yield piece
        if len(piece) < at_once:
            return
        after = piece[-1].id


def open_count(session: Session, period_id: UUID) -> int:
    """How many open rows a period has."""
    return int(session.execute(_COUNT, {"period": period_id}).scalar_one())


def now(period_id: UUID) -> Balance:
    """One period's current balance."""
    with db.snapshot() as session:
        return balance(session, period_id)

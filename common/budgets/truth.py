"""What the rows say: the truth that the gate is made from."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from common.budgets.model import Balance
from common.kit import db

_BALANCE = text("""
select p.user_id, period_charged(p.id, p.user_id) as charged,
       (select coalesce(sum(g.tokens), 0) from grants g where g.period_id = p.id) as granted,
       (select coalesce(sum(q.held), 0) from queue q where q.period_id = p.id) as held
  from periods p where p.id = :period
""")
_BUMP = text("update periods set epoch = greatest(epoch, :above) + 1 where id = :period returning epoch")


def balance(session: Session, period_id: UUID) -> Balance:
    """One period's books, recomputed from rows; every end that anybody was shown is in it."""
    row = session.execute(_BALANCE, {"period": period_id}).one()
    return Balance(int(row.granted), int(row.charged), int(row.held))


def bump(session: Session, period_id: UUID, *, above: int = 0) -> int:
    """Raise the period's epoch inside your transaction: no hold taken before can commit a row after."""
    epoch: int = session.execute(_BUMP, {"period": period_id, "above": above}).scalar_one()
    return epoch


def available(period_id: UUID) -> int:
    """What is left in a period, from rows."""
    with db.snapshot() as session:
        return balance(session, period_id).available

"""What a period comes to, as a fragment of the statements that show one: `p` is the period.

    select p.id, {COLUMNS} from periods p {JOINS}

A statement whose rows have `overdue` reads what may not be booked yet; `renewed` reads it again once that is done.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Final, Protocol, TypeVar
from uuid import UUID

from common.budgets import Balance
from common.models.subscriptions import UNLIMITED_TOKENS
from common.subscriptions import renewal

#: `overdue`: the period has ended, or some of its tokens have expired, and that is not booked yet.
COLUMNS: Final = """
period_charged(p.id, p.user_id) as charged, g.granted, g.by_plans, q.held,
       p.closed_at is null and (p.ends_at <= now() or coalesce(r.next_at <= now(), false)) as overdue"""
JOINS: Final = """
  left join lateral (
       select coalesce(sum(tokens), 0) as granted,
              coalesce(sum(tokens) filter (where kind in ('plan', 'upgrade')), 0) as by_plans
         from grants where period_id = p.id) g on p.id is not null
  left join lateral (select coalesce(sum(held), 0) as held from queue where period_id = p.id) q on p.id is not null
  left join remainders r on r.period_id = p.id"""


class Sums(Protocol):
    """A row with `COLUMNS`; None, where there is no period."""

    @property
    def charged(self) -> Decimal | None:
        """Tokens of what has ended."""

    @property
    def granted(self) -> Decimal | None:
        """Tokens of all grants."""

    @property
    def by_plans(self) -> Decimal | None:
        """Tokens of grants by plans."""

    @property
    def held(self) -> Decimal | None:
        """Tokens of what is open."""


class MayBeOverdue(Protocol):
    """A row that says whether something is to be booked first."""

    @property
    def overdue(self) -> bool | None:
        """Whether it is."""


R = TypeVar("R", bound=MayBeOverdue)


def balance(row: Sums) -> Balance:
    """The balance of the period."""
    unlimited = (row.by_plans or 0) >= UNLIMITED_TOKENS
    return Balance(int(row.granted or 0), int(row.charged or 0), int(row.held or 0), unlimited)


def renewed(user_id: UUID, read: Callable[[], Sequence[R]]) -> Sequence[R]:
    """What `read` returns of the account, once everything is booked that is overdue in it."""
    rows = read()
    if any(row.overdue for row in rows):
        renewal.renew(user_id)
        rows = read()
    return rows

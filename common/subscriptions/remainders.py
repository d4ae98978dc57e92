"""What is left of a period's grants: it expires with its grant, or is granted again when the period has ended.

All functions join your transaction, and need the account's lock (`periods.lock`). What is left is computed from the
facts: grants, and every invocation with what it was charged or may still cost. So whoever computes it, however often,
books only the difference to what is booked already. docs/decisions/expiring-grants.md has the reasons.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from common import budgets
from common.models.base import MAX_TOKENS
from common.models.subscriptions import UNLIMITED_TOKENS, Grant, Period, Plan, Remainder
from common.subscriptions import booking, facts, spending
from common.subscriptions.spending import Lot, Spent

BY_PLANS: Final = ("plan", "upgrade")


class Share(NamedTuple):
    """What the next period is to be granted of what is left of this one: in all, however much it has got already."""

    kind: str
    tokens: int
    reason: str
    expires_at: datetime | None
    source_id: UUID


class Expiring(NamedTuple):
    """A grant that expires."""

    id: UUID
    expires_at: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Left:
    """What is left of a period's grants, at one moment, with open holds as spent.

    `rests`: of each grant that expires, less what is booked as expired; `lasting`: of all others; `open_rows`: how
    many invocations are open, by when they were accepted (about).
    """

    expiring: Sequence[Expiring]
    rests: Mapping[UUID, int]
    lasting: int
    available: int
    unlimited: bool
    open_rows: Sequence[tuple[datetime, int]]

    def opened_before(self, moment: datetime) -> int:
        """How many of the open invocations were accepted before that moment."""
        return sum(rows for at, rows in self.open_rows if at < moment)


# -- what is left --------------------------------------------------------------------------------------------------


def left(session: Session, period: Period) -> Left:
    """What is left of a period's grants. Reads its invocations one by one if any of them expires."""
    grants = session.scalars(select(Grant).where(Grant.period_id == period.id).order_by(Grant.id)).all()
    unlimited = sum(grant.tokens for grant in grants if grant.kind in BY_PLANS) >= UNLIMITED_TOKENS
    if any(grant.expires_at for grant in grants):
        return _by_facts(session, period, grants, unlimited=unlimited)
    opened = [
        (period.created_at, budgets.open_count(session, period.id))
    ]  # first: what ends in between is looked at again
    available = budgets.balance(session, period.id).available
    return Left((), {}, available, available, unlimited, opened)


def _by_facts(session: Session, period: Period, grants: Sequence[Grant], *, unlimited: bool) -> Left:
    lots = [Lot(each.id, each.tokens, each.created_at, each.expires_at) for each in grants if each.tokens > 0]
    debits = [Spent(each.created_at, -each.tokens) for each in grants if each.kind == "admin" and each.tokens < 0]
    moments = spending.moments(lots, (debit.at for debit in debits))
    rows = [(moments[max(row.n - 1, 0)], row) for row in facts.spent(session, period.id, moments)]
    spent = [Spent(at, row.tokens) for at, row in rows]
    rests = spending.rests(lots, [*spent, *debits], period.ends_at)
    expired = Counter[UUID]()
    for each in grants:
        if each.kind == "expiry" and each.source_id is not None:
            expired[each.source_id] -= each.tokens
    expiring = [Expiring(each.id, each.expires_at, each.reason) for each in grants if each.expires_at is not None]
    return Left(
        expiring=expiring,
        rests={each.id: rests[each.id] - expired[each.id] for each in expiring},
        lasting=sum(rests[lot.id] for lot in lots if lot.until is None),
        available=sum(each.tokens for each in grants) - sum(each.tokens for each in spent),
        unlimited=unlimited,
        open_rows=[(at, row.open_rows) for at, row in rows],
    )


# -- expiries ------------------------------------------------------------------------------------------------------


def expire(session: Session, period: Period, now: datetime) -> bool:
    """Take off what has expired since somebody last looked. If it returns true: `budgets.tell` after the commit."""
    remainder = session.get(Remainder, period.id)
    if remainder is None or remainder.next_at is None or remainder.next_at > now:
        return False
    budgets.bump(session, period.id)  # holds being made now can no longer become rows
    _settle(session, period, remainder, now)
    return True


def _settle(session: Session, period: Period, remainder: Remainder, now: datetime) -> Left:
    """Book expiries up to now or the period's end, and note what is to be looked at again."""
    found = left(session, period)
    until = min(now, period.ends_at)
    over = sorted((each for each in found.expiring if each.expires_at <= until), key=lambda each: each.expires_at)
    open_before = max((grant.expires_at for grant in over), default=now)
    taken, missing = _take_off(session, period, found, over)
    if missing or period.closed_at is not None:
        open_before = now
    coming = [grant.expires_at for grant in found.expiring if grant.expires_at > until]
    remainder.next_at = None if period.closed_at is not None else min(coming, default=None)
    remainder.open_before = open_before
    remainder.open_rows = found.opened_before(open_before) if over or period.closed_at is not None else 0
    return replace(found, available=found.available - taken)


def _take_off(session: Session, period: Period, found: Left, over: Sequence[Expiring]) -> tuple[int, int]:
    """Book what is left of grants that are over, in order. Returns how much, and how much is not there any more.

    What was given back by a hold from before the expiry may have been spent before anybody looked. What is left of
    grants that are not over is never touched.
    """
    gone = {grant.id for grant in over}
    room = found.available - found.lasting - sum(rest for id_, rest in found.rests.items() if id_ not in gone)
    taken = missing = 0
    for grant in over:
        owed = found.rests[grant.id]
        tokens = max(0, min(owed, room))
        if tokens:
            booking.add_grant(session, period, "expiry", -tokens, reason="Expired", source_id=grant.id)
        room, taken, missing = room - tokens, taken + tokens, missing + owed - tokens
    return taken, missing


# -- at the end of a period ----------------------------------------------------------------------------------------


def close(session: Session, period: Period, now: datetime) -> list[Share]:
    """Once a period is closed: what its successor is to be granted of what is left of it."""
    percent = session.get_one(Plan, period.plan_id).rollover_percent
    remainder = session.get(Remainder, period.id)
    if remainder is None and not percent:
        return []
    if remainder is not None:
        budgets.bump(session, period.id)  # its gate is outdated, if something expires
    remainder = booking.remainder_of(session, period)
    remainder.rollover_percent = percent
    return _shares(period, percent, _settle(session, period, remainder, now))


def _shares(period: Period, percent: int, found: Left) -> list[Share]:
    shares, available = [], found.available
    for grant in found.expiring:
        if grant.expires_at > period.ends_at:
            tokens = min(found.rests[grant.id], available)
            shares.append(Share("carried", tokens, grant.reason, grant.expires_at, grant.id))
            available -= tokens
    rolled = 0 if found.unlimited else min(found.lasting, available) * percent // 100
    return [*shares, Share("rollover", rolled, f"{percent} % of what was left", None, period.id)]


def hand_on(session: Session, period: Period, shares: Sequence[Share], now: datetime, *, late: bool = False) -> bool:
    """Grant these shares in a later period, less what was granted of them before. Returns whether anything was.

    `late`: what expires by now is left out; otherwise it is granted, and expires in its period.
    """
    plan, granted = session.get_one(Plan, period.plan_id), False
    before = _handed_on(session, period.user_id, shares) if late else {}
    for share in shares:
        over = late and share.expires_at is not None and share.expires_at <= now
        if over or (share.kind == "rollover" and plan.monthly_tokens is None):
            continue
        total = session.scalar(select(func.sum(Grant.tokens)).where(Grant.period_id == period.id))
        tokens = min(share.tokens - before.get((share.kind, share.source_id), 0), MAX_TOKENS - int(total or 0))
        if tokens > 0:
            _grant(session, period, share, tokens)
            granted = True
    return granted


def _grant(session: Session, period: Period, share: Share, tokens: int) -> None:
    booking.add_grant(
        session,
        period,
        share.kind,
        tokens,
        reason=share.reason,
        expires_at=share.expires_at,
        source_id=share.source_id,
    )


def _handed_on(session: Session, user_id: UUID, shares: Sequence[Share]) -> dict[tuple[str, UUID | None], int]:
    sources = [share.source_id for share in shares]
    query = select(Grant.kind, Grant.source_id, func.sum(Grant.tokens)).where(Grant.user_id == user_id)
    found = session.execute(query.where(Grant.source_id.in_(sources)).group_by(Grant.kind, Grant.source_id))
    return {(kind, source): int(tokens) for kind, source, tokens in found}


def again(session: Session, period: Period, current: Period | None, now: datetime) -> list[Period]:
    """Book what invocations have given back since: it expires, or is granted in the current period.

    Returns the periods that changed: call `budgets.tell` for them after the commit. Without a current period of the
    same subscription, what comes back is not granted again.
    """
    remainder = session.get(Remainder, period.id)
    if remainder is None or not remainder.open_rows:
        return []
    budgets.bump(session, period.id)
    found = _settle(session, period, remainder, now)
    if period.closed_at is None or current is None or current.subscription_id != period.subscription_id:
        return [period]
    shares = _shares(period, remainder.rollover_percent, found)
    return [period, current] if hand_on(session, current, shares, now, late=True) else [period]

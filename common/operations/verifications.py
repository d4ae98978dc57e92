"""Verify the whole ledger every night, and keep the results.

A verification reads every row, so no page and no request starts one.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Final, NamedTuple

from sqlalchemy import select

from common.kit import clock, db, log
from common.kit.clock import uuid7
from common.kit.paging import Page, Window
from common.kit.query import Query
from common.models.ledger import LedgerVerification
from common.operations import ledger

logger = log.get(__name__)

LOCK: Final = 0x4A4F594C  # "JOYL": the process that verifies
#: How many differences are kept with the result.
EXAMPLES: Final = 20


class Due(NamedTuple):
    """Whether a verification is due."""

    due: bool


#: At night (UTC), once; or at any time, when there has been none for more than a day.
_DUE = Query(
    """
select coalesce(max(started_at) < now() - case when extract(hour from now()) between 1 and 4
                                               then interval '20 hours' else interval '28 hours' end, true) as due
  from ledger_verifications
""",
    Due,
)


def verify_if_due() -> LedgerVerification | None:
    """Verify the ledger and keep the result; None: it is not due, or another process is verifying it.

    Raises:
        db.Unreachable, redis.RedisUnreachable: a server could not be read. Nothing is kept; it stays due.
    """
    with db.advisory_lock(LOCK) as acquired:
        return _verify() if acquired and db.execute(_DUE, {})[0].due else None


def _verify() -> LedgerVerification:
    started = clock.now()
    report = ledger.verify()
    for difference in report.differences[:EXAMPLES]:
        logger.error("ledger difference", **asdict(difference))
    kept = LedgerVerification(
        id=uuid7(),
        started_at=started,
        finished_at=max(started, clock.now()),
        invocations=report.invocations,
        periods=report.periods,
        gates=report.gates,
        differences=len(report.differences),
        examples=[asdict(difference) for difference in report.differences[:EXAMPLES]],
    )
    with db.transaction() as session:
        session.add(kept)
    return kept


def last() -> LedgerVerification | None:
    """The latest verification."""
    return next(iter(listing(Window(1)).items), None)


def listing(window: Window) -> Page[LedgerVerification]:
    """All verifications, newest first."""
    query = select(LedgerVerification)
    if window.after:
        query = query.where(LedgerVerification.id < window.after[0])
    query = query.order_by(LedgerVerification.id.desc()).limit(window.limit + 1)
    with db.snapshot() as session:
        return Page.cut(session.scalars(query).all(), window, lambda row: (row.id,))

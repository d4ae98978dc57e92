"""The check of a statement: the same from the single facts, the grants and the invocations themselves."""

from __future__ import annotations

from datetime import timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import text

from common import budgets
from common.errors import RateLimited
from common.identity import rate_limits
from common.kit import db, log
from common.subscriptions import facts, renewal
from common.subscriptions.statement import LedgerCheck, period_of

CHECKS: Final = rate_limits.AttemptLimit("statement-check", 1, timedelta(minutes=1), RateLimited)

_log = log.get(__name__)

_FACTS = text(f"""
with p as ({facts.PERIOD}),
i as (
  select count(*) as number, coalesce(sum(coalesce(i.charged, i.held)), 0) as tokens
    from p join invocations i on {facts.OF_PERIOD}),
g as (select count(*) as number, coalesce(sum(g.tokens), 0) as tokens from p join grants g on g.period_id = p.id)
select now() as at, cast(i.number + g.number as bigint) as rows, cast(g.tokens - i.tokens as bigint) as available
  from i, g
""")  # noqa: S608
_RECORD = text("""
insert into statement_checks (period_id, at, rows, difference) values (:period, :at, :rows, :difference)
on conflict (period_id) do update set at = excluded.at, rows = excluded.rows, difference = excluded.difference
 where statement_checks.at <= excluded.at
""")


def check(user_id: UUID, period_id: UUID | None = None) -> LedgerCheck:
    """Recompute a statement from the account's grants and invocations, and record the difference.

    Raises:
        NotFound: the account has no such period.
        RateLimited: the account has had a check within the last minute.
    """
    renewal.renew_if_due(user_id)
    with db.snapshot() as session:
        period = period_of(session, user_id, period_id)
    rate_limits.attempt(rate_limits.per(CHECKS, user_id))
    with db.snapshot() as session:
        plain = session.execute(_FACTS, {"period": period.id}).one()
        difference = budgets.balance(session, period.id).available - plain.available
    found = LedgerCheck(plain.at, plain.rows, difference)
    if difference:
        _log.error("statement differs from the rows", period_id=str(period.id), difference=difference)
    with db.transaction() as session:
        session.execute(_RECORD, {"period": period.id, **found._asdict()})
    return found

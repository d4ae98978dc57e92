"""Under which terms an account may submit right now: asked before every submit, so one query and a short memory."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import text

from common.errors import SubscriptionRequired
from common.kit import clock, db
from common.subscriptions import plans, renewal

#: How long a process may go on with an account's limits without asking. Access and the period itself are never taken
#: from memory: the statement that commits an invocation checks them.
REMEMBER_SECONDS = 1.0
REMEMBER_MOST = 10_000


@dataclass(frozen=True, slots=True)
class PeriodTerms:
    """What a submit works under: the account's running period and its plan's limits (None: unlimited)."""

    period_id: UUID
    user_id: UUID
    epoch: int
    plan: str
    max_concurrency: int | None
    rate_limit_per_minute: int | None
    monthly_tokens: int | None
    ends_at: datetime
    max_payload_bytes: int | None
    #: None: what the settings say.
    max_streams: int | None


_TERMS = text("""
select p.id, p.epoch, pl.slug, pl.max_concurrency, pl.rate_limit_per_minute, pl.monthly_tokens, p.ends_at,
       pl.max_streams, pl.max_payload_bytes,
       p.access_ended_at is null as accessible, p.ends_at > now() as running
  from periods p join plans pl on pl.id = p.plan_id
 where p.user_id = :user and p.closed_at is null
""")


class _Defaults:
    max_payload_bytes: int | None = None


def configure(max_payload_bytes: int | None) -> None:
    """What holds for plans that do not say how much may be stored (None: unlimited)."""
    _Defaults.max_payload_bytes = max_payload_bytes


_terms: dict[UUID, tuple[float, PeriodTerms]] = {}


def for_submit(user_id: UUID) -> PeriodTerms:
    """The running period and its limits; opens the next one when the last has run out.

    Remembered for a second; `forget_terms` when a submit found that they no longer hold.
    Raises `SubscriptionRequired`.
    """
    remembered = _terms.get(user_id)
    if remembered and clock.monotonic() - remembered[0] < REMEMBER_SECONDS:
        return remembered[1]
    asked_at, terms = clock.monotonic(), _look_up(user_id)
    if len(_terms) >= REMEMBER_MOST:
        _terms.clear()
    _terms[user_id] = (asked_at, terms)
    return terms


def limits(user_id: UUID) -> PeriodTerms | None:
    """As `for_submit`, for what is not only for subscribers: None without a subscription."""
    try:
        return for_submit(user_id)
    except SubscriptionRequired:
        return None


def _look_up(user_id: UUID) -> PeriodTerms:
    rows = db.execute(_TERMS, {"user": user_id})
    if rows and not rows[0].running:
        renewal.renew(user_id)
        rows = db.execute(_TERMS, {"user": user_id})
    if not rows or not rows[0].accessible or not rows[0].running:
        raise SubscriptionRequired
    period = rows[0]
    return PeriodTerms(
        period_id=period.id,
        user_id=user_id,
        epoch=period.epoch,
        plan=period.slug,
        max_concurrency=period.max_concurrency,
        rate_limit_per_minute=period.rate_limit_per_minute,
        monthly_tokens=period.monthly_tokens,
        ends_at=period.ends_at,
        max_streams=period.max_streams,
        max_payload_bytes=_Defaults.max_payload_bytes if period.max_payload_bytes is None else period.max_payload_bytes,
    )


def forget_terms(user_id: UUID) -> None:
    """What this process remembers of the account's terms does not hold any more."""
    _terms.pop(user_id, None)


def plans_that_allow(required: int, terms: PeriodTerms) -> list[str]:
    """Slugs of the plans that, subscribed to now, would have `required` tokens available."""
    with db.snapshot() as session:
        return plans.allowing(session, terms.user_id, terms.period_id, required)

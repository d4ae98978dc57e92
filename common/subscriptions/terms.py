"""The terms under which an account may submit: one query, cached briefly, as every submit needs them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from common.errors import SubscriptionRequired
from common.kit import clock, db, memory
from common.kit.cache import Cache
from common.kit.query import Query
from common.subscriptions import plans, renewal

#: How long a process caches an account's limits. The statement that commits an invocation checks access and period
#: again.
CACHE_SECONDS = 1.0
CACHE_SIZE = 10_000


@dataclass(frozen=True, slots=True)
class PeriodTerms:
    """An account's current period and its plan's limits (None: unlimited)."""

    period_id: UUID
    user_id: UUID
    epoch: int
    plan: str
    max_concurrency: int | None
    rate_limit_per_minute: int | None
    monthly_tokens: int | None
    ends_at: datetime
    max_payload_bytes: int | None
    #: None: the default of the settings applies.
    max_streams: int | None
    #: What the database's clock said, and this process's monotonic one.
    asked_at: datetime
    monotonic: float

    def now(self) -> datetime:
        """The time by the database's clock, as far as this process knows it."""
        return self.asked_at + timedelta(seconds=clock.monotonic() - self.monotonic)


class TermsRow(NamedTuple):
    """An account's open period and its plan."""

    id: UUID
    epoch: int
    slug: str
    max_concurrency: int | None
    rate_limit_per_minute: int | None
    monthly_tokens: int | None
    ends_at: datetime
    max_streams: int | None
    max_payload_bytes: int | None
    accessible: bool
    running: bool
    now: datetime
    #: Seconds until some of its tokens expire; not above 0: they have, and it is not booked yet.
    expiring_in: float | None


_TERMS = Query(
    """
select p.id, p.epoch, pl.slug, pl.max_concurrency, pl.rate_limit_per_minute, pl.monthly_tokens, p.ends_at,
       pl.max_streams, pl.max_payload_bytes,
       p.access_ended_at is null as accessible, p.ends_at > now() as running, now() as now,
       cast(extract(epoch from r.next_at - now()) as float8) as expiring_in
  from periods p join plans pl on pl.id = p.plan_id left join remainders r on r.period_id = p.id
 where p.user_id = :user and p.closed_at is null
""",
    TermsRow,
)


class _Defaults:
    max_payload_bytes: int | None = None


def configure(max_payload_bytes: int | None) -> None:
    """Set the storage limit for plans without one, in bytes (None: unlimited)."""
    _Defaults.max_payload_bytes = max_payload_bytes


_terms = memory.Part(lambda: Cache[UUID, PeriodTerms](CACHE_SIZE))


def for_submit(user_id: UUID) -> PeriodTerms:
    """The current period and its limits; renews an ended period, and books what has expired.

    Cached for a second, or until the next expiry; call `forget_terms` when a submit finds them outdated.
    Raises `SubscriptionRequired`.
    """
    terms = _terms().get(user_id)
    if terms is None:
        begun = clock.monotonic()  # before it was looked up
        terms, seconds = _look_up(user_id)
        _terms().put(user_id, terms, begun + seconds)
    return terms


def limits(user_id: UUID) -> PeriodTerms | None:
    """As `for_submit`, but None without a subscription."""
    try:
        return for_submit(user_id)
    except SubscriptionRequired:
        return None


def _look_up(user_id: UUID) -> tuple[PeriodTerms, float]:
    """The terms, and for how many seconds they are good."""
    rows = db.execute(_TERMS, {"user": user_id})
    if rows and (not rows[0].running or _has_expired(rows[0])):
        renewal.renew(user_id)
        rows = db.execute(_TERMS, {"user": user_id})
    if not rows or not rows[0].accessible or not rows[0].running:
        raise SubscriptionRequired
    period = rows[0]
    lasting = CACHE_SECONDS if period.expiring_in is None else min(CACHE_SECONDS, period.expiring_in)
    return _terms_of(user_id, period), lasting


def _has_expired(period: TermsRow) -> bool:
    return period.expiring_in is not None and period.expiring_in <= 0


def _terms_of(user_id: UUID, period: TermsRow) -> PeriodTerms:
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
        asked_at=period.now,
        monotonic=clock.monotonic(),
        max_payload_bytes=_Defaults.max_payload_bytes if period.max_payload_bytes is None else period.max_payload_bytes,
    )


def forget_terms(user_id: UUID) -> None:
    """Drop the account's cached terms in this process."""
    _terms().drop(user_id)


class Remedies(NamedTuple):
    """What would make tokens available: slugs of plans, if subscribed to now, and whether the next period would."""

    plans: list[str]
    waiting_helps: bool


def remedies(required: int, terms: PeriodTerms) -> Remedies:
    """What would make `required` tokens available."""
    with db.snapshot() as session:
        allowing = plans.allowing(session, terms.user_id, terms.period_id, required)
        return Remedies(allowing, plans.granted_next(session, terms.period_id) >= required)

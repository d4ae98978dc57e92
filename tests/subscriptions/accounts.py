"""Accounts whose subscription began when we say: time passes by moving what happened into the past."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from sqlalchemy import select, text

from common import subscriptions
from common.kit import db
from common.models.subscriptions import Grant, Period
from common.subscriptions import months

_USER = text("insert into users (id, email, email_key, name, password_hash) values (:id, :mail, :mail, 'Ada', '-')")
_MOVE = text("""
with s as (update subscriptions set anchor = :anchor where user_id = :user and status <> 'expired' returning id)
update periods p set starts_at = :starts, ends_at = :ends from s where p.subscription_id = s.id
""")
_EXPIRE = text("""
with g as (update grants set expires_at = clock_timestamp() where id = :grant returning *),
r as (update remainders r set next_at = least(r.next_at, g.expires_at) from g where r.period_id = g.period_id)
select user_id from g
""")
_USED = text("""
insert into usage_logs (invocation_id, id, user_id, period_id, tool_id, tool_version_id, status, tokens_used, held)
values (uuid7(), uuid7(), :user, :period, uuid7(), uuid7(), 'success', :tokens, :tokens)
""")


def account(plan: str | None = "free") -> UUID:
    """A new account, subscribed to `plan`."""
    user_id = uuid4()
    with db.transaction() as session:
        session.execute(_USER, {"id": user_id, "mail": f"{user_id}@example.com"})
    if plan:
        subscriptions.subscribe(user_id, plan)
    return user_id


def began(user_id: UUID, anchor: datetime) -> None:
    """As if the account had subscribed then, in the first period still."""
    ends = months.beginning(anchor, 1)
    with db.transaction() as session:
        session.execute(_MOVE, {"user": user_id, "anchor": anchor, "starts": anchor, "ends": ends})
    subscriptions.forget_terms(user_id)


def expire(grant_id: UUID) -> UUID:
    """As if the grant had been given until just now. Returns its account."""
    with db.transaction() as session:
        session.execute(text("set local session_replication_role = replica"))  # past the trigger
        user_id = UUID(str(session.execute(_EXPIRE, {"grant": grant_id}).scalar_one()))
    subscriptions.forget_terms(user_id)
    return user_id


def last_31st(before: timedelta = timedelta(days=200)) -> datetime:
    """A 31st January at 10:00 at least so long ago."""
    then = datetime.now(UTC) - before
    anchor = datetime(then.year, 1, 31, 10, tzinfo=UTC)
    return anchor if anchor <= then else anchor.replace(year=then.year - 1)


def used(user_id: UUID, tokens: int) -> None:
    """A call that was charged to the running period."""
    period = subscriptions.for_submit(user_id).period_id
    with db.transaction() as session:
        session.execute(_USED, {"user": user_id, "period": period, "tokens": tokens})


def periods_of(user_id: UUID) -> Sequence[Period]:
    with db.snapshot() as session:
        return session.scalars(select(Period).where(Period.user_id == user_id).order_by(Period.starts_at)).all()


def grants_of(user_id: UUID) -> list[tuple[str, int]]:
    with db.snapshot() as session:
        rows = session.execute(select(Grant.kind, Grant.tokens).where(Grant.user_id == user_id).order_by(Grant.id))
        return [(kind, tokens) for kind, tokens in rows]

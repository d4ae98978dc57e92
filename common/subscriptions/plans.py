"""Plans: listing, editing, ranking, and which plans would allow a rejected invocation."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from uuid import UUID

from sqlalchemy import Select, select, text, tuple_
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from common.errors import FieldError, Invalid, NotFound, SlugTaken
from common.identity import audit, idempotency
from common.identity.audit import Actor
from common.identity.idempotency import Once
from common.kit import db, failpoints
from common.kit.clock import uuid7
from common.kit.expecting import Expect, anything
from common.kit.paging import Page, Window
from common.models.subscriptions import UNLIMITED_TOKENS, Plan


def offered(window: Window) -> Page[Plan]:
    """Plans open to subscription, in display order."""
    return _listed(select(Plan).where(Plan.is_active), window)


def everything(window: Window) -> Page[Plan]:
    """All plans, including retired ones."""
    return _listed(select(Plan), window)


def _listed(query: Select[Plan], window: Window) -> Page[Plan]:
    if window.after:
        query = query.where(tuple_(Plan.position, Plan.slug) > tuple_(*window.after))
    with db.snapshot() as session:
        found = session.scalars(query.order_by(Plan.position, Plan.slug).limit(window.limit + 1)).all()
    return Page.cut(found, window, lambda plan: (plan.position, plan.slug))


def named(session: Session, slug: str) -> Plan:
    """An active plan by slug. Raises `Invalid`."""
    plan = session.scalar(select(Plan).where(Plan.slug == slug, Plan.is_active))
    if plan is None:
        raise Invalid("Unknown plan.", errors=[FieldError("/plan", "Unknown plan.")])
    return plan


def get(slug: str) -> Plan:
    """A plan by slug, including retired ones. Raises `NotFound`."""
    with db.snapshot() as session:
        return _any(session, slug)


def _any(session: Session, slug: str, *, for_update: bool = False) -> Plan:
    query = select(Plan).where(Plan.slug == slug)
    plan = session.scalar(query.with_for_update() if for_update else query)
    if plan is None:
        raise NotFound
    return plan


def create(fields: Mapping[str, object], *, actor: Actor, once: Once = None) -> Plan:
    """Create a plan. Raises `SlugTaken`, `IdempotencyKeyReused`."""
    plan = Plan(id=uuid7(), **fields)
    try:
        with db.transaction() as session:
            if made := idempotency.claim(session, once, plan.id):
                return session.get_one(Plan, made.id)
            session.add(plan)
            session.flush()
            session.refresh(plan)
            audit.record(session, actor, "plan.create", "plan", plan.slug, after=fields)
            return plan
    except IntegrityError as error:
        if db.violated(error) == "uq_plans_slug":
            raise SlugTaken from None
        raise


def edit(slug: str, changes: Mapping[str, object], *, actor: Actor, expect: Expect[Plan] = anything) -> Plan:
    """Change a plan. Limits apply within seconds, tokens from each subscription's next period.

    Raises `NotFound`, and what `expect` does.
    """
    with db.transaction() as session:
        plan = _any(session, slug, for_update=True)
        expect(plan)
        failpoints.at("change.checked")
        before = {name: getattr(plan, name) for name in changes}
        for name, value in changes.items():
            setattr(plan, name, value)
        if before != changes:
            audit.record(session, actor, "plan.update", "plan", slug, before=before, after=changes)
        return plan


def tokens(plan: Plan) -> int:
    """Tokens that the plan grants per month."""
    return UNLIMITED_TOKENS if plan.monthly_tokens is None else plan.monthly_tokens


def is_lower(plan: Plan, than: Plan) -> bool:
    """Whether `plan` ranks below `than`: by tokens, then price, then throughput."""
    return _rank(plan) < _rank(than)


def _rank(plan: Plan) -> tuple[float, ...]:
    limits = (plan.rate_limit_per_minute, plan.max_concurrency)
    return (tokens(plan), plan.price_cents, *(inf if limit is None else limit for limit in limits))


#: An upgrade grants the difference to what plans have granted in the period so far.
_ALLOWING = text("""
with p as (
  select coalesce(sum(g.tokens) filter (where g.kind in ('plan', 'upgrade')), 0) as by_plans,
         coalesce(sum(g.tokens), 0) as granted
    from grants g where g.period_id = :period),
q as (select coalesce(sum(held), 0) as held from queue where period_id = :period)
select pl.slug
  from plans pl, p, q
 where pl.is_active
   and coalesce(pl.monthly_tokens, :unlimited) > p.by_plans
   and coalesce(pl.monthly_tokens, :unlimited) - p.by_plans + p.granted - q.held
       - period_charged(:period, :account) >= :required
 order by pl.position, pl.slug
""")


def allowing(session: Session, account: UUID, period: UUID, required: int) -> list[str]:
    """Slugs of the plans that would make `required` tokens available if subscribed to now."""
    values = {"account": account, "period": period, "required": required, "unlimited": UNLIMITED_TOKENS}
    return list(session.scalars(_ALLOWING, values))


_NEXT = text("""
select case when s.cancel_at_period_end or s.status <> 'active' then 0
            else coalesce(pl.monthly_tokens, :unlimited) end
  from periods p join subscriptions s on s.id = p.subscription_id
  join plans pl on pl.id = coalesce(s.pending_plan_id, s.plan_id)
 where p.id = :period
""")


def granted_next(session: Session, period: UUID) -> int:
    """The tokens that a plan will grant for the period after this one; 0 if there will be none."""
    return int(session.scalars(_NEXT, {"period": period, "unlimited": UNLIMITED_TOKENS}).one())

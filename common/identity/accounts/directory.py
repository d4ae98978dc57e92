"""All accounts, for admins: filtered by text, role, status and plan."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Select, and_, func, or_, select
from sqlalchemy.orm import Session

from common.errors import NotFound
from common.kit import db
from common.kit.paging import Page, Window
from common.models.accounts import User
from common.models.subscriptions import Plan, Subscription


@dataclass(frozen=True, slots=True)
class ListedAccount:
    """An account as admins see it. `plan`: the slug of its active subscription's plan."""

    user: User
    plan: str | None


def listing(
    window: Window,
    *,
    q: str | None = None,
    role: str | None = None,
    is_active: bool | None = None,
    plan: str | None = None,
) -> Page[ListedAccount]:
    """Accounts, newest first; `q` is a literal, case-insensitive substring of address or name."""
    query = _accounts()
    if q:
        wanted = func.lower(q)
        query = query.where(or_(*(func.strpos(func.lower(c), wanted) > 0 for c in (User.email, User.name))))
    given = {User.role: role, User.is_active: is_active, Plan.slug: plan}
    query = query.where(*(column == value for column, value in given.items() if value is not None))
    if window.after:
        query = query.where(User.id < window.after[0])
    query = query.order_by(User.id.desc()).limit(window.limit + 1)
    rows = db.read_anywhere(lambda session: session.execute(query).all())
    return Page.cut([ListedAccount(*row) for row in rows], window, lambda listed: (listed.user.id,))


def listed(user_id: UUID) -> ListedAccount:
    """One account as admins see it. Raises `NotFound`."""
    with db.snapshot() as session:
        return one(session, user_id)


def one(session: Session, user_id: UUID) -> ListedAccount:
    """One account as admins see it, inside your transaction. Raises `NotFound`."""
    row = session.execute(_accounts().where(User.id == user_id)).one_or_none()
    if row is None:
        raise NotFound("Account not found.")
    return ListedAccount(*row)


def addresses(ids: Collection[UUID]) -> dict[UUID, str]:
    """The e-mail addresses of accounts, by id; those that do not exist are left out."""
    if not ids:
        return {}
    with db.snapshot() as session:
        rows = session.execute(select(User.id, User.email).where(User.id == func.any(list(ids))))
        return {row.id: row.email for row in rows}


def _accounts() -> Select[User, str]:
    active = and_(Subscription.user_id == User.id, Subscription.status == "active")
    return select(User, Plan.slug).outerjoin(Subscription, active).outerjoin(Plan, Plan.id == Subscription.plan_id)

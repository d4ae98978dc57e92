"""Plans, who is subscribed to which, the months that follow from it, and the tokens granted in each.

A subscription has an anchor, the moment it began; its periods are the months counted from there. Tokens belong to
a period: `granted` is the sum of its grants, which are only ever appended. A grant may expire before or after its
period ends: what is left of it then is taken off by an `expiry`, or granted again in the next period (`carried`).
"""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    SmallInteger,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from common.models.base import MAX_TOKENS, Base, Created, Id, Instant, Tokens, Word, one_of

SUBSCRIPTION_STATUSES = ("active", "canceled", "expired")
GRANT_KINDS = ("plan", "upgrade", "admin", "carried", "rollover", "expiry")

#: What an unlimited plan grants for a month: never used up, and every sum of grants still fits `MAX_TOKENS`.
UNLIMITED_TOKENS = 2**52


class Plan(Base):
    """What can be subscribed to. An edit counts from the next period on; a plan is retired, never deleted."""

    __tablename__ = "plans"

    id: Mapped[Id]
    slug: Mapped[Word] = mapped_column(unique=True)
    name: Mapped[Word]
    description: Mapped[Word] = mapped_column(server_default="")
    monthly_tokens: Mapped[Tokens | None]
    price_cents: Mapped[int] = mapped_column(server_default=text("0"))
    currency: Mapped[Word] = mapped_column(server_default="USD")
    rate_limit_per_minute: Mapped[int | None]
    max_concurrency: Mapped[int | None]
    #: Event streams and long-polls at once, and bytes of input and output that are kept; null: the settings say.
    max_streams: Mapped[int | None]
    max_payload_bytes: Mapped[int | None] = mapped_column(BigInteger)
    #: How much of what is left at a period's end is granted again in the next one.
    rollover_percent: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    is_active: Mapped[bool] = mapped_column(server_default=text("true"))
    position: Mapped[int] = mapped_column(server_default=text("0"))
    created_at: Mapped[Created]

    __table_args__ = (
        CheckConstraint("slug ~ '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$'", name="slug"),
        CheckConstraint(f"monthly_tokens between 0 and {UNLIMITED_TOKENS}", name="monthly_tokens"),
        CheckConstraint("price_cents >= 0", name="price"),
        CheckConstraint("currency ~ '^[A-Z]{3}$'", name="currency"),
        CheckConstraint("rate_limit_per_minute > 0", name="rate_limit"),
        CheckConstraint("max_concurrency > 0", name="max_concurrency"),
        CheckConstraint("max_streams > 0", name="max_streams"),
        CheckConstraint("max_payload_bytes >= 0", name="max_payload_bytes"),
        CheckConstraint("rollover_percent between 0 and 100", name="rollover_percent"),
    )


class Subscription(Base):
    """One stretch of being subscribed. `canceled`: ended at once, by hand; `expired`: ran out at a period's end."""

    __tablename__ = "subscriptions"

    id: Mapped[Id]
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"))
    plan_id: Mapped[UUID] = mapped_column(ForeignKey("plans.id"))
    status: Mapped[Word] = mapped_column(server_default="active")
    anchor: Mapped[Instant] = mapped_column(server_default=func.now())
    cancel_at_period_end: Mapped[bool] = mapped_column(server_default=text("false"))
    pending_plan_id: Mapped[UUID | None] = mapped_column(ForeignKey("plans.id"))
    canceled_at: Mapped[Instant | None]
    created_at: Mapped[Created]

    __table_args__ = (
        UniqueConstraint("id", "user_id"),
        CheckConstraint(one_of("status", SUBSCRIPTION_STATUSES), name="status"),
        CheckConstraint("status <> 'canceled' or canceled_at is not null", name="canceled_at"),
        CheckConstraint("status = 'active' or pending_plan_id is null", name="pending_plan"),
        CheckConstraint("not cancel_at_period_end or pending_plan_id is null", name="one_pending_change"),
        Index("uq_subscriptions_active", "user_id", unique=True, postgresql_where=text("status = 'active'")),
        Index("ix_subscriptions_user_id_created_at", "user_id", text("created_at desc")),
        Index("ix_subscriptions_plan_id", "plan_id"),
    )


class Period(Base):
    """One month of a subscription, and the account that its tokens are booked on.

    Open until the next one takes over (`closed_at`). An immediate cancel only takes the access away
    (`access_ended_at`), so that subscribing again finds the same charges. `epoch` guards the budget in Redis: a
    submit commits only under the epoch that its hold was taken in, and every rebuild raises it.
    """

    __tablename__ = "periods"

    id: Mapped[Id]
    subscription_id: Mapped[UUID]
    user_id: Mapped[UUID]
    plan_id: Mapped[UUID] = mapped_column(ForeignKey("plans.id"))
    starts_at: Mapped[Instant]
    ends_at: Mapped[Instant]
    epoch: Mapped[int] = mapped_column(BigInteger, server_default=text("1"))
    access_ended_at: Mapped[Instant | None]
    closed_at: Mapped[Instant | None]
    created_at: Mapped[Created]

    __table_args__ = (
        ForeignKeyConstraint(
            ["subscription_id", "user_id"], ["subscriptions.id", "subscriptions.user_id"], name="subscription"
        ),
        UniqueConstraint("subscription_id", "starts_at"),
        CheckConstraint("starts_at < ends_at", name="bounds"),
        CheckConstraint("closed_at >= ends_at", name="closed_after_its_end"),
        CheckConstraint("epoch >= 1", name="epoch"),
        Index("uq_periods_open", "user_id", unique=True, postgresql_where=text("closed_at is null")),
        Index("ix_periods_due", "ends_at", postgresql_where=text("closed_at is null")),
        Index("ix_periods_user_id_starts_at", "user_id", "starts_at"),
        {"postgresql_with": {"fillfactor": "70"}},
    )


class Grant(Base):
    """Tokens added to a period, or taken off by an admin or an expiry. Append-only: what was granted is the sum."""

    __tablename__ = "grants"

    id: Mapped[Id]
    period_id: Mapped[UUID] = mapped_column(ForeignKey("periods.id"))
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"))
    kind: Mapped[Word]
    tokens: Mapped[Tokens]
    reason: Mapped[Word] = mapped_column(server_default="")
    #: Null: the platform; of kind `admin`, an operator at the command line.
    actor_id: Mapped[UUID | None] = mapped_column(ForeignKey("users.id"))
    #: Null: it lasts as long as its period.
    expires_at: Mapped[Instant | None]
    #: The grant that has expired or is carried over; the period that a rollover is from.
    source_id: Mapped[UUID | None]
    created_at: Mapped[Created]

    __table_args__ = (
        CheckConstraint(one_of("kind", GRANT_KINDS), name="kind"),
        CheckConstraint(f"tokens between -{MAX_TOKENS} and {MAX_TOKENS}", name="tokens"),
        CheckConstraint("kind in ('admin', 'expiry') or tokens >= 0", name="only_admins_take_back"),
        CheckConstraint("kind <> 'expiry' or tokens < 0", name="expiry_takes_off"),
        CheckConstraint("expires_at is null or (tokens > 0 and kind in ('admin', 'carried'))", name="expires_at"),
        CheckConstraint("kind <> 'carried' or expires_at is not null", name="carried_expires"),
        CheckConstraint("(kind in ('carried', 'rollover', 'expiry')) = (source_id is not null)", name="source"),
        Index("uq_grants_plan", "period_id", unique=True, postgresql_where=text("kind = 'plan'")),
        Index("ix_grants_period_id", "period_id", postgresql_include=["tokens"]),
        Index("ix_grants_user_id_id", "user_id", "id"),
    )


class Remainder(Base):
    """How far it is booked what is left of a period's grants; only for periods that need it.

    A grant of the period expires next at `next_at`. What `open_rows` invocations that were accepted before
    `open_before` give back when they end, expires too, or is granted again if the period is closed.
    """

    __tablename__ = "remainders"

    period_id: Mapped[UUID] = mapped_column(ForeignKey("periods.id"), primary_key=True)
    next_at: Mapped[Instant | None]
    open_rows: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    open_before: Mapped[Instant | None]
    #: What its plan said when it was closed.
    rollover_percent: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))

    __table_args__ = (
        CheckConstraint("open_rows >= 0", name="open_rows"),
        CheckConstraint("open_rows = 0 or open_before is not null", name="open_before"),
        CheckConstraint("rollover_percent between 0 and 100", name="rollover_percent"),
        Index("ix_remainders_next_at", "next_at", postgresql_where=text("next_at is not null")),
        Index("ix_remainders_open_rows", "period_id", postgresql_where=text("open_rows > 0")),
    )


class StatementCheck(Base):
    """When a period's statement was last recomputed from single rows, and by how much it was off."""

    __tablename__ = "statement_checks"

    period_id: Mapped[UUID] = mapped_column(ForeignKey("periods.id"), primary_key=True)
    at: Mapped[Instant]
    #: How many grants and invocations were read.
    rows: Mapped[int] = mapped_column(BigInteger)
    difference: Mapped[int] = mapped_column(BigInteger)

    __table_args__ = (CheckConstraint("rows >= 0", name="rows"),)


#: Grants are never rewritten: a mistake is put right by another grant.
GRANTS_APPEND_ONLY_UP = """
create function grants_append_only() returns trigger language plpgsql as $$
begin
  raise exception 'grants are append-only'
    using errcode = 'integrity_constraint_violation', constraint = 'grants_append_only';
end $$;
create trigger grants_append_only before update or delete on grants
  for each row execute function grants_append_only();
"""
GRANTS_APPEND_ONLY_DOWN = "drop function grants_append_only() cascade"

#: No moment belongs to two periods of one account. An exclusion constraint would need the extension btree_gist;
#: two writers cannot slip past each other here, because they work under the account's row lock (and
#: `uq_periods_open` would stop them).
PERIODS_DISJOINT_UP = """
create function periods_disjoint() returns trigger language plpgsql as $$
begin
  if exists (select from periods p where p.user_id = new.user_id and p.id <> new.id
             and p.starts_at < new.ends_at and new.starts_at < p.ends_at) then
    raise exception 'the account has a period in that time already'
      using errcode = 'exclusion_violation', constraint = 'periods_disjoint';
  end if;
  return null;
end $$;
create trigger periods_disjoint after insert or update of user_id, starts_at, ends_at on periods
  for each row execute function periods_disjoint();
"""
PERIODS_DISJOINT_DOWN = "drop function periods_disjoint() cascade"

DDL_UP = (GRANTS_APPEND_ONLY_UP, PERIODS_DISJOINT_UP)
DDL_DOWN = (GRANTS_APPEND_ONLY_DOWN, PERIODS_DISJOINT_DOWN)

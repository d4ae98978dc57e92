"""Grants may expire, and a share of what is left may roll over into the next period.

Revision ID: 0018
Revises: 0017
Create Date: 2026-11-29

Columns that are null or have a constant default: no row is rewritten, and code that does not know them leaves them as
they are. Every grant that it makes satisfies the new checks. What it does not do is to book expiries: no grant should be
given an `expires_at`, and no plan a rollover, before all of it has been replaced.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

CHECKS = {
    "kind": "kind in ('plan', 'upgrade', 'admin', 'carried', 'rollover', 'expiry')",
    "only_admins_take_back": "kind in ('admin', 'expiry') or tokens >= 0",
    "expiry_takes_off": "kind <> 'expiry' or tokens < 0",
    "expires_at": "expires_at is null or (tokens > 0 and kind in ('admin', 'carried'))",
    "carried_expires": "kind <> 'carried' or expires_at is not null",
    "source": "(kind in ('carried', 'rollover', 'expiry')) = (source_id is not null)",
}
BEFORE = {"kind": "kind in ('plan', 'upgrade', 'admin')", "only_admins_take_back": "kind = 'admin' or tokens >= 0"}


def upgrade() -> None:
    op.add_column(
        "plans", sa.Column("rollover_percent", sa.SmallInteger(), server_default=sa.text("0"), nullable=False)
    )
    op.create_check_constraint(op.f("ck_plans_rollover_percent"), "plans", "rollover_percent between 0 and 100")
    op.add_column("grants", sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("grants", sa.Column("source_id", sa.Uuid(), nullable=True))
    for name in BEFORE:
        op.drop_constraint(op.f(f"ck_grants_{name}"), "grants", type_="check")
    for name, condition in CHECKS.items():
        op.create_check_constraint(op.f(f"ck_grants_{name}"), "grants", condition)
    op.create_table(
        "remainders",
        sa.Column("period_id", sa.Uuid(), nullable=False),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("open_rows", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("open_before", sa.DateTime(timezone=True), nullable=True),
        sa.Column("rollover_percent", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.CheckConstraint("open_rows >= 0", name=op.f("ck_remainders_open_rows")),
        sa.CheckConstraint("open_rows = 0 or open_before is not null", name=op.f("ck_remainders_open_before")),
        sa.CheckConstraint("rollover_percent between 0 and 100", name=op.f("ck_remainders_rollover_percent")),
        sa.ForeignKeyConstraint(["period_id"], ["periods.id"], name=op.f("fk_remainders_period_id")),
        sa.PrimaryKeyConstraint("period_id", name=op.f("pk_remainders")),
    )
    op.create_index("ix_remainders_next_at", "remainders", ["next_at"], postgresql_where=sa.text("next_at is not null"))
    op.create_index("ix_remainders_open_rows", "remainders", ["period_id"], postgresql_where=sa.text("open_rows > 0"))


def downgrade() -> None:
    op.drop_table("remainders")
    for name in reversed(CHECKS):
        op.drop_constraint(op.f(f"ck_grants_{name}"), "grants", type_="check")
    for name, condition in BEFORE.items():
        op.create_check_constraint(op.f(f"ck_grants_{name}"), "grants", condition)
    op.drop_column("grants", "source_id")
    op.drop_column("grants", "expires_at")
    op.drop_constraint(op.f("ck_plans_rollover_percent"), "plans", type_="check")
    op.drop_column("plans", "rollover_percent")

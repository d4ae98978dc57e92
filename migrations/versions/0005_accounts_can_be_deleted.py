"""Accounts can be deleted by their owners: the row stays for what was billed, and says so.

Revision ID: 0005
Revises: 0004
Create Date: 2026-11-29

Code that is already running survives it: both columns are nullable, and it reads and writes neither. What it does to an
account that new code has deleted is what it does to a disabled one.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("users", sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("users", sa.Column("forgotten_at", sa.DateTime(timezone=True), nullable=True))
    op.create_check_constraint(op.f("ck_users_deleted"), "users", "deleted_at is null or not is_active")
    op.create_check_constraint(op.f("ck_users_forgotten"), "users", "forgotten_at >= deleted_at")
    op.create_index(
        "ix_users_being_forgotten",
        "users",
        ["id"],
        postgresql_where=sa.text("deleted_at is not null and forgotten_at is null"),
    )


def downgrade() -> None:
    op.drop_index("ix_users_being_forgotten", table_name="users")
    op.drop_constraint(op.f("ck_users_forgotten"), "users", type_="check")
    op.drop_constraint(op.f("ck_users_deleted"), "users", type_="check")
    op.drop_column("users", "forgotten_at")
    op.drop_column("users", "deleted_at")

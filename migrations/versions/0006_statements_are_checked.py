"""Statements are checked on demand: when, over how many rows, and the difference.

Revision ID: 0006
Revises: 0005
Create Date: 2026-11-29

Code that is already running survives it: it knows nothing of the table.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "statement_checks",
        sa.Column("period_id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("difference", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("rows >= 0", name=op.f("ck_statement_checks_rows")),
        sa.ForeignKeyConstraint(["period_id"], ["periods.id"], name=op.f("fk_statement_checks_period_id")),
        sa.PrimaryKeyConstraint("period_id", name=op.f("pk_statement_checks")),
    )


def downgrade() -> None:
    op.drop_table("statement_checks")

"""The results of nightly verifications of the ledger are kept.

Revision ID: 0008
Revises: 0007
Create Date: 2026-11-29

Code that is already running survives it: it knows nothing of the table.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "ledger_verifications",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("invocations", sa.BigInteger(), nullable=False),
        sa.Column("periods", sa.BigInteger(), nullable=False),
        sa.Column("gates", sa.BigInteger(), nullable=False),
        sa.Column("differences", sa.BigInteger(), nullable=False),
        sa.Column("examples", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.CheckConstraint(
            "differences >= 0 and finished_at >= started_at", name=op.f("ck_ledger_verifications_result")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_verifications")),
    )


def downgrade() -> None:
    op.drop_table("ledger_verifications")

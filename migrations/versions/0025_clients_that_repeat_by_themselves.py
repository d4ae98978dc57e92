"""Calls of clients that repeat by themselves are remembered for some minutes, so that their repeats join them.

Revision ID: 0025
Revises: 0024
Create Date: 2026-11-29

A new table; code that does not know it serves no such clients.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "client_calls",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("credential_id", sa.Uuid(), nullable=False),
        sa.Column("request_hash", sa.Text(), nullable=False),
        sa.Column("retries", sa.SmallInteger(), nullable=False),
        sa.Column("answered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("retries >= 0", name=op.f("ck_client_calls_retries")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_client_calls")),
    )
    op.create_index("ix_client_calls_joined", "client_calls", ["credential_id", "request_hash"], unique=False)
    op.create_index("ix_client_calls_created_at", "client_calls", ["created_at"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_client_calls_created_at", table_name="client_calls")
    op.drop_index("ix_client_calls_joined", table_name="client_calls")
    op.drop_table("client_calls")

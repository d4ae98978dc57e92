"""Usage says whom an invocation was for, and is found by that and by API key.

Revision ID: 0021
Revises: 0020
Create Date: 2026-11-29

A nullable column: no row is rewritten, and what code that is already running writes has none. The indexes are made while
nothing ends; allow a second for each million entries of usage.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("usage_logs", sa.Column("end_user", sa.Text(), nullable=True))
    op.create_index(
        "ix_usage_logs_end_user",
        "usage_logs",
        ["user_id", "end_user", sa.text("created_at desc"), sa.text("id desc")],
        postgresql_where=sa.text("end_user is not null"),
    )
    op.create_index(
        "ix_usage_logs_api_key",
        "usage_logs",
        [sa.text("coalesce(api_key_root_id, api_key_id)"), sa.text("created_at desc"), sa.text("id desc")],
        postgresql_where=sa.text("api_key_id is not null"),
    )


def downgrade() -> None:
    op.drop_index("ix_usage_logs_api_key", table_name="usage_logs")
    op.drop_index("ix_usage_logs_end_user", table_name="usage_logs")
    op.drop_column("usage_logs", "end_user")

"""Attempts note when the next one was due.

Revision ID: 0003
Create Date: 2026-11-29

A column without a default: no row is rewritten. Code that does not know it leaves it null, and reads nothing of it.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("attempts", sa.Column("retry_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    op.drop_column("attempts", "retry_at")

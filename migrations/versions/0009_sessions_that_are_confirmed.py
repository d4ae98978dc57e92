"""Sessions say when their password was last given.

Revision ID: 0009
Revises: 0008
Create Date: 2026-11-29

Code that is already running survives it: the column is nullable, and it does not read or write it.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("refresh_families", sa.Column("confirmed_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    op.drop_column("refresh_families", "confirmed_at")

"""Sessions say where they began, with what, and when they were last used.

Revision ID: 0002
Revises: 0001
Create Date: 2026-11-29

Code that is already running survives it: new columns are nullable or have a default, and it reads and writes none of
them. Sessions from before have no network and no user agent.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("refresh_families", sa.Column("kind", sa.Text(), server_default=sa.text("'api'"), nullable=False))
    op.add_column("refresh_families", sa.Column("network", sa.Text(), nullable=True))
    op.add_column("refresh_families", sa.Column("user_agent", sa.Text(), nullable=True))
    op.add_column("refresh_families", sa.Column("last_seen_at", sa.DateTime(timezone=True), nullable=True))
    op.create_check_constraint(op.f("ck_refresh_families_kind"), "refresh_families", "kind in ('api', 'console')")


def downgrade() -> None:
    op.drop_constraint(op.f("ck_refresh_families_kind"), "refresh_families", type_="check")
    for column in ("last_seen_at", "user_agent", "network", "kind"):
        op.drop_column("refresh_families", column)

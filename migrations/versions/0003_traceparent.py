"""Invocations carry the trace of the request that made them.

Revision ID: 0003
Revises: 0002
Create Date: 2026-11-22

A column without a default: no row is rewritten, and code that does not know it neither reads nor writes it.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("invocations", sa.Column("traceparent", sa.String(), nullable=True))


def downgrade() -> None:
    op.drop_column("invocations", "traceparent")

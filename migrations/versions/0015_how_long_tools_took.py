"""How long calls of each tool took lately, for lists of tools.

Revision ID: 0015
Revises: 0014
Create Date: 2026-11-29

Code that is already running survives it: it knows nothing of the table, which a sweep of the new code fills.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "tool_latencies",
        sa.Column("tool_id", sa.Uuid(), nullable=False),
        sa.Column("p50", sa.SmallInteger(), nullable=False),
        sa.Column("p95", sa.SmallInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["tool_id"], ["tools.id"], name=op.f("fk_tool_latencies_tool_id")),
        sa.PrimaryKeyConstraint("tool_id", name=op.f("pk_tool_latencies")),
    )


def downgrade() -> None:
    op.drop_table("tool_latencies")

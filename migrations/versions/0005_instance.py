"""The database knows which platform it belongs to.

Revision ID: 0005
Revises: 0004
Create Date: 2026-11-28

A new table that code before it neither reads nor writes.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "instance",
        sa.Column("one_row", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("one_row", name=op.f("ck_instance_one_row")),
        sa.PrimaryKeyConstraint("one_row", name=op.f("pk_instance")),
    )
    op.execute("insert into instance default values")


def downgrade() -> None:
    op.drop_table("instance")

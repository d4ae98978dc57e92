"""Plans say how many clients may wait, and how much input and output is stored.

Revision ID: 0010
Revises: 0009
Create Date: 2026-11-28

Columns without a default, and a table of its own: no row is rewritten, and code that does not know them neither reads nor
writes them. A limit that is null is what the settings say.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "stored_payloads",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("measured_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_stored_payloads_user_id_users")),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_stored_payloads")),
    )
    op.add_column("plans", sa.Column("max_streams", sa.Integer(), nullable=True))
    op.add_column("plans", sa.Column("max_payload_bytes", sa.BigInteger(), nullable=True))
    op.create_check_constraint(op.f("ck_plans_max_streams"), "plans", "max_streams > 0")
    op.create_check_constraint(op.f("ck_plans_max_payload_bytes"), "plans", "max_payload_bytes >= 0")


def downgrade() -> None:
    op.drop_column("plans", "max_payload_bytes")
    op.drop_column("plans", "max_streams")
    op.drop_table("stored_payloads")

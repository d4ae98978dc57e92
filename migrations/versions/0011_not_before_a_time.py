"""Invocations may wait for a time, and have an order among an account's own.

Revision ID: 0011
Revises: 0010
Create Date: 2026-11-29

Columns with a constant default, or none: no row is rewritten, and code that does not know them leaves them at that. Such
code gives slots by age alone, and sorts an account's waiting rows to do so, since the index has the priority before the
time now. The queue, whose index and check are made, is small.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def _priority() -> sa.Column[int]:
    return sa.Column("priority", sa.SmallInteger(), server_default=sa.text("0"), nullable=False)


def _waiting(*columns: str) -> None:
    op.drop_index("ix_queue_waiting", "queue")
    op.create_index("ix_queue_waiting", "queue", [*columns], postgresql_where=sa.text("slot is null"))


def upgrade() -> None:
    op.add_column("invocations", sa.Column("not_before", sa.DateTime(timezone=True), nullable=True))
    op.add_column("invocations", _priority())
    op.add_column("queue", _priority())
    op.create_check_constraint(op.f("ck_queue_priority"), "queue", "priority between -1 and 1")
    _waiting("period_id", "priority", "due_at")


def downgrade() -> None:
    _waiting("period_id", "due_at")
    op.drop_column("queue", "priority")
    op.drop_column("invocations", "priority")
    op.drop_column("invocations", "not_before")

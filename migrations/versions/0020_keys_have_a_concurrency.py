"""API keys may bound how many of their invocations run at once.

Revision ID: 0020
Revises: 0019
Create Date: 2026-11-29

Nullable columns and partial indexes that are empty: no row is rewritten. A row that waits for its key is not due by
`due_at`, so code that does not know keys leaves it alone; but it would neither count such rows nor show them, so no key
should be given a `max_concurrency` before all of it has been replaced.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

CHECKS = {
    "due_at": "(key_due_at is null) = (due_at < 'infinity')",
    "waits_for_key": "key_due_at is null or (slot is null and capped_key is not null)",
}


def upgrade() -> None:
    op.add_column("api_keys", sa.Column("max_concurrency", sa.Integer(), nullable=True))
    op.create_check_constraint(op.f("ck_api_keys_max_concurrency"), "api_keys", "max_concurrency > 0")
    op.add_column("queue", sa.Column("capped_key", sa.Uuid(), nullable=True))
    op.add_column("queue", sa.Column("key_due_at", sa.DateTime(timezone=True), nullable=True))
    for name, condition in CHECKS.items():
        op.create_check_constraint(op.f(f"ck_queue_{name}"), "queue", condition)
    op.create_index(
        "ix_queue_capped_key",
        "queue",
        ["capped_key", "period_id"],
        postgresql_where=sa.text("capped_key is not null"),
    )
    op.create_index(
        "ix_queue_waiting_for_key",
        "queue",
        ["capped_key", "period_id", sa.text("priority desc"), "key_due_at"],
        postgresql_where=sa.text("key_due_at is not null"),
    )


def downgrade() -> None:
    op.drop_index("ix_queue_waiting_for_key", table_name="queue")
    op.drop_index("ix_queue_capped_key", table_name="queue")
    for name in CHECKS:
        op.drop_constraint(op.f(f"ck_queue_{name}"), "queue", type_="check")
    op.drop_column("queue", "key_due_at")
    op.drop_column("queue", "capped_key")
    op.drop_constraint(op.f("ck_api_keys_max_concurrency"), "api_keys", type_="check")
    op.drop_column("api_keys", "max_concurrency")

"""Requests that make no invocation occupy their Idempotency-Key where submits look, too.

Revision ID: 0022
Revises: 0021
Create Date: 2026-11-29

Code that is already running joins these rows with invocations, so it does not see those that have none. Between it and
new code, a submit and another request with one key at once may both be carried out, as before.
"""

from __future__ import annotations

from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.alter_column("idempotency_keys", "invocation_id", nullable=True)


def downgrade() -> None:
    op.execute("delete from idempotency_keys where invocation_id is null")
    op.alter_column("idempotency_keys", "invocation_id", nullable=False)

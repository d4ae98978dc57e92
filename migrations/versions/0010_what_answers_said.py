"""Repeats of requests with an Idempotency-Key are told what the first answer said and rows do not.

Revision ID: 0010
Create Date: 2026-11-29

Columns without a default on a small table (24 hours of keys): no row is rewritten, and code that does not know them
leaves them null, which is what they are for grants, the only requests that it remembers.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("idempotent_requests", sa.Column("facts", postgresql.JSONB(none_as_null=True), nullable=True))
    op.add_column("idempotent_requests", sa.Column("secret", sa.String(), nullable=True))
    op.add_column("idempotent_requests", sa.Column("secret_until", sa.DateTime(timezone=True), nullable=True))
    op.create_index(
        "ix_idempotent_requests_secret_until",
        "idempotent_requests",
        ["secret_until"],
        postgresql_where=sa.text("secret_until is not null"),
    )


def downgrade() -> None:
    op.drop_index("ix_idempotent_requests_secret_until", "idempotent_requests")
    op.drop_column("idempotent_requests", "secret_until")
    op.drop_column("idempotent_requests", "secret")
    op.drop_column("idempotent_requests", "facts")

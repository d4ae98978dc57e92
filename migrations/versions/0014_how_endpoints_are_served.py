"""How an endpoint is served: how fast, with which headers, and with how much.

Revision ID: 0014
Create Date: 2026-11-29

Columns with constant defaults on a small table: no row is rewritten, and code that does not know them serves such an
endpoint as any other.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

TABLE = "webhook_endpoints"
CHECKS = {
    "payload": "payload in ('full', 'thin')",
    "rate_limit": "rate_limit_per_second >= 1",
    "headers": "(encrypted_headers is null) = (cardinality(header_names) = 0)",
}


def upgrade() -> None:
    op.add_column(TABLE, sa.Column("rate_limit_per_second", sa.Integer(), nullable=True))
    op.add_column(TABLE, sa.Column("next_send_at", sa.DateTime(timezone=True), nullable=True))
    names = postgresql.ARRAY(sa.Text())
    op.add_column(TABLE, sa.Column("header_names", names, server_default=sa.text("'{}'"), nullable=False))
    op.add_column(TABLE, sa.Column("encrypted_headers", sa.String(), nullable=True))
    op.add_column(TABLE, sa.Column("payload", sa.Text(), server_default="full", nullable=False))
    for name, condition in CHECKS.items():
        op.create_check_constraint(op.f(f"ck_{TABLE}_{name}"), TABLE, condition)


def downgrade() -> None:
    for column in ("payload", "encrypted_headers", "header_names", "next_send_at", "rate_limit_per_second"):
        op.drop_column(TABLE, column)

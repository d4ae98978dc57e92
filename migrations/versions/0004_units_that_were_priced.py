"""The number that was priced, beside what was charged for it.

Revision ID: 0004
Create Date: 2026-11-29

Two columns without a default: no row is rewritten. Code that does not know them leaves them null: then the charge is
there, and only what it was computed from is not.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("usage_logs", "invocations"):
        op.add_column(table, sa.Column("units", sa.Numeric(), nullable=True))


def downgrade() -> None:
    for table in ("invocations", "usage_logs"):
        op.drop_column(table, "units")

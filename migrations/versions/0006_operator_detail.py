"""What a tool said that the owner of the invocation is not told: of the platform's own credential.

Revision ID: 0006
Revises: 0005
Create Date: 2026-11-28

A column without a default: no row is rewritten, and code that does not know it neither reads nor writes it.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("attempts", sa.Column("operator_detail", sa.String(), nullable=True))


def downgrade() -> None:
    op.drop_column("attempts", "operator_detail")

"""A tool may name another that takes over while its circuit breaker is open; invocations name the one asked for.

Revision ID: 0016
Revises: 0015
Create Date: 2026-11-29

Code that is already running survives it: both columns are nullable, and it knows neither. It never falls back. A repeat
under an Idempotency-Key that reaches it, of an invocation that a fallback ran, is refused (422) and not run again.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("tools", sa.Column("fallback_id", sa.Uuid(), nullable=True))
    op.create_foreign_key(op.f("fk_tools_fallback_id"), "tools", "tools", ["fallback_id"], ["id"])
    op.create_check_constraint(op.f("ck_tools_fallback"), "tools", "fallback_id <> id")
    op.add_column("invocations", sa.Column("requested_tool_id", sa.Uuid(), nullable=True))


def downgrade() -> None:
    op.drop_column("invocations", "requested_tool_id")
    op.drop_constraint(op.f("ck_tools_fallback"), "tools", type_="check")
    op.drop_constraint(op.f("fk_tools_fallback_id"), "tools", type_="foreignkey")
    op.drop_column("tools", "fallback_id")

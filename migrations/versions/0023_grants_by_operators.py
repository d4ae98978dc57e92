"""Operators grant, who are no account; and failures of fallbacks have an index, since they are priced by another tool.

Revision ID: 0023
Revises: 0022
Create Date: 2026-11-29

Only an admin's grant had to name one. The index is empty where no fallback has failed, but made while nothing ends: allow
a second for each million invocations.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_constraint(op.f("ck_grants_admin_is_named"), "grants", type_="check")
    op.create_index(
        "ix_invocations_fallback_error_code_id",
        "invocations",
        ["user_id", "error_code", "id"],
        postgresql_where=sa.text("error_code is not null and requested_tool_id is not null"),
        postgresql_include=["tool_id", "requested_tool_id", "created_at"],
    )


def downgrade() -> None:
    op.drop_index("ix_invocations_fallback_error_code_id", table_name="invocations")
    condition = "kind <> 'admin' or actor_id is not null"
    op.create_check_constraint(op.f("ck_grants_admin_is_named"), "grants", condition, postgresql_not_valid=True)

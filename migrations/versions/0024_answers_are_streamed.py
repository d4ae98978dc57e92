"""Tools may stream their answers; invocations say whether theirs is, and how the units that were priced were known.

Revision ID: 0024
Revises: 0023
Create Date: 2026-11-29

Columns that are null or have a constant default: no row is rewritten, and code that does not know them leaves them as
they are. The check that lets a canceled stream be charged is not applied to the rows that there are: all of them
satisfy the stricter one that it replaces.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

CHARGED = "charged = 0 or status = 'succeeded' or (error_code = 'cost_exceeded' and charged = held)"
CHARGED_PARTS = f"{CHARGED} or (status = 'canceled' and stream and basis is not null)"


def upgrade() -> None:
    flag, seconds = sa.text("false"), sa.text("30")
    op.add_column("tool_versions", sa.Column("streaming", sa.Boolean(), server_default=flag, nullable=False))
    op.add_column("tool_versions", sa.Column("idle_seconds", sa.SmallInteger(), server_default=seconds, nullable=False))
    op.add_column("tool_versions", sa.Column("metered", postgresql.JSONB(none_as_null=True), nullable=True))
    op.drop_constraint(op.f("ck_tool_versions_adapter"), "tool_versions", type_="check")
    for name, condition in {
        "adapter": "adapter in ('http_json', 'chat_completion', 'embeddings')",
        "streaming": "adapter = 'chat_completion' or not streaming",
        "idle_seconds": "idle_seconds between 1 and 600",
    }.items():
        op.create_check_constraint(op.f(f"ck_tool_versions_{name}"), "tool_versions", condition)
    op.add_column("invocations", sa.Column("stream", sa.Boolean(), server_default=flag, nullable=False))
    op.add_column("invocations", sa.Column("basis", sa.String(), nullable=True))
    op.drop_constraint(op.f("ck_invocations_only_answers_are_charged"), "invocations", type_="check")
    _check("only_answers_are_charged", CHARGED_PARTS)
    _check("basis", "basis in ('reported', 'metered')")


def _check(name: str, condition: str) -> None:
    op.execute(f"alter table invocations add constraint ck_invocations_{name} check ({condition}) not valid")


def downgrade() -> None:
    """A canceled stream that was charged stays charged."""
    op.drop_constraint(op.f("ck_invocations_basis"), "invocations", type_="check")
    op.drop_constraint(op.f("ck_invocations_only_answers_are_charged"), "invocations", type_="check")
    op.drop_column("invocations", "basis")
    op.drop_column("invocations", "stream")
    _check("only_answers_are_charged", CHARGED)
    for name in ("adapter", "streaming", "idle_seconds"):
        op.drop_constraint(op.f(f"ck_tool_versions_{name}"), "tool_versions", type_="check")
    op.create_check_constraint(
        op.f("ck_tool_versions_adapter"), "tool_versions", "adapter in ('http_json', 'chat_completion')"
    )
    for name in ("metered", "idle_seconds", "streaming"):
        op.drop_column("tool_versions", name)

"""Schedules: invocations that are submitted again and again, at times.

Revision ID: 0017
Revises: 0016
Create Date: 2026-11-29

Code that is already running survives it: it knows nothing of the table.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def _instant(name: str, **options: object) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), **options)


def upgrade() -> None:
    now, empty = sa.text("now()"), sa.text("'{}'")
    op.create_table(
        "schedules",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("tool_id", sa.Uuid(), nullable=False),
        sa.Column("input", postgresql.JSONB(), nullable=False),
        sa.Column("input_as_sent", postgresql.JSON(), nullable=True),
        sa.Column("metadata", postgresql.JSONB(), server_default=empty, nullable=False),
        sa.Column("metadata_as_sent", postgresql.JSON(), nullable=True),
        sa.Column("max_tokens", sa.BigInteger(), nullable=True),
        sa.Column("webhook_url", sa.String(), nullable=True),
        sa.Column("cron", sa.String(), nullable=True),
        sa.Column("every_seconds", sa.Integer(), nullable=True),
        sa.Column("timezone", sa.Text(), server_default="UTC", nullable=False),
        _instant("counted_from", nullable=False),
        sa.Column("paused", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        _instant("next_at", nullable=True),
        _instant("due_at", nullable=True),
        _instant("last_at", nullable=True),
        sa.Column("last_invocation_id", sa.Uuid(), nullable=True),
        sa.Column("last_problem", postgresql.JSONB(), nullable=True),
        _instant("created_at", server_default=now, nullable=False),
        _instant("updated_at", server_default=now, nullable=False),
        sa.CheckConstraint("(cron is null) <> (every_seconds is null)", name=op.f("ck_schedules_times")),
        sa.CheckConstraint("every_seconds >= 60", name=op.f("ck_schedules_every_seconds")),
        sa.CheckConstraint("max_tokens between 0 and 9007199254740991", name=op.f("ck_schedules_max_tokens")),
        sa.CheckConstraint("(next_at is null) = (due_at is null)", name=op.f("ck_schedules_due")),
        sa.CheckConstraint("not paused or next_at is null", name=op.f("ck_schedules_paused")),
        sa.CheckConstraint("last_invocation_id is null or last_problem is null", name=op.f("ck_schedules_outcome")),
        sa.CheckConstraint(
            "last_at is not null or num_nonnulls(last_invocation_id, last_problem) = 0", name=op.f("ck_schedules_last")
        ),
        sa.ForeignKeyConstraint(["tool_id"], ["tools.id"], name=op.f("fk_schedules_tool_id")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_schedules_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_schedules")),
    )
    op.create_index("ix_schedules_user_id_id", "schedules", ["user_id", "id"])
    op.create_index("ix_schedules_due_at", "schedules", ["due_at"], postgresql_where=sa.text("due_at is not null"))


def downgrade() -> None:
    op.drop_table("schedules")

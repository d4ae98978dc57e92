"""Invocations are found by metadata in a table that is read newest first.

Revision ID: 0028
Revises: 0027
Create Date: 2026-11-29

Code that is already running survives it: a trigger writes the rows, also for what that code submits.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None

TERMS_KEPT_UP = """
create function invocations_terms() returns trigger language plpgsql as $$
begin
  insert into metadata_terms (term, invocation_id)
  select term, new.id from unnest(invocation_terms(new.user_id, new.metadata)) term on conflict do nothing;
  return null;
end $$;
create trigger invocations_terms after insert on invocations
  for each row when (new.metadata <> '{}') execute function invocations_terms();
"""
TERMS_KEPT_DOWN = "drop function invocations_terms() cascade"


def upgrade() -> None:
    op.create_table(
        "metadata_terms",
        sa.Column("term", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("invocation_id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("term", "invocation_id", name=op.f("pk_metadata_terms")),
    )
    op.execute(TERMS_KEPT_UP)


def downgrade() -> None:
    op.execute(TERMS_KEPT_DOWN)
    op.drop_table("metadata_terms")

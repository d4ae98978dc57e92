"""Invocations of before are found by metadata in the new table too, and no longer in the old index.

Revision ID: 0029
Revises: 0028
Create Date: 2026-11-29

Rows are filled in small transactions while everything goes on. Code that is already running survives it: it asks for the
same rows, and until it is replaced, lists by metadata look through all of the account's invocations.
"""

from __future__ import annotations

from uuid import UUID

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None

BATCH = 5_000
FILL = sa.text("""
with batch as materialized (
  select id, user_id, metadata from invocations
   where id > cast(:id as uuid) and metadata <> '{}' order by id limit :batch),
filled as (
  insert into metadata_terms (term, invocation_id)
  select term, b.id from batch b cross join unnest(invocation_terms(b.user_id, b.metadata)) term on conflict do nothing)
select id from batch order by id desc limit 1
""")


def upgrade() -> None:
    _fill()
    op.drop_index("ix_invocations_terms", "invocations", postgresql_using="gin")


def _fill() -> None:
    """On a connection of its own: the transaction of this migration has not begun to do anything, and holds nothing up.

    What was interrupted begins anew, and finds what is filled already.
    """
    last = UUID(int=0)
    with op.get_bind().engine.connect() as connection:
        while row := connection.execute(FILL, {"id": last, "batch": BATCH}).one_or_none():
            last = row.id
            connection.commit()


def downgrade() -> None:
    op.create_index(
        "ix_invocations_terms",
        "invocations",
        [sa.text("invocation_terms(user_id, metadata)")],
        postgresql_where=sa.text("metadata <> '{}'"),
        postgresql_using="gin",
    )

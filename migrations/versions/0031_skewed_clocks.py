"""Invocations whose id says another time than they were made at are found apart.

Revision ID: 0031
Revises: 0030
Create Date: 2026-11-30

Code that is already running survives it. The index is built while inserts wait; allow two seconds for each million rows. Where
that takes long, build it before with `create index concurrently` under the same name: what is there is left alone.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None

SKEWED = """
created_at - to_timestamp(('x' || left(replace(id::text, '-', ''), 12))::bit(48)::bigint / 1000.0::float8)
  not between interval '-10 seconds' and interval '10 seconds'
"""


#: As an interrupted `create index concurrently` leaves it: no query would ever use it.
REMOVE_INVALID = """
do $$ begin
  if exists (select from pg_index where indexrelid = to_regclass('ix_invocations_skewed') and not indisvalid) then
    drop index ix_invocations_skewed;
  end if;
end $$
"""


def upgrade() -> None:
    op.execute(REMOVE_INVALID)
    op.create_index(
        "ix_invocations_skewed", "invocations", ["user_id", "id"], postgresql_where=sa.text(SKEWED), if_not_exists=True
    )


def downgrade() -> None:
    op.drop_index("ix_invocations_skewed", "invocations")

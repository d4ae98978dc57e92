"""Invocations know how large their input and output are, so that a page is cut before they are read.

Revision ID: 0007
Revises: 0006
Create Date: 2026-11-28

Columns without a default: no row is rewritten, and code that does not know them neither reads nor writes them. Null: from
before, measured when it is asked for. The trigger lets them go with what they measure.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_FINAL = """
create or replace function invocations_ended_is_final() returns trigger language plpgsql as $$
begin
  if tg_op = 'DELETE' or new.input is not null and new.input is distinct from old.input
     or new.output is not null and new.output is distinct from old.output
     or to_jsonb(new) - array[{droppable}] <> to_jsonb(old) - array[{droppable}] then
    raise exception 'invocation % has ended: it never changes', old.id
      using errcode = 'integrity_constraint_violation', constraint = 'invocations_ended_is_final';
  end if;
  return new;
end $$
"""


def upgrade() -> None:
    op.add_column("invocations", sa.Column("input_bytes", sa.Integer(), nullable=True))
    op.add_column("invocations", sa.Column("output_bytes", sa.Integer(), nullable=True))
    op.execute(_FINAL.format(droppable="'input', 'output', 'input_bytes', 'output_bytes'"))


def downgrade() -> None:
    op.execute(_FINAL.format(droppable="'input', 'output'"))
    op.drop_column("invocations", "output_bytes")
    op.drop_column("invocations", "input_bytes")

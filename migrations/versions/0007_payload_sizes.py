"""Invocations know how large their input and output are, and plans how much of both is kept, and how many may wait.

Revision ID: 0007
Revises: 0006
Create Date: 2026-11-28

Columns without a default: no row is rewritten, and code that does not know them neither reads nor writes them. A size
that is null is from before, and measured when it is asked for; a limit that is null is what the settings say. The trigger
lets sizes go with what they measure.
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
    op.add_column("plans", sa.Column("max_streams", sa.Integer(), nullable=True))
    op.add_column("plans", sa.Column("max_payload_bytes", sa.BigInteger(), nullable=True))
    op.create_check_constraint(op.f("ck_plans_max_streams"), "plans", "max_streams > 0")
    op.create_check_constraint(op.f("ck_plans_max_payload_bytes"), "plans", "max_payload_bytes >= 0")


def downgrade() -> None:
    op.drop_column("plans", "max_payload_bytes")
    op.drop_column("plans", "max_streams")
    op.execute(_FINAL.format(droppable="'input', 'output'"))
    op.drop_column("invocations", "output_bytes")
    op.drop_column("invocations", "input_bytes")

"""JSON as it was sent, beside what `jsonb` makes of it.

Revision ID: 0011
Revises: 0010
Create Date: 2026-11-28

Columns without a default: no row is rewritten. They are filled only where `jsonb` reorders keys or respells numbers, and
the `jsonb` beside them goes on holding the same value, so that code which does not know them reads and writes as before.
Rows from before keep the order that `jsonb` gave them: what was sent is not known any more.
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column
from sqlalchemy.dialects import postgresql

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

COLUMNS = (
    ("invocations", "input_as_sent"),
    ("invocations", "output_as_sent"),
    ("invocations", "metadata_as_sent"),
    ("tool_versions", "as_sent"),
    ("audit_log", "as_sent"),
)
ENDED_IS_FINAL = """
create or replace function invocations_ended_is_final() returns trigger language plpgsql as $$
declare
  payloads constant text[] :=
    array['input', 'output', 'input_bytes', 'output_bytes', 'input_as_sent', 'output_as_sent'];
begin
  if tg_op = 'UPDATE' and new.input is null then
    new.input_as_sent := null;
  end if;
  if tg_op = 'UPDATE' and new.output is null then
    new.output_as_sent := null;
  end if;
  if tg_op = 'DELETE' or new.input is not null and new.input is distinct from old.input
     or new.output is not null and new.output is distinct from old.output
     or new.input_as_sent is not null and new.input_as_sent::text is distinct from old.input_as_sent::text
     or new.output_as_sent is not null and new.output_as_sent::text is distinct from old.output_as_sent::text
     or to_jsonb(new) - payloads <> to_jsonb(old) - payloads then
    raise exception 'invocation % has ended: it never changes', old.id
      using errcode = 'integrity_constraint_violation', constraint = 'invocations_ended_is_final';
  end if;
  return new;
end $$
"""
ENDED_IS_FINAL_BEFORE = """
create or replace function invocations_ended_is_final() returns trigger language plpgsql as $$
begin
  if tg_op = 'DELETE' or new.input is not null and new.input is distinct from old.input
     or new.output is not null and new.output is distinct from old.output
     or to_jsonb(new) - array['input', 'output', 'input_bytes', 'output_bytes']
        <> to_jsonb(old) - array['input', 'output', 'input_bytes', 'output_bytes'] then
    raise exception 'invocation % has ended: it never changes', old.id
      using errcode = 'integrity_constraint_violation', constraint = 'invocations_ended_is_final';
  end if;
  return new;
end $$
"""


def upgrade() -> None:
    for table, column in COLUMNS:
        op.add_column(table, Column(column, postgresql.JSON(), nullable=True))
    op.execute(ENDED_IS_FINAL)


def downgrade() -> None:
    op.execute(ENDED_IS_FINAL_BEFORE)
    for table, column in reversed(COLUMNS):
        op.drop_column(table, column)

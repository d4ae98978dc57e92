"""Of ends but success the status is in a column of its own, which a success leaves null.

Revision ID: 0026
Revises: 0025
Create Date: 2026-11-29

A nullable column: no row is rewritten. The database fills it, also for code that does not know it. Rows from before are
filled by the next migration.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None

FINAL = """
create or replace function invocations_ended_is_final() returns trigger language plpgsql as $$
declare
  payloads constant text[] :=
    array['input', 'output', 'input_bytes', 'output_bytes', 'input_as_sent', 'output_as_sent'{further}];
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
FAILURE = """
create function invocations_failure() returns trigger language plpgsql as $$
begin
  new.failure := new.status;
  return new;
end $$;
create trigger invocations_failure before insert or update on invocations
  for each row when (new.is_failure and new.failure is null) execute function invocations_failure();
"""
CHECK = """
failure is not distinct from case when status in ('failed', 'canceled', 'expired') then status end
  and (failure is null) = (is_failure is null)
"""
CHECK_BEFORE = "(status in ('failed', 'canceled', 'expired')) = (is_failure is not null)"


def upgrade() -> None:
    op.add_column("invocations", sa.Column("failure", sa.String(), nullable=True))
    op.execute(FINAL.format(further=", 'failure'"))
    op.execute(FAILURE)
    op.execute(f"alter table invocations add constraint ck_invocations_failure check ({CHECK}) not valid")
    op.drop_constraint(op.f("ck_invocations_is_failure"), "invocations")


def downgrade() -> None:
    op.execute(f"alter table invocations add constraint ck_invocations_is_failure check ({CHECK_BEFORE})")
    op.drop_constraint(op.f("ck_invocations_failure"), "invocations")
    op.execute("drop function invocations_failure() cascade")
    op.execute(FINAL.format(further=""))
    op.drop_column("invocations", "failure")

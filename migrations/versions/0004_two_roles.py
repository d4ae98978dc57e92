"""The months of usage may be made and dropped by a role that owns nothing.

Revision ID: 0004
Revises: 0003
Create Date: 2026-11-28

Both functions run with the rights of the tables' owner. Code that does not know the new one has these rights itself.
"""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

ADD = "usage_logs_add_month(timestamptz)"
RETIRE = "usage_logs_retire_month(timestamptz)"
RETIRE_MONTH = """
create function usage_logs_retire_month(month timestamptz) returns boolean language plpgsql
  security definer set search_path = public, pg_temp as $$
declare
  starts timestamptz := date_trunc('month', month, 'UTC');
  ends timestamptz := date_trunc('month', starts + interval '45 days', 'UTC');
  child text := 'usage_logs_' || to_char(starts at time zone 'UTC', 'YYYY_MM');
  behind boolean;
begin
  if ends > now() then
    raise exception 'the month has not ended' using errcode = 'invalid_parameter_value';
  end if;
  execute format('lock table %I in share mode', child);
  execute format('select exists (select from %I where xid > coalesce(usage_mark(), ''0''))', child) into behind;
  if behind then
    return false;
  end if;
  insert into watermarks (name, cluster, at) select 'usage_retired', system_identifier, ends from pg_control_system()
    on conflict (name) do update set at = greatest(watermarks.at, excluded.at);
  execute format('alter table usage_logs detach partition %I', child);
  execute format('insert into usage_logs select * from %I where created_at >= %L', child, ends);
  execute format('drop table %I', child);
  return true;
end $$
"""


def upgrade() -> None:
    op.execute(f"alter function {ADD} security definer set search_path = public, pg_temp")
    op.execute(RETIRE_MONTH)
    for function in (ADD, RETIRE):
        op.execute(f"revoke execute on function {function} from public")


def downgrade() -> None:
    op.execute(f"drop function {RETIRE}")
    op.execute(f"grant execute on function {ADD} to public")
    op.execute(f"alter function {ADD} security invoker reset search_path")

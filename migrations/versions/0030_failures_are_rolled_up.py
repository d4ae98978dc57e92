"""Failed invocations are rolled up, by tool and error code.

Revision ID: 0030
Revises: 0029
Create Date: 2026-11-30

Code that is already running survives it: the rollup has a watermark of its own, which that code does not move. Rows from
before are added by the first rollup, in one statement; until then failures are counted one by one, as before.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None

MARK = """
create function failure_mark() returns xid8 language sql stable as $$
  select w.xid from watermarks w
   where w.name = 'failures' and w.cluster = (select system_identifier from pg_control_system())
$$
"""
RETIRE = """
create or replace function usage_logs_retire_month(month timestamptz) returns boolean language plpgsql
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
  execute format('select exists (select from %I where xid > coalesce(usage_mark(), ''0''){further})', child)
    into behind;
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
FURTHER = """
                  or status in (''error'', ''timeout'') and xid > coalesce(failure_mark(), ''0'')"""


def upgrade() -> None:
    op.create_table(
        "failure_rollups",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("grain", sa.Text(), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("tool_id", sa.Uuid(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("called_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("first_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_id", sa.Uuid(), nullable=False),
        sa.CheckConstraint("grain in ('hour', 'day', 'month')", name=op.f("ck_failure_rollups_grain")),
        sa.CheckConstraint("number >= 1", name=op.f("ck_failure_rollups_number")),
        sa.CheckConstraint("starts_at <= first_at and first_at <= last_at", name=op.f("ck_failure_rollups_extent")),
        sa.PrimaryKeyConstraint(
            "user_id", "grain", "starts_at", "tool_id", "code", "called_id", name=op.f("pk_failure_rollups")
        ),
        postgresql_with={"fillfactor": "70"},
    )
    op.execute(MARK)
    op.execute(RETIRE.format(further=FURTHER))


def downgrade() -> None:
    op.execute(RETIRE.format(further=""))
    op.execute("drop function failure_mark()")
    op.execute("delete from watermarks where name = 'failures'")
    op.drop_table("failure_rollups")

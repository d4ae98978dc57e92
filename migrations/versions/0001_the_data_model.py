"""The whole data model, in one look.

Revision ID: 0001
Create Date: 2026-11-28

Tables, named constraints and indexes first, then what only SQL can say (triggers, functions, partitions), then seeds.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import UserDefinedType

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


class Xid8(UserDefinedType[str]):
    """PostgreSQL's 64-bit transaction id."""

    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        return "xid8"


SEQUENCES = (
    "create sequence feed_era",
    "create sequence vt minvalue 0 start 0",
)

#: Generated columns of the tables call it.
FUNCTIONS = (
    r"""
create function latency_rank(buckets smallint[], counts integer[], share float8) returns smallint
  language plpgsql immutable parallel safe as $$
declare
  rank bigint := (select ceil(share * sum(n)) from unnest(counts) n);
  n integer;
  i integer := 0;
begin
  foreach n in array counts loop
    i := i + 1;
    rank := rank - n;
    if rank <= 0 then
      return buckets[i];
    end if;
  end loop;
  return null;
end $$
""",
)

DDL_UP = (
    r"""
create function audit_log_is_append_only() returns trigger language plpgsql as $$
begin
    raise exception 'audit_log is append-only' using errcode = 'restrict_violation';
end $$
""",
    r"""
create trigger audit_log_no_change before update or delete on audit_log
    for each row execute function audit_log_is_append_only()
""",
    r"""
create trigger audit_log_no_truncate before truncate on audit_log
    for each statement execute function audit_log_is_append_only()
""",
    r"""
create function grants_append_only() returns trigger language plpgsql as $$
begin
  raise exception 'grants are append-only'
    using errcode = 'integrity_constraint_violation', constraint = 'grants_append_only';
end $$;
create trigger grants_append_only before update or delete on grants
  for each row execute function grants_append_only();
""",
    r"""
create function periods_disjoint() returns trigger language plpgsql as $$
begin
  if exists (select from periods p where p.user_id = new.user_id and p.id <> new.id
             and p.starts_at < new.ends_at and new.starts_at < p.ends_at) then
    raise exception 'the account has a period in that time already'
      using errcode = 'exclusion_violation', constraint = 'periods_disjoint';
  end if;
  return null;
end $$;
create trigger periods_disjoint after insert or update of user_id, starts_at, ends_at on periods
  for each row execute function periods_disjoint();
""",
    r"""
create function tool_versions_immutable() returns trigger language plpgsql as $$
begin
  if tg_op = 'DELETE' or to_jsonb(new) - 'auth_secret' <> to_jsonb(old) - 'auth_secret' then
    raise exception 'tool versions never change' using errcode = 'integrity_constraint_violation',
      constraint = 'tool_versions_immutable';
  end if;
  return new;
end $$;
create trigger tool_versions_immutable before update or delete on tool_versions
  for each row execute function tool_versions_immutable();
""",
    r"""
create function invocations_ended_is_final() returns trigger language plpgsql as $$
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
end $$;
create trigger invocations_ended_is_final before update or delete on invocations
  for each row when (old.status <> 'open') execute function invocations_ended_is_final();
""",
    r"""
create function uuid7() returns uuid language sql volatile parallel safe as $$
  select encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid())
    placing substring(int8send((extract(epoch from clock_timestamp()) * 1000)::bigint) from 3)
    from 1 for 6), 52, 1), 53, 1), 'hex')::uuid
$$
""",
    r"""
create function latency_bucket(ms integer) returns smallint language sql immutable parallel safe as $$
  select case when ms < 1 then -1 else ceil(ln(ms::float8) / ln(1.0408163265306123::float8)) end::smallint
$$
""",
    r"""
create function usage_logs_append_only() returns trigger language plpgsql as $$
begin
  if current_setting('joyfull.usage_maintenance', true) = 'on' then
    return case tg_op when 'DELETE' then old else new end;
  end if;
  raise exception 'usage is append-only'
    using errcode = 'integrity_constraint_violation', constraint = 'usage_logs_append_only';
end $$;
create trigger usage_logs_append_only before update or delete on usage_logs
  for each row execute function usage_logs_append_only();
""",
    "create table usage_logs_default partition of usage_logs default",
    r"""
create function uuid7_floor(moment timestamptz) returns uuid language sql immutable parallel safe as $$
  select (lpad(to_hex((extract(epoch from moment) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid
$$;
create function usage_logs_add_month(month timestamptz) returns boolean language plpgsql
  security definer set search_path = public, pg_temp as $$
declare
  starts timestamptz := date_trunc('month', month, 'UTC');
  ends timestamptz := date_trunc('month', starts + interval '45 days', 'UTC');
  child text := 'usage_logs_' || to_char(starts at time zone 'UTC', 'YYYY_MM');
begin
  perform pg_advisory_xact_lock(hashtext('usage_logs_add_month'));
  if to_regclass(child) is not null then
    return false;
  end if;
  execute format('create table %I (like usage_logs including defaults including constraints)', child);
  lock table usage_logs_default in access exclusive mode;
  perform set_config('joyfull.usage_maintenance', 'on', true);
  execute format('with moved as (delete from usage_logs_default where invocation_id >= %L and invocation_id < %L
                  returning *) insert into %I select * from moved', uuid7_floor(starts), uuid7_floor(ends), child);
  perform set_config('joyfull.usage_maintenance', 'off', true);
  execute format('alter table usage_logs attach partition %I for values from (%L) to (%L)',
                 child, uuid7_floor(starts), uuid7_floor(ends));
  return true;
end $$;
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
end $$;
revoke execute on function usage_logs_add_month(timestamptz), usage_logs_retire_month(timestamptz) from public;
""",
    r"""
create function usage_mark() returns xid8 language sql stable as $$
  select w.xid from watermarks w
   where w.name = 'usage' and w.cluster = (select system_identifier from pg_control_system())
$$;
create function period_charged(period uuid, account uuid) returns numeric language sql stable as $$
  with mark as materialized (select usage_mark() as xid)
  select coalesce((select sum(r.tokens_used) from usage_rollups r
                    where r.period_id = period and r.grain = 'month' and mark.xid is not null), 0)
       + coalesce((select sum(u.tokens_used) from usage_logs u
                    where u.user_id = account and u.period_id = period
                      and u.xid > coalesce(mark.xid, '0'::xid8)), 0)
    from mark
$$;
""",
)

DDL_DOWN = (
    "drop function period_charged(uuid, uuid); drop function usage_mark()",
    r"""
drop function usage_logs_retire_month(timestamptz); drop function usage_logs_add_month(timestamptz);
drop function uuid7_floor(timestamptz)
""",
    "drop table usage_logs_default",
    "drop function usage_logs_append_only() cascade",
    "drop function latency_rank(smallint[], integer[], float8)",
    "drop function latency_bucket(integer)",
    "drop function invocations_ended_is_final() cascade",
    "drop function uuid7()",
    "drop function tool_versions_immutable() cascade",
    "drop function grants_append_only() cascade",
    "drop function periods_disjoint() cascade",
    "drop trigger if exists audit_log_no_truncate on audit_log",
    "drop trigger if exists audit_log_no_change on audit_log",
    "drop function if exists audit_log_is_append_only()",
)

PLANS: tuple[dict[str, object], ...] = (
    {
        "slug": "free",
        "name": "Free",
        "description": "To try things out.",
        "monthly_tokens": 10000,
        "price_cents": 0,
        "currency": "USD",
        "rate_limit_per_minute": 300,
        "max_concurrency": 10,
        "position": 10,
    },
    {
        "slug": "pro",
        "name": "Pro",
        "description": "For products with users of their own.",
        "monthly_tokens": 1000000,
        "price_cents": 2900,
        "currency": "USD",
        "rate_limit_per_minute": 600,
        "max_concurrency": 100,
        "position": 20,
    },
    {
        "slug": "enterprise",
        "name": "Enterprise",
        "description": "For many teams at once.",
        "monthly_tokens": 50000000,
        "price_cents": 99900,
        "currency": "USD",
        "rate_limit_per_minute": 6000,
        "max_concurrency": 1000,
        "position": 30,
    },
)


def upgrade() -> None:
    for statement in (*SEQUENCES, *FUNCTIONS):
        op.execute(statement)
    create_tables()
    for statement in DDL_UP:
        op.execute(statement)
    for plan in PLANS:
        names = ", ".join(plan)
        values = ", ".join(f":{name}" for name in plan)
        op.execute(sa.text(f"insert into plans (id, {names}) values (uuid7(), {values})").bindparams(**plan))
    op.execute("select usage_logs_add_month(now() + make_interval(months => n)) from generate_series(-1, 3) n")
    op.execute("insert into instance default values")


def downgrade() -> None:
    for statement in DDL_DOWN:
        if "latency_rank" not in statement:
            op.execute(statement)
    drop_tables()
    op.execute("drop function latency_rank(smallint[], integer[], float8)")
    for statement in SEQUENCES:
        op.execute("drop sequence " + statement.split()[2])


def create_tables() -> None:
    op.create_table(
        "audit_log",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("actor_id", sa.Uuid(), nullable=True),
        sa.Column("actor_kind", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("target_type", sa.Text(), nullable=False),
        sa.Column("target_id", sa.Text(), nullable=False),
        sa.Column("before", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("after", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("as_sent", postgresql.JSON(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("ip", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "actor_kind in ('session', 'api_key', 'link', 'operator', 'platform')", name=op.f("ck_audit_log_actor_kind")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_log")),
    )
    op.create_index("ix_audit_log_actor_id", "audit_log", ["actor_id", "id"], unique=False)
    op.create_index("ix_audit_log_target", "audit_log", ["target_type", "target_id", "id"], unique=False)
    op.create_table(
        "deliveries",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("endpoint_id", sa.Uuid(), nullable=True),
        sa.Column("url", sa.String(), nullable=True),
        sa.Column(
            "lane",
            sa.BigInteger(),
            sa.Computed(
                "coalesce(uuid_hash_extended(endpoint_id, 0), hashtextextended(user_id::text || lower(coalesce(substring(url from '^[^:]+://([^/?#]*)'), url)), 0))",
                persisted=True,
            ),
            nullable=False,
        ),
        sa.Column("status", sa.Text(), server_default="pending", nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("parked", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("tries", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("token", sa.Uuid(), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("(status = 'pending') = (finished_at is null)", name=op.f("ck_deliveries_end")),
        sa.CheckConstraint("status in ('pending', 'delivered', 'failed')", name=op.f("ck_deliveries_status")),
        sa.CheckConstraint(
            "token is null or (status = 'pending' and not parked)", name=op.f("ck_deliveries_in_flight")
        ),
        sa.CheckConstraint("(endpoint_id is null) <> (url is null)", name=op.f("ck_deliveries_receiver")),
        sa.CheckConstraint("(token is null) = (lease_until is null)", name=op.f("ck_deliveries_lease")),
        sa.CheckConstraint("tries >= 0", name=op.f("ck_deliveries_tries")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deliveries")),
        sa.UniqueConstraint(
            "event_id",
            "endpoint_id",
            name=op.f("uq_deliveries_event_id_endpoint_id"),
            postgresql_nulls_not_distinct=True,
        ),
        postgresql_with={"fillfactor": "80", "autovacuum_vacuum_scale_factor": "0.02"},
    )
    op.create_index("ix_deliveries_endpoint_id_id", "deliveries", ["endpoint_id", "id"], unique=False)
    op.create_index(
        "ix_deliveries_in_flight",
        "deliveries",
        ["lease_until"],
        unique=False,
        postgresql_where=sa.text("lease_until is not null"),
    )
    op.create_index(
        "ix_deliveries_parked", "deliveries", ["lane", "due_at"], unique=False, postgresql_where=sa.text("parked")
    )
    op.create_index(
        "ix_deliveries_waiting",
        "deliveries",
        ["due_at"],
        unique=False,
        postgresql_where=sa.text("status = 'pending' and lease_until is null and not parked"),
    )
    op.create_table(
        "events",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("invocation_id", sa.Uuid(), nullable=True),
        sa.Column("data", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("attempts", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "era",
            sa.Integer(),
            server_default=sa.text("coalesce(pg_sequence_last_value('feed_era'::regclass), 0)::integer"),
            nullable=False,
        ),
        sa.Column("xid", Xid8(), server_default=sa.text("pg_current_xact_id()"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "type in ('invocation.queued', 'invocation.running', 'invocation.succeeded', 'invocation.failed', 'invocation.canceled', 'invocation.expired', 'budget.threshold', 'webhook.test')",
            name=op.f("ck_events_type"),
        ),
        sa.CheckConstraint("attempts >= 0", name=op.f("ck_events_attempts")),
        sa.CheckConstraint("data is not null or invocation_id is not null", name=op.f("ck_events_data")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_events")),
    )
    op.create_index("ix_events_feed", "events", ["user_id", "era", "xid", "id"], unique=False)
    op.create_index("ix_events_invocation_id", "events", ["invocation_id"], unique=False)
    op.create_table(
        "idempotent_requests",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("request_hash", sa.Text(), nullable=False),
        sa.Column("made", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("length(key) between 1 and 255", name=op.f("ck_idempotent_requests_key")),
        sa.PrimaryKeyConstraint("user_id", "key", name=op.f("pk_idempotent_requests")),
    )
    op.create_index("ix_idempotent_requests_created_at", "idempotent_requests", ["created_at"], unique=False)
    op.create_table(
        "instance",
        sa.Column("one_row", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("one_row", name=op.f("ck_instance_one_row")),
        sa.PrimaryKeyConstraint("one_row", name=op.f("pk_instance")),
    )
    op.create_table(
        "mails",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("template", sa.Text(), nullable=False),
        sa.Column("recipient", sa.Text(), nullable=False),
        sa.Column(
            "data", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=True),
        sa.Column("tries", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.CheckConstraint("(done_at is null) = (outcome is null)", name=op.f("ck_mails_outcome")),
        sa.CheckConstraint("(due_at is null) = (done_at is not null)", name=op.f("ck_mails_due_at")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mails")),
    )
    op.create_index(
        "ix_mails_done_at", "mails", ["done_at"], unique=False, postgresql_where=sa.text("done_at is not null")
    )
    op.create_index(
        "ix_mails_due_at", "mails", ["due_at"], unique=False, postgresql_where=sa.text("due_at is not null")
    )
    op.create_table(
        "plans",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("slug", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), server_default="", nullable=False),
        sa.Column("monthly_tokens", sa.BigInteger(), nullable=True),
        sa.Column("price_cents", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("currency", sa.Text(), server_default="USD", nullable=False),
        sa.Column("rate_limit_per_minute", sa.Integer(), nullable=True),
        sa.Column("max_concurrency", sa.Integer(), nullable=True),
        sa.Column("max_streams", sa.Integer(), nullable=True),
        sa.Column("max_payload_bytes", sa.BigInteger(), nullable=True),
        sa.Column("is_active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("position", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("currency ~ '^[A-Z]{3}$'", name=op.f("ck_plans_currency")),
        sa.CheckConstraint("slug ~ '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$'", name=op.f("ck_plans_slug")),
        sa.CheckConstraint("max_concurrency > 0", name=op.f("ck_plans_max_concurrency")),
        sa.CheckConstraint("max_payload_bytes >= 0", name=op.f("ck_plans_max_payload_bytes")),
        sa.CheckConstraint("max_streams > 0", name=op.f("ck_plans_max_streams")),
        sa.CheckConstraint("monthly_tokens between 0 and 4503599627370496", name=op.f("ck_plans_monthly_tokens")),
        sa.CheckConstraint("price_cents >= 0", name=op.f("ck_plans_price")),
        sa.CheckConstraint("rate_limit_per_minute > 0", name=op.f("ck_plans_rate_limit")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_plans")),
        sa.UniqueConstraint("slug", name=op.f("uq_plans_slug")),
    )
    op.create_table(
        "processes",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("heartbeat_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("progress_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("suspect_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("stopping", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_processes")),
    )
    op.create_index("ix_processes_heartbeat_at", "processes", ["heartbeat_at"], unique=False)
    op.create_table(
        "sweep_runs",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("ran_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("milliseconds", sa.Integer(), nullable=False),
        sa.Column("runs", sa.BigInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column("failures", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.CheckConstraint("milliseconds >= 0 and runs >= failures", name=op.f("ck_sweep_runs_counts")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_sweep_runs")),
    )
    op.create_table(
        "throttles",
        sa.Column("bucket", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("attempts >= 0", name=op.f("ck_throttles_attempts")),
        sa.PrimaryKeyConstraint("bucket", name=op.f("pk_throttles")),
    )
    op.create_index("ix_throttles_ends_at", "throttles", ["ends_at"], unique=False)
    op.create_table(
        "tools",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("slug", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), server_default="", nullable=False),
        sa.Column("category", sa.String(), nullable=True),
        sa.Column("is_active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("archived_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("slug ~ '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$'", name=op.f("ck_tools_slug")),
        sa.CheckConstraint("version >= 1", name=op.f("ck_tools_version")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tools")),
        sa.UniqueConstraint("slug", name=op.f("uq_tools_slug")),
    )
    op.create_index(
        "ix_tools_live", "tools", ["id"], unique=False, postgresql_where=sa.text("is_active and archived_at is null")
    )
    op.create_table(
        "usage_logs",
        sa.Column("invocation_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("period_id", sa.Uuid(), nullable=False),
        sa.Column("tool_id", sa.Uuid(), nullable=False),
        sa.Column("tool_version_id", sa.Uuid(), nullable=False),
        sa.Column("api_key_id", sa.Uuid(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("tokens_used", sa.BigInteger(), nullable=False),
        sa.Column("held", sa.BigInteger(), nullable=False),
        sa.Column("overrun", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("latency_ms", sa.Integer(), nullable=True),
        sa.Column("http_status", sa.SmallInteger(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("xid", Xid8(), server_default=sa.text("pg_current_xact_id()"), nullable=False),
        sa.CheckConstraint(
            "status in ('success', 'error', 'timeout', 'canceled', 'expired')", name=op.f("ck_usage_logs_status")
        ),
        sa.CheckConstraint(
            "tokens_used = 0 or status in ('success', 'canceled') or (status = 'error' and tokens_used = held)",
            name=op.f("ck_usage_logs_only_answers_are_charged"),
        ),
        sa.CheckConstraint("held between 0 and 9007199254740991", name=op.f("ck_usage_logs_held")),
        sa.CheckConstraint("latency_ms >= 0", name=op.f("ck_usage_logs_latency_ms")),
        sa.CheckConstraint("overrun >= 0 and (overrun = 0 or tokens_used = held)", name=op.f("ck_usage_logs_overrun")),
        sa.CheckConstraint("tokens_used between 0 and held", name=op.f("ck_usage_logs_tokens_used")),
        sa.PrimaryKeyConstraint("invocation_id", name=op.f("pk_usage_logs")),
        postgresql_partition_by="RANGE (invocation_id)",
    )
    op.create_index(
        "ix_usage_logs_history",
        "usage_logs",
        ["user_id", sa.literal_column("created_at desc"), sa.literal_column("id desc")],
        unique=False,
    )
    op.create_index(
        "ix_usage_logs_tail",
        "usage_logs",
        ["user_id", "xid"],
        unique=False,
        postgresql_include=["period_id", "tokens_used"],
    )
    op.create_index(
        "ix_usage_logs_tool",
        "usage_logs",
        ["user_id", "tool_id", sa.literal_column("created_at desc"), sa.literal_column("id desc")],
        unique=False,
    )
    op.create_index(
        "ix_usage_logs_trouble",
        "usage_logs",
        ["user_id", sa.literal_column("created_at desc"), sa.literal_column("id desc"), "status"],
        unique=False,
        postgresql_where=sa.text("status <> 'success'"),
    )
    op.create_index("ix_usage_logs_xid", "usage_logs", ["xid"], unique=False)
    op.create_table(
        "usage_points",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("grain", sa.Text(), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("invocations", sa.BigInteger(), nullable=False),
        sa.Column("succeeded", sa.BigInteger(), nullable=False),
        sa.Column("failed", sa.BigInteger(), nullable=False),
        sa.Column("tokens_used", sa.BigInteger(), nullable=False),
        sa.Column("first_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("buckets", postgresql.ARRAY(sa.SmallInteger()), nullable=False),
        sa.Column("counts", postgresql.ARRAY(sa.Integer()), nullable=False),
        sa.Column(
            "p50", sa.SmallInteger(), sa.Computed("latency_rank(buckets, counts, 0.5)", persisted=True), nullable=True
        ),
        sa.Column(
            "p95", sa.SmallInteger(), sa.Computed("latency_rank(buckets, counts, 0.95)", persisted=True), nullable=True
        ),
        sa.CheckConstraint("grain in ('hour', 'day', 'month')", name=op.f("ck_usage_points_grain")),
        sa.CheckConstraint("cardinality(buckets) = cardinality(counts)", name=op.f("ck_usage_points_histogram")),
        sa.CheckConstraint(
            "invocations >= 1 and succeeded >= 0 and failed >= 0", name=op.f("ck_usage_points_invocations")
        ),
        sa.CheckConstraint("starts_at <= first_at and first_at <= last_at", name=op.f("ck_usage_points_extent")),
        sa.CheckConstraint("succeeded + failed <= invocations", name=op.f("ck_usage_points_outcomes")),
        sa.CheckConstraint("tokens_used >= 0", name=op.f("ck_usage_points_tokens_used")),
        sa.PrimaryKeyConstraint("user_id", "grain", "starts_at", name=op.f("pk_usage_points")),
        postgresql_with={"fillfactor": "70"},
    )
    op.create_table(
        "usage_rollups",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("grain", sa.Text(), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("period_id", sa.Uuid(), nullable=False),
        sa.Column("tool_id", sa.Uuid(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("api_key_id", sa.Uuid(), nullable=False),
        sa.Column("invocations", sa.BigInteger(), nullable=False),
        sa.Column("tokens_used", sa.BigInteger(), nullable=False),
        sa.Column("first_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("buckets", postgresql.ARRAY(sa.SmallInteger()), nullable=False),
        sa.Column("counts", postgresql.ARRAY(sa.Integer()), nullable=False),
        sa.CheckConstraint("grain in ('hour', 'day', 'month')", name=op.f("ck_usage_rollups_grain")),
        sa.CheckConstraint(
            "status in ('success', 'error', 'timeout', 'canceled', 'expired')", name=op.f("ck_usage_rollups_status")
        ),
        sa.CheckConstraint("cardinality(buckets) = cardinality(counts)", name=op.f("ck_usage_rollups_histogram")),
        sa.CheckConstraint("invocations >= 1", name=op.f("ck_usage_rollups_invocations")),
        sa.CheckConstraint("starts_at <= first_at and first_at <= last_at", name=op.f("ck_usage_rollups_extent")),
        sa.CheckConstraint("tokens_used >= 0", name=op.f("ck_usage_rollups_tokens_used")),
        sa.PrimaryKeyConstraint(
            "user_id",
            "grain",
            "starts_at",
            "period_id",
            "tool_id",
            "status",
            "api_key_id",
            name=op.f("pk_usage_rollups"),
        ),
        postgresql_with={"fillfactor": "70"},
    )
    op.create_index("ix_usage_rollups_grain_starts_at", "usage_rollups", ["grain", "starts_at"], unique=False)
    op.create_index(
        "ix_usage_rollups_period_id",
        "usage_rollups",
        ["period_id"],
        unique=False,
        postgresql_where=sa.text("grain = 'month'"),
    )
    op.create_table(
        "users",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("email_key", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("password_version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("role", sa.Text(), server_default=sa.text("'user'"), nullable=False),
        sa.Column("is_active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("email_verified_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("default_webhook_secret", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("role in ('user', 'admin')", name=op.f("ck_users_role")),
        sa.CheckConstraint("password_version > 0", name=op.f("ck_users_password_version")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("email_key", name=op.f("uq_users_email_key")),
    )
    op.create_index(
        "ix_users_active_admins",
        "users",
        ["id"],
        unique=False,
        postgresql_where=sa.text("role = 'admin' and is_active"),
    )
    op.create_table(
        "watermarks",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("xid", Xid8(), server_default=sa.text("'0'"), nullable=False),
        sa.Column("cluster", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_watermarks")),
    )
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("lookup", sa.Text(), nullable=False),
        sa.Column("last4", sa.Text(), nullable=False),
        sa.Column("scopes", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "scopes <@ array['tools:read', 'invocations:read', 'invocations:write', 'usage:read', 'webhooks:manage', 'subscriptions:read', 'admin']::text[]",
            name=op.f("ck_api_keys_scopes"),
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_api_keys_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("lookup", name=op.f("uq_api_keys_lookup")),
    )
    op.create_index(
        "ix_api_keys_user_id",
        "api_keys",
        ["user_id", "id"],
        unique=False,
        postgresql_where=sa.text("revoked_at is null"),
    )
    op.create_table(
        "delivery_attempts",
        sa.Column("delivery_id", sa.Uuid(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("http_status", sa.SmallInteger(), nullable=True),
        sa.Column("duration_ms", sa.Integer(), nullable=False),
        sa.Column("error", sa.String(), nullable=True),
        sa.Column("response_excerpt", sa.String(), nullable=True),
        sa.CheckConstraint("duration_ms >= 0", name=op.f("ck_delivery_attempts_duration")),
        sa.CheckConstraint(
            "http_status is not null or response_excerpt is null",
            name=op.f("ck_delivery_attempts_no_answer_no_excerpt"),
        ),
        sa.CheckConstraint("n >= 1", name=op.f("ck_delivery_attempts_n")),
        sa.CheckConstraint("octet_length(response_excerpt) <= 2048", name=op.f("ck_delivery_attempts_excerpt")),
        sa.ForeignKeyConstraint(
            ["delivery_id"], ["deliveries.id"], name=op.f("fk_delivery_attempts_delivery_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("delivery_id", "n", name=op.f("pk_delivery_attempts")),
    )
    op.create_table(
        "email_verifications",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("token_hash", sa.Text(), nullable=False),
        sa.Column("email_key", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_email_verifications_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_email_verifications")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_email_verifications_token_hash")),
    )
    op.create_index("ix_email_verifications_expires_at", "email_verifications", ["expires_at"], unique=False)
    op.create_index("ix_email_verifications_user_id", "email_verifications", ["user_id", "created_at"], unique=False)
    op.create_table(
        "known_places",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("place", sa.Text(), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_known_places_user_id")),
        sa.PrimaryKeyConstraint("user_id", "place", name=op.f("pk_known_places")),
    )
    op.create_index("ix_known_places_seen_at", "known_places", ["seen_at"], unique=False)
    op.create_table(
        "password_resets",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("token_hash", sa.Text(), nullable=False),
        sa.Column("password_version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_password_resets_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_password_resets")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_password_resets_token_hash")),
    )
    op.create_index("ix_password_resets_expires_at", "password_resets", ["expires_at"], unique=False)
    op.create_index("ix_password_resets_user_id", "password_resets", ["user_id", "created_at"], unique=False)
    op.create_table(
        "refresh_families",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoke_reason", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "(revoked_at is null) = (revoke_reason is null)", name=op.f("ck_refresh_families_revoke_reason")
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_refresh_families_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_refresh_families")),
    )
    op.create_index("ix_refresh_families_expires_at", "refresh_families", ["expires_at"], unique=False)
    op.create_index(
        "ix_refresh_families_live",
        "refresh_families",
        ["user_id"],
        unique=False,
        postgresql_where=sa.text("revoked_at is null"),
    )
    op.create_table(
        "stored_payloads",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("measured_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_stored_payloads_user_id")),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_stored_payloads")),
    )
    op.create_table(
        "subscriptions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("plan_id", sa.Uuid(), nullable=False),
        sa.Column("status", sa.Text(), server_default="active", nullable=False),
        sa.Column("anchor", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("cancel_at_period_end", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("pending_plan_id", sa.Uuid(), nullable=True),
        sa.Column("canceled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "status <> 'canceled' or canceled_at is not null", name=op.f("ck_subscriptions_canceled_at")
        ),
        sa.CheckConstraint("status = 'active' or pending_plan_id is null", name=op.f("ck_subscriptions_pending_plan")),
        sa.CheckConstraint("status in ('active', 'canceled', 'expired')", name=op.f("ck_subscriptions_status")),
        sa.CheckConstraint(
            "not cancel_at_period_end or pending_plan_id is null", name=op.f("ck_subscriptions_one_pending_change")
        ),
        sa.ForeignKeyConstraint(["pending_plan_id"], ["plans.id"], name=op.f("fk_subscriptions_pending_plan_id")),
        sa.ForeignKeyConstraint(["plan_id"], ["plans.id"], name=op.f("fk_subscriptions_plan_id")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_subscriptions_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subscriptions")),
        sa.UniqueConstraint("id", "user_id", name=op.f("uq_subscriptions_id_user_id")),
    )
    op.create_index("ix_subscriptions_plan_id", "subscriptions", ["plan_id"], unique=False)
    op.create_index(
        "ix_subscriptions_user_id_created_at",
        "subscriptions",
        ["user_id", sa.literal_column("created_at desc")],
        unique=False,
    )
    op.create_index(
        "uq_subscriptions_active",
        "subscriptions",
        ["user_id"],
        unique=True,
        postgresql_where=sa.text("status = 'active'"),
    )
    op.create_table(
        "tool_versions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tool_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("adapter", sa.Text(), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("endpoint_url", sa.Text(), nullable=False),
        sa.Column("headers", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("auth", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("auth_secret", sa.String(), nullable=True),
        sa.Column("input_schema", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("output_schema", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("example_input", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("result_pointer", sa.String(), nullable=True),
        sa.Column("base_tokens", sa.BigInteger(), nullable=False),
        sa.Column("per_unit", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("max_tokens", sa.BigInteger(), nullable=False),
        sa.Column("timeout_seconds", sa.SmallInteger(), nullable=False),
        sa.Column("max_attempts", sa.SmallInteger(), nullable=False),
        sa.Column("idempotent", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("as_sent", postgresql.JSON(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.CheckConstraint("adapter in ('http_json', 'chat_completion')", name=op.f("ck_tool_versions_adapter")),
        sa.CheckConstraint(
            "auth ->> 'type' in ('none', 'bearer', 'header', 'basic')", name=op.f("ck_tool_versions_auth")
        ),
        sa.CheckConstraint("method in ('GET', 'POST', 'PUT', 'PATCH', 'DELETE')", name=op.f("ck_tool_versions_method")),
        sa.CheckConstraint("base_tokens between 0 and 9007199254740991", name=op.f("ck_tool_versions_base_tokens")),
        sa.CheckConstraint("max_attempts between 1 and 10", name=op.f("ck_tool_versions_max_attempts")),
        sa.CheckConstraint(
            "max_tokens between base_tokens and 9007199254740991", name=op.f("ck_tool_versions_max_tokens")
        ),
        sa.CheckConstraint("timeout_seconds between 1 and 600", name=op.f("ck_tool_versions_timeout")),
        sa.CheckConstraint("version >= 1", name=op.f("ck_tool_versions_version")),
        sa.ForeignKeyConstraint(["tool_id"], ["tools.id"], name=op.f("fk_tool_versions_tool_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tool_versions")),
        sa.UniqueConstraint("tool_id", "version", name=op.f("uq_tool_versions_tool_id_version")),
    )
    op.create_table(
        "webhook_default_secrets",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("previous_secret", sa.String(), nullable=True),
        sa.Column("previous_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "(previous_secret is null) = (previous_until is null)", name=op.f("ck_webhook_default_secrets_previous")
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_webhook_default_secrets_user_id")),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_webhook_default_secrets")),
    )
    op.create_table(
        "webhook_endpoints",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("events", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("description", sa.String(), nullable=True),
        sa.Column("status", sa.Text(), server_default="enabled", nullable=False),
        sa.Column("disabled_reason", sa.String(), nullable=True),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("previous_secret", sa.String(), nullable=True),
        sa.Column("previous_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failing_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "(status = 'disabled') = (disabled_reason is not null)", name=op.f("ck_webhook_endpoints_disabled")
        ),
        sa.CheckConstraint(
            "cardinality(events) > 0 and events <@ array['completed', 'invocation.queued', 'invocation.running', 'invocation.succeeded', 'invocation.failed', 'invocation.canceled', 'invocation.expired', 'budget.threshold', 'webhook.test']",
            name=op.f("ck_webhook_endpoints_events"),
        ),
        sa.CheckConstraint(
            "disabled_reason in ('gone', 'failing', 'manual')", name=op.f("ck_webhook_endpoints_disabled_reason")
        ),
        sa.CheckConstraint("status in ('enabled', 'disabled')", name=op.f("ck_webhook_endpoints_status")),
        sa.CheckConstraint(
            "(previous_secret is null) = (previous_until is null)", name=op.f("ck_webhook_endpoints_previous")
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_webhook_endpoints_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_endpoints")),
    )
    op.create_index("ix_webhook_endpoints_user_id_id", "webhook_endpoints", ["user_id", "id"], unique=False)
    op.create_table(
        "api_key_secrets",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("api_key_id", sa.Uuid(), nullable=False),
        sa.Column("secret_hash", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["api_key_id"], ["api_keys.id"], name=op.f("fk_api_key_secrets_api_key_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_key_secrets")),
    )
    op.create_index(op.f("ix_api_key_secrets_api_key_id"), "api_key_secrets", ["api_key_id"], unique=False)
    op.create_table(
        "periods",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("subscription_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("plan_id", sa.Uuid(), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("epoch", sa.BigInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column("access_ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("closed_at >= ends_at", name=op.f("ck_periods_closed_after_its_end")),
        sa.CheckConstraint("epoch >= 1", name=op.f("ck_periods_epoch")),
        sa.CheckConstraint("starts_at < ends_at", name=op.f("ck_periods_bounds")),
        sa.ForeignKeyConstraint(["plan_id"], ["plans.id"], name=op.f("fk_periods_plan_id")),
        sa.ForeignKeyConstraint(
            ["subscription_id", "user_id"], ["subscriptions.id", "subscriptions.user_id"], name="subscription"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_periods")),
        sa.UniqueConstraint("subscription_id", "starts_at", name=op.f("uq_periods_subscription_id_starts_at")),
        postgresql_with={"fillfactor": "70"},
    )
    op.create_index(
        "ix_periods_due", "periods", ["ends_at"], unique=False, postgresql_where=sa.text("closed_at is null")
    )
    op.create_index("ix_periods_user_id_starts_at", "periods", ["user_id", "starts_at"], unique=False)
    op.create_index(
        "uq_periods_open", "periods", ["user_id"], unique=True, postgresql_where=sa.text("closed_at is null")
    )
    op.create_table(
        "refresh_tokens",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("family_id", sa.Uuid(), nullable=False),
        sa.Column("token_hash", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("successor_id", sa.Uuid(), nullable=True),
        sa.CheckConstraint("(used_at is null) = (successor_id is null)", name=op.f("ck_refresh_tokens_successor_id")),
        sa.ForeignKeyConstraint(
            ["family_id"], ["refresh_families.id"], name=op.f("fk_refresh_tokens_family_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_refresh_tokens")),
        sa.UniqueConstraint("successor_id", name=op.f("uq_refresh_tokens_successor_id")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_refresh_tokens_token_hash")),
    )
    op.create_index(op.f("ix_refresh_tokens_family_id"), "refresh_tokens", ["family_id"], unique=False)
    op.create_table(
        "budget_thresholds",
        sa.Column("period_id", sa.Uuid(), nullable=False),
        sa.Column("percent", sa.SmallInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("percent between 1 and 100", name=op.f("ck_budget_thresholds_percent")),
        sa.ForeignKeyConstraint(["period_id"], ["periods.id"], name=op.f("fk_budget_thresholds_period_id")),
        sa.PrimaryKeyConstraint("period_id", "percent", name=op.f("pk_budget_thresholds")),
    )
    op.create_table(
        "grants",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("period_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("tokens", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("actor_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("kind <> 'admin' or actor_id is not null", name=op.f("ck_grants_admin_is_named")),
        sa.CheckConstraint("kind = 'admin' or tokens >= 0", name=op.f("ck_grants_only_admins_take_back")),
        sa.CheckConstraint("kind in ('plan', 'upgrade', 'admin')", name=op.f("ck_grants_kind")),
        sa.CheckConstraint("tokens between -9007199254740991 and 9007199254740991", name=op.f("ck_grants_tokens")),
        sa.ForeignKeyConstraint(["actor_id"], ["users.id"], name=op.f("fk_grants_actor_id")),
        sa.ForeignKeyConstraint(["period_id"], ["periods.id"], name=op.f("fk_grants_period_id")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_grants_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_grants")),
    )
    op.create_index("ix_grants_period_id", "grants", ["period_id"], unique=False, postgresql_include=["tokens"])
    op.create_index("ix_grants_user_id_id", "grants", ["user_id", "id"], unique=False)
    op.create_index("uq_grants_plan", "grants", ["period_id"], unique=True, postgresql_where=sa.text("kind = 'plan'"))
    op.create_table(
        "invocations",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("period_id", sa.Uuid(), nullable=False),
        sa.Column("tool_id", sa.Uuid(), nullable=False),
        sa.Column("tool_version_id", sa.Uuid(), nullable=False),
        sa.Column("api_key_id", sa.Uuid(), nullable=True),
        sa.Column("status", sa.Text(), server_default="open", nullable=False),
        sa.Column("input", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("output", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("input_bytes", sa.Integer(), nullable=True),
        sa.Column("output_bytes", sa.Integer(), nullable=True),
        sa.Column("input_as_sent", postgresql.JSON(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("output_as_sent", postgresql.JSON(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("metadata_as_sent", postgresql.JSON(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("error_code", sa.String(), nullable=True),
        sa.Column("error_detail", sa.String(), nullable=True),
        sa.Column("metadata", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("webhook_url", sa.String(), nullable=True),
        sa.Column("webhook_events", postgresql.ARRAY(sa.Text()), nullable=True),
        sa.Column("held", sa.BigInteger(), nullable=False),
        sa.Column("charged", sa.BigInteger(), nullable=True),
        sa.Column("attempts", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("cancel_requested_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("is_failure", sa.Boolean(), nullable=True),
        sa.Column("traceparent", sa.String(), nullable=True),
        sa.CheckConstraint("(status = 'failed') = (error_code is not null)", name=op.f("ck_invocations_error")),
        sa.CheckConstraint("(status = 'open') = (charged is null)", name=op.f("ck_invocations_settled")),
        sa.CheckConstraint("(status = 'open') = (finished_at is null)", name=op.f("ck_invocations_end")),
        sa.CheckConstraint(
            "(status in ('failed', 'canceled', 'expired')) = (is_failure is not null)",
            name=op.f("ck_invocations_is_failure"),
        ),
        sa.CheckConstraint(
            "charged = 0 or status = 'succeeded' or (error_code = 'cost_exceeded' and charged = held)",
            name=op.f("ck_invocations_only_answers_are_charged"),
        ),
        sa.CheckConstraint(
            "error_code in ('tool_error', 'tool_failed', 'tool_timeout', 'tool_unreachable', 'tool_bad_response', 'output_too_large', 'output_rejected', 'credential_unavailable', 'worker_lost', 'cost_exceeded')",
            name=op.f("ck_invocations_error_code"),
        ),
        sa.CheckConstraint("status <> 'expired' or started_at is null", name=op.f("ck_invocations_expired")),
        sa.CheckConstraint(
            "status in ('open', 'succeeded', 'failed', 'canceled', 'expired')", name=op.f("ck_invocations_status")
        ),
        sa.CheckConstraint(
            "status not in ('succeeded', 'failed') or started_at is not null", name=op.f("ck_invocations_started")
        ),
        sa.CheckConstraint("attempts >= 0", name=op.f("ck_invocations_attempts")),
        sa.CheckConstraint("charged between 0 and held", name=op.f("ck_invocations_charged")),
        sa.CheckConstraint("held between 0 and 9007199254740991", name=op.f("ck_invocations_held")),
        sa.CheckConstraint(
            "started_at >= created_at and finished_at >= coalesce(started_at, created_at)",
            name=op.f("ck_invocations_times"),
        ),
        sa.ForeignKeyConstraint(["period_id"], ["periods.id"], name=op.f("fk_invocations_period_id")),
        sa.ForeignKeyConstraint(["tool_id"], ["tools.id"], name=op.f("fk_invocations_tool_id")),
        sa.ForeignKeyConstraint(["tool_version_id"], ["tool_versions.id"], name=op.f("fk_invocations_tool_version_id")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_invocations_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invocations")),
        postgresql_with={"fillfactor": "80"},
    )
    op.create_index(
        "ix_invocations_all_failure",
        "invocations",
        ["status", "id"],
        unique=False,
        postgresql_where=sa.text("is_failure"),
    )
    op.create_index(
        "ix_invocations_failure",
        "invocations",
        ["user_id", "status", "id"],
        unique=False,
        postgresql_where=sa.text("is_failure"),
    )
    op.create_index("ix_invocations_tool_id_id", "invocations", ["tool_id", "id"], unique=False)
    op.create_index("ix_invocations_user_id_id", "invocations", ["user_id", "id"], unique=False)
    op.create_index("ix_invocations_user_id_tool_id_id", "invocations", ["user_id", "tool_id", "id"], unique=False)
    op.create_table(
        "attempts",
        sa.Column("invocation_id", sa.Uuid(), nullable=False),
        sa.Column("n", sa.SmallInteger(), nullable=False),
        sa.Column("token", sa.Uuid(), nullable=False),
        sa.Column("worker", sa.Uuid(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("http_status", sa.SmallInteger(), nullable=True),
        sa.Column("detail", sa.String(), nullable=True),
        sa.Column("operator_detail", sa.String(), nullable=True),
        sa.CheckConstraint(
            "outcome in ('succeeded', 'canceled', 'tool_error', 'tool_failed', 'tool_timeout', 'tool_unreachable', 'tool_bad_response', 'output_too_large', 'output_rejected', 'credential_unavailable', 'worker_lost', 'cost_exceeded')",
            name=op.f("ck_attempts_outcome"),
        ),
        sa.CheckConstraint("ended_at >= started_at", name=op.f("ck_attempts_times")),
        sa.CheckConstraint("n >= 1", name=op.f("ck_attempts_n")),
        sa.ForeignKeyConstraint(["invocation_id"], ["invocations.id"], name=op.f("fk_attempts_invocation_id")),
        sa.PrimaryKeyConstraint("invocation_id", "n", name=op.f("pk_attempts")),
        sa.UniqueConstraint("token", name=op.f("uq_attempts_token")),
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("request_hash", sa.Text(), nullable=False),
        sa.Column("invocation_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("length(key) between 1 and 255", name=op.f("ck_idempotency_keys_key")),
        sa.ForeignKeyConstraint(["invocation_id"], ["invocations.id"], name=op.f("fk_idempotency_keys_invocation_id")),
        sa.PrimaryKeyConstraint("user_id", "key", name=op.f("pk_idempotency_keys")),
    )
    op.create_index("ix_idempotency_keys_created_at", "idempotency_keys", ["created_at"], unique=False)
    op.create_table(
        "queue",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("period_id", sa.Uuid(), nullable=False),
        sa.Column("tool_id", sa.Uuid(), nullable=False),
        sa.Column("tool_version_id", sa.Uuid(), nullable=False),
        sa.Column("held", sa.BigInteger(), nullable=False),
        sa.Column("timeout_seconds", sa.SmallInteger(), nullable=False),
        sa.Column("slot", sa.Integer(), nullable=True),
        sa.Column("start_tag", sa.BigInteger(), nullable=True),
        sa.Column("moves", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("token", sa.Uuid(), nullable=True),
        sa.Column("worker", sa.Uuid(), nullable=True),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("dispatched_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attempts", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("crash_count", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cancel_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_error", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.CheckConstraint("(slot is null) = (start_tag is null)", name=op.f("ck_queue_tagged")),
        sa.CheckConstraint("(token is null) = (claimed_at is null)", name=op.f("ck_queue_taken")),
        sa.CheckConstraint("(token is null) = (lease_expires_at is null)", name=op.f("ck_queue_lease")),
        sa.CheckConstraint("(token is null) = (worker is null)", name=op.f("ck_queue_owner")),
        sa.CheckConstraint("attempts >= 0 and crash_count >= 0 and moves >= 0", name=op.f("ck_queue_counts")),
        sa.CheckConstraint("held between 0 and 9007199254740991", name=op.f("ck_queue_held")),
        sa.CheckConstraint("slot >= 1", name=op.f("ck_queue_slot")),
        sa.CheckConstraint("token is not null or dispatched_at is null", name=op.f("ck_queue_sent")),
        sa.CheckConstraint("token is null or slot is not null", name=op.f("ck_queue_running_has_a_slot")),
        sa.ForeignKeyConstraint(["id"], ["invocations.id"], name=op.f("fk_queue_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_queue")),
        postgresql_with={
            "fillfactor": "60",
            "autovacuum_vacuum_threshold": "5000",
            "autovacuum_vacuum_scale_factor": "0",
            "autovacuum_vacuum_cost_delay": "0",
        },
    )
    op.create_index(
        "ix_queue_expires_at", "queue", ["expires_at"], unique=False, postgresql_where=sa.text("token is null")
    )
    op.create_index("ix_queue_period_id_id", "queue", ["period_id", "id"], unique=False)
    op.create_index(
        "ix_queue_ready",
        "queue",
        ["start_tag"],
        unique=False,
        postgresql_where=sa.text("token is null and slot is not null"),
    )
    op.create_index(
        "ix_queue_running",
        "queue",
        ["lease_expires_at"],
        unique=False,
        postgresql_where=sa.text("lease_expires_at is not null"),
    )
    op.create_index(
        "ix_queue_waiting", "queue", ["period_id", "due_at"], unique=False, postgresql_where=sa.text("slot is null")
    )


def drop_tables() -> None:
    op.drop_index("ix_queue_waiting", table_name="queue", postgresql_where=sa.text("slot is null"))
    op.drop_index("ix_queue_running", table_name="queue", postgresql_where=sa.text("lease_expires_at is not null"))
    op.drop_index("ix_queue_ready", table_name="queue", postgresql_where=sa.text("token is null and slot is not null"))
    op.drop_index("ix_queue_period_id_id", table_name="queue")
    op.drop_index("ix_queue_expires_at", table_name="queue", postgresql_where=sa.text("token is null"))
    op.drop_table("queue")
    op.drop_index("ix_idempotency_keys_created_at", table_name="idempotency_keys")
    op.drop_table("idempotency_keys")
    op.drop_table("attempts")
    op.drop_index("ix_invocations_user_id_tool_id_id", table_name="invocations")
    op.drop_index("ix_invocations_user_id_id", table_name="invocations")
    op.drop_index("ix_invocations_tool_id_id", table_name="invocations")
    op.drop_index("ix_invocations_failure", table_name="invocations", postgresql_where=sa.text("is_failure"))
    op.drop_index("ix_invocations_all_failure", table_name="invocations", postgresql_where=sa.text("is_failure"))
    op.drop_table("invocations")
    op.drop_index("uq_grants_plan", table_name="grants", postgresql_where=sa.text("kind = 'plan'"))
    op.drop_index("ix_grants_user_id_id", table_name="grants")
    op.drop_index("ix_grants_period_id", table_name="grants", postgresql_include=["tokens"])
    op.drop_table("grants")
    op.drop_table("budget_thresholds")
    op.drop_index(op.f("ix_refresh_tokens_family_id"), table_name="refresh_tokens")
    op.drop_table("refresh_tokens")
    op.drop_index("uq_periods_open", table_name="periods", postgresql_where=sa.text("closed_at is null"))
    op.drop_index("ix_periods_user_id_starts_at", table_name="periods")
    op.drop_index("ix_periods_due", table_name="periods", postgresql_where=sa.text("closed_at is null"))
    op.drop_table("periods")
    op.drop_index(op.f("ix_api_key_secrets_api_key_id"), table_name="api_key_secrets")
    op.drop_table("api_key_secrets")
    op.drop_index("ix_webhook_endpoints_user_id_id", table_name="webhook_endpoints")
    op.drop_table("webhook_endpoints")
    op.drop_table("webhook_default_secrets")
    op.drop_table("tool_versions")
    op.drop_index("uq_subscriptions_active", table_name="subscriptions", postgresql_where=sa.text("status = 'active'"))
    op.drop_index("ix_subscriptions_user_id_created_at", table_name="subscriptions")
    op.drop_index("ix_subscriptions_plan_id", table_name="subscriptions")
    op.drop_table("subscriptions")
    op.drop_table("stored_payloads")
    op.drop_index(
        "ix_refresh_families_live", table_name="refresh_families", postgresql_where=sa.text("revoked_at is null")
    )
    op.drop_index("ix_refresh_families_expires_at", table_name="refresh_families")
    op.drop_table("refresh_families")
    op.drop_index("ix_password_resets_user_id", table_name="password_resets")
    op.drop_index("ix_password_resets_expires_at", table_name="password_resets")
    op.drop_table("password_resets")
    op.drop_index("ix_known_places_seen_at", table_name="known_places")
    op.drop_table("known_places")
    op.drop_index("ix_email_verifications_user_id", table_name="email_verifications")
    op.drop_index("ix_email_verifications_expires_at", table_name="email_verifications")
    op.drop_table("email_verifications")
    op.drop_table("delivery_attempts")
    op.drop_index("ix_api_keys_user_id", table_name="api_keys", postgresql_where=sa.text("revoked_at is null"))
    op.drop_table("api_keys")
    op.drop_table("watermarks")
    op.drop_index(
        "ix_users_active_admins", table_name="users", postgresql_where=sa.text("role = 'admin' and is_active")
    )
    op.drop_table("users")
    op.drop_index("ix_usage_rollups_period_id", table_name="usage_rollups", postgresql_where=sa.text("grain = 'month'"))
    op.drop_index("ix_usage_rollups_grain_starts_at", table_name="usage_rollups")
    op.drop_table("usage_rollups")
    op.drop_table("usage_points")
    op.drop_index("ix_usage_logs_xid", table_name="usage_logs")
    op.drop_index("ix_usage_logs_trouble", table_name="usage_logs", postgresql_where=sa.text("status <> 'success'"))
    op.drop_index("ix_usage_logs_tool", table_name="usage_logs")
    op.drop_index("ix_usage_logs_tail", table_name="usage_logs", postgresql_include=["period_id", "tokens_used"])
    op.drop_index("ix_usage_logs_history", table_name="usage_logs")
    op.drop_table("usage_logs")
    op.drop_index("ix_tools_live", table_name="tools", postgresql_where=sa.text("is_active and archived_at is null"))
    op.drop_table("tools")
    op.drop_index("ix_throttles_ends_at", table_name="throttles")
    op.drop_table("throttles")
    op.drop_table("sweep_runs")
    op.drop_index("ix_processes_heartbeat_at", table_name="processes")
    op.drop_table("processes")
    op.drop_table("plans")
    op.drop_index("ix_mails_due_at", table_name="mails", postgresql_where=sa.text("due_at is not null"))
    op.drop_index("ix_mails_done_at", table_name="mails", postgresql_where=sa.text("done_at is not null"))
    op.drop_table("mails")
    op.drop_table("instance")
    op.drop_index("ix_idempotent_requests_created_at", table_name="idempotent_requests")
    op.drop_table("idempotent_requests")
    op.drop_index("ix_events_invocation_id", table_name="events")
    op.drop_index("ix_events_feed", table_name="events")
    op.drop_table("events")
    op.drop_index(
        "ix_deliveries_waiting",
        table_name="deliveries",
        postgresql_where=sa.text("status = 'pending' and lease_until is null and not parked"),
    )
    op.drop_index("ix_deliveries_parked", table_name="deliveries", postgresql_where=sa.text("parked"))
    op.drop_index(
        "ix_deliveries_in_flight", table_name="deliveries", postgresql_where=sa.text("lease_until is not null")
    )
    op.drop_index("ix_deliveries_endpoint_id_id", table_name="deliveries")
    op.drop_table("deliveries")
    op.drop_index("ix_audit_log_target", table_name="audit_log")
    op.drop_index("ix_audit_log_actor_id", table_name="audit_log")
    op.drop_table("audit_log")
